"""Real scans through NIfTI pairs, BIDS and DICOM (single-frame, multi-frame, zipped): the same voxels every way."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import PATIENT, SECRETS, enhanced, save, save_seg, save_series, segmentation, slices

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.images import read_image, read_labels

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("PARASPINAL_REAL_DATA"), reason="PARASPINAL_REAL_DATA is not set"),
]

SCANS = {
    "abdomen01": ("abdomen01_image.nii.gz", "abdomen01_dseg.nii.gz", "musclemap-abdomen"),
    "TUM01_water": (
        "TUM01_water_img_img_L2-L5.nii.gz",
        "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz",
        "lpm",
    ),
}


def as_dicom(volume):
    """(array, orientation, spacing, origin) of slices stacked along the normal of rows and columns."""
    array, lps = volume.array, np.diag([-1.0, -1, 1, 1]) @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    row, column, normal = (lps[:3, :3] / spacing).T
    origin = lps[:3, 3]
    if np.cross(row, column) @ normal < 0:
        array, origin = array[:, :, ::-1], origin + lps[:3, 2] * (array.shape[2] - 1)
    return array, {"orientation": (*row, *column), "spacing": tuple(spacing), "origin": tuple(origin)}


def segments(scheme):
    names = LABEL_SCHEMES[scheme].values
    return {v: (key.replace("_", " "), ("SCT", "1", "Muscle"), None) for v, key in names.items()}


def in_ras(path):
    volume = read_image(path)
    array, affine = to_ras(volume.array, volume.affine)
    return np.asarray(array), affine


def convert(source, folder, number, *flags):
    flags = ["-n", "X", "-np", "1", "--allow-empty-label", *flags]
    assert main(["convert", source, "-i", str(folder), "-d", str(number), *flags]) == 0


@pytest.mark.parametrize("scan", SCANS)
def test_every_way_gives_the_same_voxels(raw, tmp_path, scan):
    root = Path(os.environ["PARASPINAL_REAL_DATA"])
    image, label, scheme = SCANS[scan]
    pairs, bids = tmp_path / "pairs", tmp_path / "bids"
    pairs.mkdir()
    shutil.copy(root / image, pairs / "x_img.nii.gz")
    shutil.copy(root / label, pairs / "x_GT.nii.gz")
    for part, name in ((image, "sub-x/anat/sub-x_T2w"), (label, "derivatives/labels/sub-x/anat/sub-x_T2w_dseg")):
        target = bids / (f"{name}.nii.gz" if "deriv" not in name else name.replace("_T2w_dseg", "_dseg") + ".nii.gz")
        target.parent.mkdir(parents=True)
        shutil.copy(root / part, target)
    (bids / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.9.0"}))
    array, grid = as_dicom(read_image(root / image))
    drawn, _ = as_dicom(read_labels(root / label))
    made = slices(array.astype(np.uint16), **grid)
    seg = segmentation(made, drawn, segments=segments(scheme))
    for name in ("single", "zipped"):
        save_series(made, tmp_path / name / "s" / "a")
        save_seg(seg, tmp_path / name / "s" / "b")
    shutil.make_archive(str(tmp_path / "zipped" / "packed"), "zip", tmp_path / "zipped" / "s")
    shutil.rmtree(tmp_path / "zipped" / "s")
    order = list(np.random.default_rng(0).permutation(array.shape[2]))
    save(enhanced(array.astype(np.uint16), order=order, **grid), tmp_path / "multi" / "s" / "a")
    save_seg(seg, tmp_path / "multi" / "s" / "b")

    patterns = ["--image-pattern", "{case}_img.nii.gz", "--label-pattern", "{case}_GT.nii.gz", "--labels", scheme]
    convert("pairs", pairs, 701, *patterns)
    convert("bids", bids, 702, "--labels", scheme)
    for number, name in enumerate(("single", "zipped", "multi"), start=703):
        convert("dicom", tmp_path / name, number, "--labels", str(_by_number(tmp_path, scheme)))

    for part, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        found = {n: in_ras(next((raw / f"Dataset{n}_X" / part).glob(f"*{ending}"))) for n in range(701, 706)}
        for number, (voxels, affine) in found.items():
            assert np.array_equal(voxels, found[701][0]), number
            np.testing.assert_allclose(affine, found[701][1], atol=1e-3)
    for number in (703, 704, 705):
        for path in (raw / f"Dataset{number}_X").rglob("*.*s*"):
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not [s for s in (*SECRETS, PATIENT["PatientID"]) if s in text], path


def _by_number(folder, scheme):
    path = folder / "segments.json"
    path.write_text(json.dumps({str(v): key for v, key in LABEL_SCHEMES[scheme].values.items()}))
    return path
