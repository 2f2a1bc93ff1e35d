"""README.md and docs/ are true: tables are the code's, commands are commands, links lead somewhere."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from paraspinal_nnunet import cli
from paraspinal_nnunet.cli.scans import predict
from paraspinal_nnunet.image_io.masks import postprocessing
from paraspinal_nnunet.measures import comparison, thresholds
from paraspinal_nnunet.measures.outputs.columns import THRESHOLD_METHODS
from paraspinal_nnunet.protocol.paper import PAPER

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FILES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
PROTOCOL = PAGES["docs/reference/protocol.md"]


def commands(page):
    blocks = re.findall(r"```\n(.*?)```", PAGES[page], flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.startswith("paraspinal ")]


def test_tables_are_made_from_the_code():
    pytest.importorskip("nnunetv2")
    spec = importlib.util.spec_from_file_location("make_tables", DOCS / "make_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for document in tables.TABLES:
        text = document.read_text(encoding="utf-8")
        assert tables.with_tables(text, document) == text, f"{document.name}: run python docs/make_tables.py"


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_every_command_parses(page):
    for command in commands(page):
        words = shlex.split(command)[1:]
        if "--help" not in words and "--list" not in words:
            cli.parser_for(words).parse_args(words)


@pytest.mark.parametrize("page", PAGES)
def test_the_program_is_installed_the_same_way_everywhere(page):
    """No registry holds it: from a checkout, with the versions that the tests run with."""
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE))
    for line in re.findall(r"^.*\bpip install\b.*$", blocks, flags=re.MULTILINE):
        assert re.match(
            r"python -m pip install -c constraints\.txt (torch torchvision|'?\.(\[[a-z,]+\]')?)(\s+#|$)", line
        ), line


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_are_there(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", PAGES[page]):
        assert ((ROOT / page).parent / target).is_file(), target


@pytest.mark.parametrize("page", PAGES)
def test_named_files_of_the_repository_are_there(page):
    folders = "paraspinal_nnunet|dataset_conversion|trainers|tests|benchmarks|docs"
    folders += "|evaluation/\\w+" if page == "docs/explanation/fidelity.md" else ""  # elsewhere also a user's output
    for name in re.findall(rf"`((?:{folders})/[\w./]*)`", PAGES[page]):
        assert (ROOT / name).exists(), name


def test_protocol_table_has_the_papers_numbers():
    """Read from the page itself; the numbers are the paper's (Methods)."""
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", PROTOCOL, flags=re.MULTILINE))
    assert {key: rows[key].strip() for key in ("folds", "spacing", "2d.patch_size", "2d.batch_size", "iterations")} == {
        "folds": "3",
        "spacing": "5 x 0.39 x 0.39",
        "2d.patch_size": "256 x 256",
        "2d.batch_size": "200",
        "iterations": "30000",
    }
    assert rows["3d_fullres.patch_size"].strip() == "32 x 256 x 256"
    assert rows["learning_rate"].strip() == f"{PAPER.training.learning_rate:g}" == "0.001"


def test_limits_of_measures_are_those_in_force():
    words = " ".join(PAGES["docs/reference/measures.md"].split())
    assert f"Fewer than {thresholds.LEAST_VOXELS} voxels" in words
    assert f"other values {thresholds.BINS} bins" in words
    assert f"about {PAPER.cohort.field_of_view_mm:g} mm" in words
    assert f"shorter than {comparison.COMPARABLE_SHARE:.0%}".replace("%", " %") in words
    assert f"its {PAPER.cohort.subjects} people" in words


def test_choices_of_the_command_are_those_of_the_code():
    assert postprocessing.STEPS == predict.POST_STEPS
    assert THRESHOLD_METHODS == predict.THRESHOLDS
