"""Parts of a series that differ by rounding are one stack; parts of other kinds are never joined nor half taken."""

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import AXIAL, ORIGIN, SPACING, save_series, slices, voxels
from pydicom.uid import generate_uid

from paraspinal_nnunet.dicom import find_series, read_stack, select_in_study
from paraspinal_nnunet.errors import InputError


def interleaved(k):
    return k % 2 == 0


def first_six(k):
    return k < 6


def changed(keyword, usual, other, which):
    """A stack of ten slices with an element of another value, or none, in some."""
    made = slices(**({} if usual is None else {keyword: usual}))
    for k, dataset in enumerate(made):
        if which(k):
            if other is None and keyword in dataset:
                delattr(dataset, keyword)
            elif other is not None:
                setattr(dataset, keyword, other)
    return made


ROUNDED = {
    "echo time": ("EchoTime", 102.336, 102.35),
    "repetition time": ("RepetitionTime", 3500.0, 3512.7),
    "flip angle": ("FlipAngle", 150.0, 149.6),
    "orientation": ("ImageOrientationPatient", [1, 0, 0, 0, 1, 0], [0.999998, 0.002, 0, -0.002, 0.999998, 0]),
    "spacing": ("PixelSpacing", [3.0, 2.5], [3.001, 2.503]),
    "thickness": ("SliceThickness", 4.0, 3.9999),
    "echo number absent": ("EchoNumbers", 1, None),
    "inversion time absent": ("InversionTime", 0.0, None),
    "b-value absent": ("DiffusionBValue", 0.0, None),
    "suffix of the image type": ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "M", "NORM"]),
    "acquisition number": ("AcquisitionNumber", 1, 2),
    "acquisition time": ("AcquisitionTime", "101500", "101733"),
    "window": ("WindowCenter", 400, 612),
    "no agent by name": ("ContrastBolusAgent", "", "NONE"),
}  # fmt: skip


@pytest.mark.parametrize("which", [interleaved, first_six])
@pytest.mark.parametrize("element", ROUNDED)
def test_parts_that_differ_by_rounding_are_one_stack(tmp_path, element, which):
    save_series(changed(*ROUNDED[element], which), tmp_path)
    stack = read_stack(select_in_study(tmp_path).chosen)
    assert (stack.volume.array == voxels()).all()
    assert stack.volume.spacing_mm == pytest.approx(SPACING, rel=2e-3)


def test_the_value_with_most_digits_stands_for_the_rounded_ones(tmp_path):
    made = slices(spacing=(0.390625, 0.390625, 8.0))
    for dataset in made[:7]:
        dataset.PixelSpacing = [0.39, 0.39]
    save_series(made, tmp_path)
    assert read_stack(find_series(tmp_path)[0]).volume.spacing_mm == pytest.approx((0.390625, 0.390625, 8.0), abs=1e-9)


def test_rounded_parts_with_a_slice_missing_are_no_stack_of_twice_the_distance(tmp_path):
    made = changed("EchoTime", 102.336, 102.35, interleaved)
    made.pop(3)
    save_series(made, tmp_path)
    with pytest.raises(InputError, match=r"slice missing between z = -96.0 and -80.0 mm"):
        select_in_study(tmp_path)


KINDS = {
    "echo time": ("EchoTime", 100.0, 20.0),
    "echo time near": ("EchoTime", 100.0, 90.0),
    "phase": ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "P", "ND"]),
    "component": ("ComplexImageComponent", "MAGNITUDE", "PHASE"),
    "water": ("ImageType", ["DERIVED", "PRIMARY", "DIXON", "W"], ["DERIVED", "PRIMARY", "DIXON", "F"]),
    "derived": ("ImageType", ["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "M"]),
    "b-value": ("DiffusionBValue", 0.0, 50.0),
    "contrast agent": ("ContrastBolusAgent", None, "Gadobutrol"),
    "temporal position": ("TemporalPositionIdentifier", 1, 2),
    "echo number": ("EchoNumbers", 1, 2),
    "inversion time": ("InversionTime", 20.0, 150.0),
    "frame of reference": ("FrameOfReferenceUID", generate_uid(), generate_uid()),
}  # fmt: skip


@pytest.mark.parametrize("which", [interleaved, first_six, lambda k: k == 9])
@pytest.mark.parametrize("element", KINDS)
def test_a_part_of_another_kind_is_never_taken_as_a_whole(tmp_path, element, which):
    """Nine or five of ten slices would each be an even stack, of half the slices."""
    save_series(changed(*KINDS[element], which), tmp_path)
    found = find_series(tmp_path)
    assert sorted(len(s.frames) for s in found) == sorted([sum(map(which, range(10))), 10 - sum(map(which, range(10)))])
    with pytest.raises(InputError, match="no axial T2 stack found"):
        select_in_study(tmp_path)


def test_an_element_that_one_slice_lacks_joins_no_two_kinds(tmp_path):
    made = changed("EchoTime", 100.0, 20.0, interleaved)
    del made[5].EchoTime
    save_series(made, tmp_path)
    assert sorted(len(s.frames) for s in find_series(tmp_path)) == [1, 4, 5]
    with pytest.raises(InputError, match="no axial T2 stack found"):
        select_in_study(tmp_path)


def test_a_whole_part_is_accepted_beside_a_partial_one(tmp_path):
    uid = generate_uid()
    save_series(slices(SeriesInstanceUID=uid), tmp_path / "m")
    phase = slices(voxels(seed=1), SeriesInstanceUID=uid, ImageType=["ORIGINAL", "PRIMARY", "P"])
    save_series(phase[:4], tmp_path / "p")
    chosen = select_in_study(tmp_path).chosen
    assert (read_stack(chosen).volume.array == voxels()).all()


def test_one_part_of_two_echoes_that_differ_by_rounding_but_lie_in_one_place(tmp_path):
    """Echo shifts of a Dixon scan: both stacks are whole, so that neither is joined with the other."""
    uid = generate_uid()
    for n, te in enumerate((102.0, 102.8)):
        save_series(slices(voxels(seed=n), SeriesInstanceUID=uid, EchoTime=te), tmp_path / str(n))
    found = find_series(tmp_path)
    assert [s.part for s in found] == ["TE 102 ms", "TE 102.8 ms"]
    assert not any(s.torn for s in found)


@pytest.mark.parametrize("parts", [(range(0, 24, 2), range(1, 24, 2)), (range(0, 20), range(20, 24))])
def test_a_stack_torn_over_two_series_is_refused(tmp_path, parts):
    made = slices(voxels((24, 20, 24)))
    for dataset in made:
        del dataset.SpacingBetweenSlices
    for n, places in enumerate(parts):
        uid = generate_uid()
        for k in places:
            made[k].SeriesInstanceUID, made[k].SeriesNumber = uid, n + 1
        save_series([made[k] for k in places][: 11 if n else None], tmp_path / str(n))
    with pytest.raises(InputError, match="make one even stack together"):
        select_in_study(tmp_path)


def test_a_second_scan_of_the_same_places_is_no_torn_stack(tmp_path):
    save_series(slices(), tmp_path / "a")
    save_series(slices(voxels((24, 20, 9)), SeriesNumber=6, origin=(*ORIGIN[:2], ORIGIN[2] + 1.0)), tmp_path / "b")
    assert select_in_study(tmp_path).chosen.key == "5"


def test_orientations_of_different_blocks_stay_apart(tmp_path):
    made = slices()
    for dataset in made[5:]:
        dataset.ImageOrientationPatient = [*AXIAL[:3], 0, *np.round([np.cos(0.02), np.sin(0.02)], 6).tolist()]
    save_series(made, tmp_path)
    with pytest.raises(InputError, match="blocks of another angle or size"):
        select_in_study(tmp_path)
