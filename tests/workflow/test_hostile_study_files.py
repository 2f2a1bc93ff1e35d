"""Values of study.yaml that would be code in Python, a shell, YAML or sbatch: refused in one line, or only text."""

import os
import subprocess
import sys

import pytest
import yaml

from paraspinal_nnunet import cli
from paraspinal_nnunet.workflow.engine import RunOptions, engine_command
from paraspinal_nnunet.workflow.rules import step_command
from paraspinal_nnunet.workflow.settings import read_study
from paraspinal_nnunet.workflow.study_file.values import SBATCH_FLAGS
from paraspinal_nnunet.workflow.study_file.yaml_nodes import StudyFileError

BASE = {
    "dataset": {"id": 5, "convert": {"source": "author", "input": "cohort"}},
    "inspect": {"run": False},
    "arms": {"a": {}},
    "depth": {"run": False},
}
CODE = (
    "x' + str(__import__('os').system('touch PWN')) + '",
    'x" + str(__import__("os").system("touch PWN")) + "',
    "__import__('os').system('touch PWN')",
    "$(touch PWN)",
    "`touch PWN`",
    "a; touch PWN",
    "a\ntouch PWN",
    "{input.__class__}",
    "$HOME",
    "~",
    "--wrap=x",
    "../up",
)


def study_of(folder, *path, value):
    """A study of which one field, named by its path, holds a value."""
    content = yaml.safe_load(yaml.safe_dump(BASE))
    place = content
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place[path[-1]] = value
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize("value", CODE)
@pytest.mark.parametrize(
    "path",
    [
        ("slurm", "partition"),
        ("slurm", "account"),
        ("slurm", "extra"),
        ("dataset", "name"),
        ("dataset", "convert", "source"),
        ("arms", "a", "plans"),
        ("arms", "a", "trainer"),
        ("arms", "a", "configuration"),
        ("predict", "model"),
        ("evaluation", "post"),
    ],
)
def test_code_is_refused_where_a_name_is_meant(tmp_path, path, value):
    study_of(tmp_path, *path, value=[value] if path[-1] == "post" else value)
    with pytest.raises(StudyFileError, match=r"study\.yaml, line \d+: "):
        read_study(tmp_path)


@pytest.mark.parametrize("value", CODE)
def test_code_is_refused_as_the_name_of_a_model(tmp_path, value, capsys):
    study_of(tmp_path, "arms", value, value={})
    assert cli.main(["study", "status", "-s", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("extra", "allowed"),
    [
        ("--nodelist=node[1-3] --exclusive", True),
        ("--mail-user=a@b.org --mail-type=END,FAIL", True),
        ("--wrap=reboot", False),  # sbatch would run it instead of the job
        ("--wra=reboot", False),  # sbatch knows abbreviations
        ("--chdir=/", False),
        ("--exclusive script.sh", False),  # sbatch would run the script instead of the job
        ("-w node1", False),
    ],
)
def test_flags_of_sbatch_ask_for_nodes_and_nothing_else(tmp_path, extra, allowed, monkeypatch):
    monkeypatch.setattr("paraspinal_nnunet.workflow.engine._keeps_accounts", lambda: True)
    study_of(tmp_path, "slurm", "extra", value=extra)
    if not allowed:
        with pytest.raises(StudyFileError, match=r"slurm\.extra holds "):
            read_study(tmp_path)
        return
    assert f"slurm_extra='{extra}'" in engine_command(read_study(tmp_path), RunOptions(profile="slurm"))


def test_no_allowed_flag_is_the_beginning_of_a_dangerous_one():
    """sbatch completes unique beginnings of long options."""
    dangerous = ("wrap", "chdir", "export", "export-file", "get-user-env", "container", "uid", "gid", "bcast", "prolog")
    assert not [flag for flag in SBATCH_FLAGS for other in dangerous if other.startswith(flag)]


HOSTILE_FOLDER = "it's $(touch PWN) `touch PWN` {x} \"q"


@pytest.mark.slow
def test_hostile_paths_are_only_text_and_no_profile_of_the_folder_is_used(tmp_path):
    """The dry run evaluates everything that a run evaluates before its first job."""
    pytest.importorskip("snakemake")
    folder = tmp_path / HOSTILE_FOLDER
    (folder / "profiles" / "default").mkdir(parents=True)
    (folder / "profiles" / "default" / "config.yaml").write_text(
        "default-resources:\n  evil: \"__import__('os').system('touch PWN')\"\n"
    )
    content = {
        **BASE,
        "name": CODE[0],
        "dataset": {"id": 5, "convert": {"source": "author", "input": CODE[0], "options": ["--x=$(touch PWN)"]}},
        "folders": {"raw": "r'$(touch PWN)", "preprocessed": "p{x}", "results": "`touch PWN`"},
        "predict": {"input": "new'; touch PWN; '"},
        "evaluation": {"rater2": CODE[1]},
    }
    (folder / "new'; touch PWN; '").mkdir()
    (folder / "new'; touch PWN; '" / "$(touch PWN)_0000.nii.gz").touch()
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "paraspinal_nnunet", "study", "run", "-n"]
    # Python finds the package by what this process imports, wherever the command runs
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert "dry-run" in result.stdout
    assert not list(tmp_path.rglob("PWN*"))


def test_braces_of_the_interpreters_path_are_no_wildcards(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/{x}/it's/python")
    assert step_command("train").format() == "'/home/{x}/it'\"'\"'s/python' -m paraspinal_nnunet study step train"
