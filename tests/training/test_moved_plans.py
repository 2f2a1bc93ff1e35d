"""Plans moved to another data set by nnU-Net's own commands, and commands that leave -p out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the shell lines are for POSIX shells")]

STOCK = Path(sys.executable).parent
OURS = f"{sys.executable} -m paraspinal_nnunet"
TRAINER = "nnUNetTrainerParaspinal"


def run(dataset, command, code=0):
    environment = {**os.environ, **dataset.variables(), "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "0"}
    line = f'eval "$({OURS} env 2>/dev/null)"; exec {command}'
    done = subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == code, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stderr


def test_moved_plans_train_with_folds_by_subject(tiny_copy):
    """nnUNetv2_extract_fingerprint, _move_plans_between_datasets and _preprocess prepare a second data set."""
    other = "Dataset502_Other"
    shutil.copytree(tiny_copy.raw, tiny_copy.raw.parent / other)
    cases = "".join(f"sub-00{n}\t{who}\n" for n, who in enumerate("aabbcd", 1))
    (tiny_copy.raw.parent / other / "cases.tsv").write_text("case\tsubject\n" + cases)
    target = tiny_copy.preprocessed.parent / other
    run(tiny_copy, f"{STOCK}/nnUNetv2_extract_fingerprint -d 502 -np 1")
    run(tiny_copy, f"{STOCK}/nnUNetv2_move_plans_between_datasets -s 501 -t 502 -sp Tiny -tp Moved")
    shutil.copy(target.parent.parent / "raw" / other / "dataset.json", target)
    run(tiny_copy, f"{STOCK}/nnUNetv2_preprocess -d 502 -plans_name Moved -c 2d -np 1")
    run(tiny_copy, f"{STOCK}/nnUNetv2_train 502 2d 0 -tr {TRAINER} -p Moved -device cpu")
    folder = tiny_copy.results / other / f"{TRAINER}__Moved__2d" / "fold_0"
    assert json.loads((folder / "protocol.json").read_text())["plans"] == "Moved"
    assert (folder / "validation" / "summary.json").is_file()
    splits = json.loads((target / "splits_final.json").read_text())
    assert len(splits) == 3
    assert all(("sub-001" in s["val"]) == ("sub-002" in s["val"]) for s in splits)


def test_a_command_without_plans_is_refused_in_one_line(tiny_copy):
    assert (tiny_copy.preprocessed / "nnUNetPlans.json").is_file()
    error = run(tiny_copy, f"{STOCK}/nnUNetv2_train 501 2d 0 -tr {TRAINER} -device cpu", code=1)
    assert error.strip().splitlines()[-1].endswith("than the paper's: add -p ParaspinalPlans")
    assert "Traceback" not in error
