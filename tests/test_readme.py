"""README.md is true: its tables are the code's, and its commands are commands."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from paraspinal_nnunet import cli
from paraspinal_nnunet.protocol import PAPER

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tables_are_made_from_the_code():
    pytest.importorskip("nnunetv2")
    spec = importlib.util.spec_from_file_location("make_readme_tables", ROOT / "docs" / "make_readme_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for document in tables.TABLES:
        text = document.read_text(encoding="utf-8")
        assert tables.with_tables(text, document) == text, f"{document.name}: run python docs/make_readme_tables.py"


def test_protocol_table_has_the_papers_numbers():
    """Read from the README itself; the numbers are the paper's (Methods)."""
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", README, flags=re.MULTILINE))
    assert {key: rows[key].strip() for key in ("folds", "spacing", "2d.patch_size", "2d.batch_size", "iterations")} == {
        "folds": "3",
        "spacing": "5 x 0.39 x 0.39",
        "2d.patch_size": "256 x 256",
        "2d.batch_size": "200",
        "iterations": "30000",
    }
    assert rows["3d_fullres.patch_size"].strip() == "32 x 256 x 256"
    assert rows["learning_rate"].strip() == f"{PAPER.training.learning_rate:g}" == "0.001"


def paraspinal_commands():
    blocks = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.startswith("paraspinal ")]


@pytest.mark.parametrize("command", paraspinal_commands())
def test_every_command_parses(command):
    words = shlex.split(command)[1:]
    cli.parser_for(words).parse_args(words)


def test_linked_files_are_there():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).is_file()
