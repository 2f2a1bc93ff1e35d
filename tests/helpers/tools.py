"""Programs of others that judge our files, where they are installed."""

import shutil
import sys
from pathlib import Path

import pytest


def tool(name):
    """Path of a program beside this Python or on the path; the test is skipped where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; pip install 'paraspinal-nnunet[validators]'")
    return found
