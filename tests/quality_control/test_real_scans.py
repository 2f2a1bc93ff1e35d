"""Inspecting real scans of two persons: their sides and lengths are right, and no two persons look alike."""

import json
import os
import shutil
from pathlib import Path

import pytest

from paraspinal_nnunet.quality_control import Severity, inspect_dataset, write_previews

pytestmark = pytest.mark.real_data
FILES = {
    "fat": ("TUM01_fat_img_img_L2-L5.nii.gz", "TUM01_fat_manual_label_segmentation_L2-L5.nii.gz"),
    "water": (
        "TUM01_water_img_img_L2-L5.nii.gz",
        "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz",
    ),
    "abdomen": ("abdomen01_image.nii.gz", "abdomen01_dseg.nii.gz"),
}
TUM = ("erector_spinae_right", "multifidus_right", "multifidus_left", "erector_spinae_left")
ABDOMEN = [f"{m}_{s}" for m in ("multifidus", "erector_spinae", "psoas_major", "quadratus_lumborum")
           for s in ("right", "left")]  # fmt: skip


@pytest.fixture
def real(tmp_path):
    folder = os.environ.get("PARASPINAL_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("PARASPINAL_REAL_DATA is not set")

    def make(cases, names):
        target = tmp_path / "raw" / "Dataset601_Real"
        for part in ("imagesTr", "labelsTr"):
            (target / part).mkdir(parents=True)
        for case in cases:
            shutil.copy(Path(folder) / FILES[case][0], target / "imagesTr" / f"{case}_0000.nii.gz")
            shutil.copy(Path(folder) / FILES[case][1], target / "labelsTr" / f"{case}.nii.gz")
        content = {
            "channel_names": {"0": "T2"},
            "labels": {"background": 0, **{name: n for n, name in enumerate(names, start=1)}},
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
            "overwrite_image_reader_writer": "NibabelIOWithReorient",
        }
        (target / "dataset.json").write_text(json.dumps(content))
        return target

    return make


def test_labels_numbered_by_others_are_read_by_their_names(real, tmp_path):
    inspection = inspect_dataset(real(["fat", "water"], TUM))
    assert [f.kind for f in inspection.findings if f.kind in ("sides", "values", "near-duplicate", "duplicate")] == []
    for facts in inspection.cases:
        assert (facts.shape, facts.stored_axes) == ((400, 400, 29), "LPS")
        assert facts.labels.labelled_mm == pytest.approx(116)  # 29 slices of 4 mm
        volumes = {c.name: facts.labels.classes[c.value].volume_ml for c in inspection.dataset.classes}
        assert volumes["erector_spinae_right"] == pytest.approx(203.1, abs=0.1)
        assert volumes["multifidus_left"] == pytest.approx(69.6, abs=0.1)
    assert len(write_previews(inspection.dataset.folder, tmp_path / "sheet.png")) == 1


def test_names_that_contradict_the_geometry_are_found(real):
    """The list of names that comes with the data calls 3 and 4 the other way round."""
    wrong = (TUM[0], TUM[1], TUM[3], TUM[2])
    inspection = inspect_dataset(real(["water"], wrong))
    assert inspection.problems == 1  # both still lie on the left, but each where the other one belongs
    assert "Multifidus left lies lateral of erector spinae left in 100 % of their slices" in inspection.findings[0].text
    assert [f.text for f in inspection.findings if f.kind == "asymmetry"] == [
        "Multifidus right and left differ by -100 % of their mean",
        "Erector spinae right and left differ by +98 % of their mean",
    ]
    swapped = tuple(name.replace("right", "x").replace("left", "right").replace("x", "left") for name in TUM)
    folder = inspection.dataset.folder
    content = json.loads((folder / "dataset.json").read_text())
    content["labels"] = {"background": 0, **{name: n for n, name in enumerate(swapped, start=1)}}
    (folder / "dataset.json").write_text(json.dumps(content))
    problems = [f for f in inspect_dataset(folder).findings if f.severity is Severity.PROBLEM]
    assert [f.kind for f in problems] == ["sides"]


def test_eight_classes_of_an_oblique_scan(real):
    inspection = inspect_dataset(real(["abdomen"], ABDOMEN))
    assert inspection.problems == 0
    assert inspection.cases[0].obliquity_deg == pytest.approx(9.52, abs=0.01)
    assert [v.reference is None for v in inspection.volumes] == [False] * 6 + [True] * 2
