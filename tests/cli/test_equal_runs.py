"""Equal runs in different folders give equal files, but for the times in them; none names a folder or a person."""

import platform
import socket

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from helpers.command_line import quietly
from helpers.faults import without_times
from helpers.fuzzing.seeds import LENIENT, author_scans, convert_author, write_nifti
from helpers.tiny_portable import AFFINE, boxes, painted, write_tiny_model

HOST, USER = "host-of-the-hospital", "name-of-the-user"


def run_everything(folder, model):
    """Conversion, quality control, prediction, measures, evaluation, statistics and report."""
    (folder / "raw").mkdir(parents=True)
    author_scans(folder / "scans")
    convert_author(folder)
    quietly("inspect", "-d", "501", "--raw", folder / "raw", "-o", folder / "inspected", "-np", "1")
    for number, case in enumerate("abc"):
        write_nifti(folder / "images" / f"{case}.nii.gz", painted(boxes(), number), AFFINE)
        write_nifti(folder / "labelsTr" / f"{case}.nii.gz", boxes(), AFFINE)
    flags = ("--runtime", "onnxruntime", "--threads", "1")
    quietly("predict", "-i", folder / "images", "-o", folder / "masks", "-m", model, *flags)
    quietly("measure", "-l", folder / "labelsTr", "-i", folder / "images", "-o", folder / "measured", "-np", "1")
    pairs = (f"a={folder / 'masks'}", f"b={folder / 'labelsTr'}")
    quietly("evaluate", "-ref", folder / "labelsTr", "--pred", *pairs, "-o", folder / "evaluation", "-np", "1")
    quietly("statistics", folder / "evaluation", "-o", folder / "statistics", *LENIENT)
    quietly("report", "-e", folder / "evaluation", "-s", folder / "statistics", "-o", folder / "report", "-np", "1")


@pytest.mark.slow
def test_two_runs(tmp_path, monkeypatch, kept_environment):
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    for variable in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(variable, USER)
    model = write_tiny_model(tmp_path / "model")
    first, second = tmp_path / "here" / "one", tmp_path / "there" / "below" / "two"
    for folder in (first, second):
        run_everything(folder, model)
    names = [sorted(p.relative_to(f).as_posix() for p in f.rglob("*") if p.is_file()) for f in (first, second)]
    assert names[0] == names[1]
    assert [n for n in names[0] if without_times(first / n) != without_times(second / n)] == []
    tell = [text.encode() for text in (str(tmp_path), HOST, USER)]
    assert [(n, t) for n in names[0] for t in tell if t in (first / n).read_bytes()] == []
