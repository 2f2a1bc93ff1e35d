"""No verb writes over what it reads, and each says so before it reads."""

import hashlib
import os

import pytest

from paraspinal_nnunet.cli import main


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A bit of everything that verbs read, none of it sound: what is refused before reading cannot notice."""
    for name in (
        "raw/Dataset501_Test/dataset.json",
        "raw/Dataset501_Test/imagesTr/a_0000.nii.gz",
        "raw/Dataset501_Test/labelsTr/a.nii.gz",
        "preprocessed/Dataset501_Test/dataset.json",
        "predictions/a.nii.gz",
        "evaluation/metrics.tsv",
        "evaluation/evaluation.json",
        "statistics/statistics.json",
        "model/plans.json",
        "source/a.nii.gz",
        "source/raw/notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    os.link("predictions/a.nii.gz", "linked.zip")
    return tmp_path


def content(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


EVALUATE = "evaluate -ref raw/Dataset501_Test --pred one=predictions"


@pytest.mark.parametrize(
    "line",
    [
        f"{EVALUATE} -o predictions",
        f"{EVALUATE} -o Predictions/../PREDICTIONS",
        f"{EVALUATE} -o raw/Dataset501_Test/labelsTr",
        f"{EVALUATE} -o out --cases out/metrics.tsv",
        "statistics evaluation -o evaluation",
        "statistics evaluation -o out --design out/statistics.json",
        "report -e evaluation -s statistics -o evaluation",
        "report -e evaluation -s statistics -o .",
        "inspect -d 501 -o raw/Dataset501_Test",
        "inspect -d 501 -o raw/Dataset501_Test/imagesTr",
        "convert author -i source -d 502 --raw source/raw",
        "convert author -i source -d 502 --report source/a.nii.gz",
        "convert author -i source -d 502 --participants evaluation/metrics.tsv --report evaluation/metrics.tsv",
        "convert dicom -i source -d 502 --ids evaluation/metrics.tsv --report evaluation/METRICS.tsv",
        "convert pairs -i source -d 502 -n T --image-pattern {case}_i.nii --label-pattern {case}_l.nii "
        "--labels evaluation/metrics.tsv --report evaluation/metrics.tsv",
        "export -m model -o model --overwrite",
        "export -m model -o . --overwrite",
        "predict -i source/a.nii.gz -o source -m model --overwrite",
    ],
)
def test_outputs_are_no_inputs(place, capsys, line):
    before = content(place)
    assert main(line.split()) == 1
    said = capsys.readouterr().err
    assert any(words in said for words in ("what is read", "holds the input", "is a data set", "never written to"))
    assert content(place) == before


def test_only_a_model_gives_way_to_a_model(place, capsys):
    pytest.importorskip("nnunetv2")
    before = content(place)
    for output in ("statistics", "linked.zip", "source/a.nii.gz"):
        assert main(["export", "-m", "model", "-o", output, "--overwrite"]) == 1
        assert "is there already; choose another name" in capsys.readouterr().err
    assert content(place) == before


def test_augmented_images_stay_out_of_preprocessed_ones(place, capsys):
    pytest.importorskip("nnunetv2")
    assert main(["augment", "-d", "501", "-f", "0", "-o", "preprocessed/Dataset501_Test"]) == 1
    assert "would be written into what is read" in capsys.readouterr().err
