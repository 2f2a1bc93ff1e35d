"""docs/predicting.md is true: its flags are the parser's, its commands parse."""

import importlib.util
import re
import shlex
from pathlib import Path

from paraspinal_nnunet import cli, postprocessing
from paraspinal_nnunet.cli import predict
from paraspinal_nnunet.measures.columns import THRESHOLD_METHODS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "predicting.md").read_text(encoding="utf-8")


def test_the_table_of_flags_is_made_from_the_parser():
    spec = importlib.util.spec_from_file_location("make_predict_table", DOCS / "make_predict_table.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.with_table(PAGE) == PAGE, "run: python docs/make_predict_table.py"
    assert len(re.findall(r"^\| `-", PAGE, flags=re.MULTILINE)) > 20


def test_commands_parse():
    lines = [line for block in re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
    commands = [line.split(" #")[0] for line in lines if line.startswith("paraspinal ")]
    assert len(commands) > 5
    for command in commands:
        words = shlex.split(command)[1:]
        cli.parser_for(words).parse_args(words)


def test_choices_of_the_command_are_those_of_the_code():
    assert tuple(postprocessing.STEPS) == predict.POST_STEPS
    assert THRESHOLD_METHODS == predict.THRESHOLDS


def test_linked_files_are_there():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGE):
        assert (DOCS / target).is_file()
