"""Programs of others that judge our files, where they are installed."""

import shutil
import sys
from pathlib import Path

import pytest


def tool(name, advice="pip install 'paraspinal-nnunet[validators]'"):
    """Path of a program beside this Python or on the path; the test is skipped where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; {advice}")
    return found


def chromium():
    """Path of a Chromium or Chrome; the test is skipped where there is none."""
    found = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium or Chrome on this machine")
    return found
