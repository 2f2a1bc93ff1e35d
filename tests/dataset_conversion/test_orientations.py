"""No converter of files exchanges a side or moves a voxel, however the axes are stored."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from helpers.scans import RAS, SHAPE, grey, labels
from helpers.scans import save as save_nifti
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.image_io.geometry import to_ras

pytestmark = pytest.mark.slow

CODES = ["".join(axes) for order in itertools.permutations(["RL", "AP", "SI"]) for axes in itertools.product(*order)]


def oblique(degrees):
    """The same grid turned about the x axis, then about z."""
    x, z = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = RAS.copy()
    affine[:3] = about_z @ about_x @ RAS[:3]
    return affine


def save(path, array, affine, codes):
    turned = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    save_nifti(path, apply_orientation(array, turned), affine @ inv_ornt_aff(turned, SHAPE))


def bids(folder, case, write):
    write(folder / f"sub-{case}/anat/sub-{case}_T2w.nii.gz", None)
    write(folder / f"derivatives/l/sub-{case}/anat/sub-{case}_dseg.nii.gz", labels())
    (folder / "derivatives/l/dseg.tsv").write_text("index\tname\n1\tMFR\n2\tMFL\n3\tESR\n4\tESL\n5\tPMR\n6\tPML\n")
    return labels()


def masks(folder, case, write):
    write(folder / f"{case}.nii.gz", None)
    for value, name in enumerate(("MFR", "MFL", "ESR", "ESL", "PMR", "PML"), start=1):
        write(folder / f"{case}/{name}.nii.gz", (labels() == value).astype(np.uint8))
    return labels()


def musclemap(folder, case, write):
    write(folder / f"{case}.nii.gz", None)
    codes = np.array([0, 5102, 5101, 5112, 5111, 5122, 5121], np.int16)
    write(folder / f"{case}_dseg.nii.gz", codes[labels()])
    return labels()


def totalsegmentator(folder, case, write):
    write(folder / f"{case}/mri.nii.gz", None)
    names = ("autochthon_right", "autochthon_left", "iliopsoas_right", "iliopsoas_left")
    for value, name in enumerate(names, start=1):
        write(folder / f"{case}/segmentations/{name}.nii.gz", (labels() == value).astype(np.uint8))
    return np.where(labels() <= 4, labels(), 0)


ROUTES = {
    bids: ("bids",),
    masks: (
        *("pairs", "--image-pattern", "{case}.nii.gz"),
        *("--label-pattern", "{case}/{structure}.nii.gz", "--labels", "names"),
    ),
    musclemap: ("musclemap",),
    totalsegmentator: ("totalsegmentator",),
}


@pytest.mark.parametrize("degrees", [(0, 0), (17, -9)], ids=["straight", "oblique"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
def test_all_48_stored_orientations(tmp_path, monkeypatch, route, degrees):
    assert len(set(CODES)) == 48
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    for seed, codes in enumerate(CODES):

        def write(path, array, codes=codes, seed=seed):
            save(path, grey(seed) if array is None else array, oblique(degrees), codes)

        expected = route(tmp_path / "in", codes, write)
    verb, *flags = ROUTES[route]
    given = ["-i", str(tmp_path / "in"), "-d", "508", "-n", "A", "-np", "1"]
    assert main(["convert", verb, *given, *flags]) == 0
    dataset = tmp_path / "Dataset508_A"
    for seed, codes in enumerate(CODES):
        case = f"sub-{codes}" if route is bids else codes
        for path, array in ((f"imagesTr/{case}_0000.nii.gz", grey(seed)), (f"labelsTr/{case}.nii.gz", expected)):
            image = nib.load(dataset / path)
            turned, affine = to_ras(np.asanyarray(image.dataobj), image.affine)
            np.testing.assert_array_equal(turned, array)
            np.testing.assert_allclose(affine, oblique(degrees), atol=1e-3)
