"""A verb that is killed or whose disk is full leaves nothing half-done: the next run makes what it would have made."""

import shutil
import sys

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("nnunetv2")

from helpers import faults

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of Unix"),
]


@pytest.fixture(scope="module")
def verbs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    return folder, faults.prepare(folder)


@pytest.mark.parametrize("name", ["convert", "measure", "evaluate"])
def test_killed_and_full(verbs, name):
    folder, known = verbs
    verb = known[name]
    shutil.rmtree(folder / verb.output, ignore_errors=True)
    code, lines, seconds = faults.run(name, verb, folder)
    assert code == 0, lines
    expected = faults.hashes(folder / verb.output)
    assert expected
    assert faults.kill_and_rerun(name, verb, folder, 0.6 * seconds, expected) == ""
    shutil.rmtree(folder / verb.output)
    code, lines, _ = faults.run(name, verb, folder, preexec_fn=faults.small_files(300))
    assert faults.fault_of_full_disk(code, lines) == ""
    assert faults.run(name, verb, folder)[0] == 0
    assert faults.hashes(folder / verb.output) == expected
