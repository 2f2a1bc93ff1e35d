"""docs/measures.md is true: its tables are the code's, its commands parse, its limits are those in force."""

import importlib.util
import re
import shlex
from pathlib import Path

from paraspinal_nnunet import cli
from paraspinal_nnunet.measures import comparison, thresholds
from paraspinal_nnunet.protocol import PAPER

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "measures.md").read_text(encoding="utf-8")


def test_tables_are_made_from_the_code():
    spec = importlib.util.spec_from_file_location("make_measures_tables", DOCS / "make_measures_tables.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.with_tables(PAGE) == PAGE, "run: python docs/make_measures_tables.py"


def test_numbers_in_the_text_are_those_in_force():
    words = " ".join(PAGE.split())
    assert f"Fewer than {thresholds.LEAST_VOXELS} voxels" in words
    assert f"other values {thresholds.BINS} bins" in words
    assert f"about {PAPER.cohort.field_of_view_mm:g} mm" in words
    assert f"shorter than {comparison.COMPARABLE_SHARE:.0%}".replace("%", " %") in words
    assert f"its {PAPER.cohort.subjects} people" in words


def test_commands_parse():
    lines = [line for block in re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("paraspinal ")]
    assert commands
    for command in commands:
        words = shlex.split(command)[1:]
        cli.parser_for(words).parse_args(words)
