"""A folder from a stranger in which the user works: nothing that lies there is imported by any process."""

import os
import subprocess
import sys

import pytest

from paraspinal_nnunet.utils import machine

BAIT = ("collections", "multiprocessing", "numpy", "pickle", "snakemake", "struct", "paraspinal_nnunet")
SCRIPT = "import sys\nfrom paraspinal_nnunet.cli import main\n\nif __name__ == '__main__':\n    sys.exit(main())\n"


@pytest.fixture
def folder(tmp_path):
    """Scans of a stranger's, with modules among them that leave a trace when they are imported."""
    place = tmp_path / "scans"
    place.mkdir()
    for name in BAIT:
        trace = tmp_path / f"{name}.run"
        (place / f"{name}.py").write_text(f"open({str(trace)!r}, 'w').close()\nraise ImportError({name!r})\n")
    return place


def run_there(folder, script, *words):
    """Run a script as an installed command is run: of its own folder Python knows, not of the user's."""
    place = folder.with_name("bin")
    place.mkdir()
    (place / "command.py").write_text(script)
    paths = os.pathsep.join(filter(None, sys.path))
    known = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, place / "command.py", *words], cwd=folder, env={**known, "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(folder.parent.glob("*.run"))
    return done.stdout


def test_worker_processes_import_nothing_from_it(folder):
    run_there(
        folder, SCRIPT, "phantom", "-n", "2", "-np", "2", "--shape", "32", "32", "13", "-o", folder.parent / "out"
    )
    assert len(list((folder.parent / "out").glob("*_img.nii.gz"))) == 2


def test_a_process_that_may_die_imports_nothing_from_it(folder):
    script = "from paraspinal_nnunet.utils.processes.child import Child\nprint(Child('math', 'sqrt').call(49))\n"
    assert run_there(folder, script) == "7.0\n"


def test_the_engine_of_a_study_imports_nothing_from_it(folder):
    pytest.importorskip("snakemake")
    (folder / "study.yaml").write_text(
        "dataset: {id: 5, convert: {source: author, input: cohort}}\n"
        "arms: {a: {}}\ninspect: {run: false}\ndepth: {run: false}\n"
    )
    assert "convert" in run_there(folder, SCRIPT, "study", "run", "-n")


def test_pools_of_python_3_10_have_the_flag_instead(monkeypatch):
    from multiprocessing import spawn, util

    monkeypatch.setattr(util, "_args_from_interpreter_flags", util._args_from_interpreter_flags)  # put back afterwards
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.setattr(machine.sys, "version_info", (3, 10))
    machine.import_nothing_from_here()
    assert os.environ["PYTHONSAFEPATH"] == "1"
    command = spawn.get_command_line(pipe_handle=3)
    assert command.index("-I") < command.index("-c")
