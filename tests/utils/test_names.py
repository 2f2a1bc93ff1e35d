"""Names that no file, table or page can hold are told before anything is written."""

import os

import numpy as np
import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation import evaluate
from paraspinal_nnunet.evaluation.predictions import parse_models
from paraspinal_nnunet.image_io.nifti import write_labels
from paraspinal_nnunet.measures.batch import BatchRequest, measure_batch
from paraspinal_nnunet.utils.files import read_json, write_json
from paraspinal_nnunet.utils.names import name_fault

ODD = os.fsdecode(b"n\xff")


def test_a_name_that_is_no_utf8_is_told_in_plain_letters():
    assert name_fault(ODD) == r"'n\udcff' is no valid UTF-8"


@pytest.mark.parametrize("name", ["a\u200b", "sub\u202egpj", "a\nb", "\x1b[2J", "a\x85", "\ufeffa", "a\u2028b"])
@pytest.mark.parametrize("written", [True, False])
def test_characters_that_are_not_seen_are_told_in_plain_letters(name, written):
    assert name_fault(name, written=written) == f"{name!a} has characters that are not seen"


@pytest.mark.parametrize("written", [True, False])
def test_a_case_that_tables_would_take_for_a_comment_is_refused(written):
    assert name_fault("#12", written=written) == "'#12' begins with #, as comments in tables do"
    assert name_fault("12#", written=written) is None


def test_models_are_named_as_tables_and_pages_can_hold(tmp_path):
    for name, told in (("#1", "begins with #"), ("a\u200b", "has characters that are not seen")):
        with pytest.raises(InputError, match=f"{told}.*; give the model another name"):
            parse_models([f"{name}={tmp_path}"])


def test_commands_refuse_it_in_one_line(tmp_path):
    (tmp_path / "in").mkdir()
    write_labels(tmp_path / "x.nii.gz", np.ones((12, 12, 4), np.uint8), np.diag([1.0, 1.0, 4.0, 1.0]))
    try:
        os.rename(tmp_path / "x.nii.gz", os.fsencode(tmp_path / "in") + b"/n\xff.nii.gz")
    except OSError:
        pytest.skip("this file system holds no such names")
    with pytest.raises(InputError, match="is no valid UTF-8; rename"):
        measure_batch(BatchRequest(tmp_path / "in", tmp_path / "out"))
    with pytest.raises(InputError, match="is no valid UTF-8; rename"):
        evaluate(tmp_path / "in", {"m": tmp_path / "in"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_may_name_such_a_path(tmp_path):
    write_json(tmp_path / "r.json", {"path": ODD})
    assert read_json(tmp_path / "r.json") == {"path": ODD}
