"""Measures of the real scans: against plain counting, and where grids really differ."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from paraspinal_nnunet import measure
from paraspinal_nnunet.anatomy import BY_KEY, LABEL_SCHEMES, Muscle
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.measures import measure_plots

REAL = Path(os.environ.get("PARASPINAL_REAL_DATA", ""))
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not os.environ.get("PARASPINAL_REAL_DATA") or not REAL.is_dir(), reason="PARASPINAL_REAL_DATA names no folder"
    ),
]
LPM = {value: BY_KEY[key].label for value, key in LABEL_SCHEMES["lpm"].values.items()}
WATER, WATER_LABELS = "TUM01_water_img_img_L2-L5", "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label"
FAT, FAT_LABELS = "TUM01_fat_img_img_L2-L5", "TUM01_fat_manual_label_segmentation_L2-L5"
DORSAL = (Muscle.MULTIFIDUS, Muscle.ERECTOR_SPINAE)


def path(name):
    return REAL / f"{name}.nii.gz"


def voxels(name):
    image = nibabel.load(path(name))
    return np.asanyarray(image.dataobj), image


def test_oblique_scan_against_plain_counting():
    result = measure(path("abdomen01_image"), path("abdomen01_dseg"), fat_methods=("otsu", "kmeans", "gmm"))
    labels, image = voxels("abdomen01_dseg")
    grey = voxels("abdomen01_image")[0]
    dx, dy, dz = (float(v) for v in image.header.get_zooms())
    assert len(result.structures) == 8
    for each in result.structures:
        mask = labels == each.structure.label
        assert each.volume_ml == pytest.approx(mask.sum() * dx * dy * dz / 1000, rel=1e-5)
        areas = mask.sum(axis=(0, 1)) * dx * dy
        assert each.csa_max_mm2 == pytest.approx(areas.max(), rel=1e-5)
        assert each.csa_max_slice == areas.argmax() + 1  # stored LPS: the third axis rises towards the head
        assert each.intensity_mean == pytest.approx(grey[mask].mean(), rel=1e-5)
        fat = each.fat_by("otsu")
        assert fat.fat_fraction == (grey[mask] > fat.threshold).mean()
        assert fat.fat_fraction == pytest.approx(each.fat_by("kmeans").fat_fraction)
    assert {flag.kind for flag in result.flags} == {"end of stack", "field of view"}
    assert measure_plots(result).count("<polyline") == 16


def test_water_and_fat_of_one_person_lie_on_other_grids():
    images = {"water": path(WATER), "fat": path(FAT)}
    options = {"label_values": LPM, "muscles": DORSAL}
    with pytest.raises(GeometryError, match=r"the fat is not on the labels' grid \(origin"):
        measure(path(WATER), path(WATER_LABELS), **images, **options)
    with pytest.raises(GeometryError, match="labelled voxels lie outside the fat"):
        measure(path(WATER), path(WATER_LABELS), **images, **options, regrid="resample")
    result = measure(None, path(WATER_LABELS), **images, **options, regrid="by-voxel")
    labels = voxels(WATER_LABELS)[0]
    water, fat = (voxels(name)[0].astype(float) for name in (WATER, FAT))
    for value, label in LPM.items():
        mask = (labels == value) & (water + fat > 0)
        expected = (fat[mask] / (water + fat)[mask]).mean()
        found = next(s for s in result.structures if s.structure.label == label)
        assert found.fat_by("dixon").fat_fraction == pytest.approx(expected, rel=1e-5)
        assert 0.05 < expected < 0.3
    assert not [flag for flag in result.flags if flag.severity != "info"]


def test_two_labellings_of_one_person_agree_in_volume():
    results = [measure(None, path(n), label_values=LPM, muscles=DORSAL) for n in (WATER_LABELS, FAT_LABELS)]
    for one, other in zip(*(r.structures for r in results), strict=True):
        assert one.volume_ml == pytest.approx(other.volume_ml, rel=0.15)
