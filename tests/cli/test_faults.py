"""A verb that is stopped or whose disk is full leaves nothing half-done: the next run makes what it would have made.

`helpers.faults.hunt` goes over all verbs; here is a sample.
"""

import random
import sys

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("nnunetv2")

from helpers import faults
from helpers.faults import disks, kills
from helpers.faults.verbs import VERBS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of Unix"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize(
    ("name", "way"), [("convert", "worker"), ("measure", "kill"), ("evaluate", "ctrl-c"), ("predict", "term")]
)
def test_stopped_and_full(folder, name, way):
    verb = VERBS[name](folder)
    expected, first, seconds = kills.undisturbed(verb, folder)
    assert expected
    moment = first + 0.3 * (seconds - first)
    assert kills.kill_and_rerun(verb, folder, moment, expected, way=way, chance=random.Random(0)) == ""
    faults.prepare_output(verb, folder)
    code, lines, _ = faults.run(verb, folder, preexec_fn=disks.small_files(300))
    assert faults.fault_of_line(code, lines) == ""
    assert faults.run(verb, folder)[0] == 0
    assert verb.contents(faults.out_of(folder)) == expected


def test_every_verb_that_writes_is_killed():
    from paraspinal_nnunet.cli import VERBS as ALL

    write_nothing = {"trainers", "models", "env", "doctor"}
    of_others = {"demo"}  # phantoms and a study
    assert {name.split()[0] for name in VERBS} == set(ALL) - write_nothing - of_others
