"""Of a whole study the axial T2 stack is chosen, every other series gets its reason, and ambiguity is an error."""

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import (
    AXIAL,
    CORONAL,
    ORIGIN,
    RTSTRUCT,
    SAGITTAL,
    SECONDARY_CAPTURE,
    enhanced,
    phantom_labels,
    rotated,
    save,
    save_seg,
    save_series,
    segmentation,
    slices,
    voxels,
)
from pydicom.uid import generate_uid

from paraspinal_nnunet.dicom import Kind, opened_source, read_stack, select_in_study
from paraspinal_nnunet.errors import InputError

T1 = {"EchoTime": 11.0, "RepetitionTime": 620.0}
DERIVED = ["DERIVED", "PRIMARY", "M", "ND"]


def study(folder, *series):
    """Each series a dict of what `slices` takes; numbered from 1."""
    for n, changes in enumerate(series, start=1):
        save_series(slices(**{"SeriesNumber": n, **changes}), folder / f"S{n}")
    return folder


def reasons(selection):
    return {line.series.key: line.reason for line in selection.lines}


def localizer(folder, number):
    uid = generate_uid()
    for n, orientation in enumerate((AXIAL, SAGITTAL, CORONAL)):
        changes = {"SeriesInstanceUID": uid, "SeriesNumber": number, "SeriesDescription": "start"}
        save_series(slices(voxels((8, 8, 3)), orientation=orientation, **changes), folder / f"loc{n}")


def test_a_whole_study(tmp_path):
    t2 = {"SeriesDescription": "whatever", "ProtocolName": "LWS"}
    study(
        tmp_path,
        {"SeriesDescription": "t2_tse_sag", "orientation": SAGITTAL},
        {"SeriesDescription": "t1_tse_tra", **T1},
        {"SeriesDescription": "t2_tse_cor", "orientation": CORONAL},
        t2,
        {"SeriesDescription": "pd_tra", "EchoTime": 30.0},
        {"SeriesDescription": "t2_star", "ScanningSequence": "GR", "EchoTime": 17.0, "RepetitionTime": 700.0},
        {"SeriesDescription": "stir", "ScanningSequence": ["SE", "IR"], "InversionTime": 160.0},
        {"SeriesDescription": "t2 L5/S1", "array": voxels((24, 20, 5))},
        {"SeriesDescription": "ep2d", "ScanningSequence": "EP", "DiffusionBValue": 800.0},
        {"SeriesDescription": "Survey_LWS"},
        {"SeriesDescription": "t2 mpr tra", "ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"SeriesDescription": "t2 HWS tra"},
        {"SeriesDescription": "t2 tra", "Modality": "CT"},
        {"SeriesDescription": "screen", "SOPClassUID": SECONDARY_CAPTURE, "Modality": "OT"},
        {"SeriesDescription": "t2 tra", "ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE"]},
    )
    localizer(tmp_path, 20)
    save_seg(segmentation(slices(), phantom_labels()), tmp_path / "seg")
    selection = select_in_study(tmp_path)
    assert selection.chosen.key == "4"
    assert (read_stack(selection.chosen).volume.array == voxels()).all()
    assert len(selection.of_kind(Kind.SEGMENTATION)) == 1
    assert reasons(selection) == {
        "1": "sagittal",
        "2": "T1 (TE 11 ms, TR 620 ms)",
        "3": "coronal",
        "4": "axial, 10 slices, TE 102 ms, TR 3500 ms, pixels of 3 mm; the only one that fits",
        "5": "proton density (TE 30 ms, TR 3500 ms)",
        "6": "gradient echo (TE 17 ms)",
        "7": "inversion recovery (STIR, TI 160 ms)",
        "8": "5 slices, fewer than 8",
        "9": "diffusion or echo-planar",
        "10": "localizer by its name",
        "11": "derived (MPR by its image type)",
        "12": "another region by name or BodyPartExamined (neck)",
        "13": "modality CT, not MR",
        "14": "modality OT, not MR",
        "15": "derived (PROJECTION IMAGE by its image type)",
        "20.1": "sagittal",
        "20.2": "localizer: one series of 3 planes",
        "20.3": "coronal",
        "100": "no image (Segmentation Storage)",
    }
    text = selection.text()
    assert len(text.splitlines()) == 19
    assert "accepted  series 4 'whatever': axial" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("AX T2 FRFSE", None),
        ("t2_tse_tra_320", None),
        ("T2 TSE axiale lombaire", None),
        ("T2w_TSE_tra LWS", None),
        ("Axial T1 FSE", "T1 by its name"),
        ("t1_vibe_tra", "T1 by its name"),
        ("PD TSE", "proton density by its name"),
        ("T2* MEDIC", "T2* by its name"),
        ("tra 4mm", "neither echo time nor name says T2"),
    ],
)
def test_words_count_where_tags_are_silent(tmp_path, name, reason):
    made = slices(SeriesDescription=name)
    for dataset in made:
        del dataset.EchoTime
    save_series(made, tmp_path)
    if reason is None:
        assert select_in_study(tmp_path).chosen.description == name
    else:
        with pytest.raises(InputError, match=reason.replace("*", r"\*")):
            select_in_study(tmp_path)


@pytest.mark.parametrize("name", ["T1 by mistake", "loch", "pilote lomb", "Coupes", "cour t2", "mpressive"])
def test_tags_count_before_words_and_words_are_whole(tmp_path, name):
    study(tmp_path, {"SeriesDescription": name})
    assert select_in_study(tmp_path).chosen.key == "1"


@pytest.mark.parametrize(
    ("worse", "better", "reason"),
    [
        ({"array": voxels((24, 20, 8))}, {}, "scanned twice, with fewer slices"),
        ({"spacing": (3.0, 3.0, 8.0)}, {}, "scanned twice, at lower resolution"),
        ({"ImageType": DERIVED}, {}, "derived from another"),
        ({"ScanOptions": "FS"}, {}, "fat-suppressed"),
        ({"SeriesDescription": "t2_tse_fs_tra"}, {}, "fat-suppressed"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "DIXON", "W"]}, {"SeriesDescription": "in"}, "a Dixon part image"),
    ],
)
@pytest.mark.parametrize("order", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_the_better_of_two(tmp_path, worse, better, reason, order):
    study(tmp_path, *[worse, better][::order])
    selection = select_in_study(tmp_path)
    key = "2" if order == 1 else "1"
    assert selection.chosen.key == key
    assert reasons(selection)["1" if key == "2" else "2"].startswith(f"{reason} (series {key}")


def test_the_echo_nearest_to_t2(tmp_path):
    save(enhanced(echoes=(70.0, 98.0, 180.0)), tmp_path / "a")
    selection = select_in_study(tmp_path)
    assert selection.chosen.part == "TE 98 ms"
    assert reasons(selection)["5.1"].startswith("another echo, further from TE 100 ms")


def test_equals_are_an_error_that_lists_them(tmp_path):
    study(tmp_path, {}, {"SeriesDescription": "again"})
    with pytest.raises(InputError, match=r"2 series fit equally well: series 1 't2_tse_tra' \[10 slices\], series 2"):
        select_in_study(tmp_path)
    assert select_in_study(tmp_path, series="2").chosen.description == "again"
    assert select_in_study(tmp_path, series="^AGAIN$").chosen.key == "2"


def test_two_blocks_of_the_spine_are_an_error(tmp_path):
    study(tmp_path, {}, {"array": voxels((24, 20, 9)), "origin": (ORIGIN[0], ORIGIN[1], 0.0)})
    with pytest.raises(InputError, match=r"show different parts of the spine.*--series"):
        select_in_study(tmp_path)


def test_blocks_along_the_discs_are_no_stack(tmp_path):
    uid = generate_uid()
    for n in range(5):
        orientation = rotated(AXIAL, 5 * n - 10, (1, 0, 0))
        made = slices(voxels((24, 20, 5)), orientation=orientation, SeriesInstanceUID=uid, origin=(0, 0, 40.0 * n))
        save_series(made, tmp_path / str(n))
    with pytest.raises(InputError, match=r"no axial T2 stack found .*5 blocks of another angle .*one per disc"):
        select_in_study(tmp_path)


def test_a_torn_series_is_taken_only_when_asked_for(tmp_path):
    """Nine slices and a tenth of another pixel size: the nine alone would hide the loss."""
    made = slices()
    made[-1].PixelSpacing = [2.0, 2.0]
    save_series(made, tmp_path)
    with pytest.raises(InputError, match=r"part of a series that mixes geometries .*give --series 5\.1 if"):
        select_in_study(tmp_path)
    assert len(select_in_study(tmp_path, series="5.1").chosen.frames) == 9


def test_a_stack_with_a_gap_gives_its_reason(tmp_path):
    made = slices()
    made.pop(4)
    save_series(made, tmp_path)
    with pytest.raises(InputError, match=r"damaged: slice missing between z = -88.0 and -72.0 mm"):
        select_in_study(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("9", r"--series '9': fits none of series 1 't2_tse_tra' \[10 slices\], series 2"),
        ("t2", r"--series 't2': fits series 1 .*, series 2 .*; give the number"),
        ("(", r"--series '\(': is no regular expression"),
    ],
)
def test_what_is_asked_for_must_be_one(tmp_path, wanted, message):
    study(tmp_path, {}, {})
    with pytest.raises(InputError, match=message):
        select_in_study(tmp_path, series=wanted)


def test_by_uid_and_number(tmp_path):
    uid = generate_uid()
    study(tmp_path, {}, {"SeriesInstanceUID": uid})
    assert select_in_study(tmp_path, series=uid).chosen.key == "2"
    assert select_in_study(tmp_path, series=1).chosen.key == "1"


def test_no_images_at_all(tmp_path):
    made = slices()[0]
    made.SOPClassUID = RTSTRUCT
    save(made, tmp_path / "a")
    with pytest.raises(InputError, match=r"no axial T2 stack found \(no images\)"):
        select_in_study(tmp_path)


def test_a_zipped_study(tmp_path):
    import shutil

    study(tmp_path / "in", {"SeriesDescription": "t2_sag", "orientation": SAGITTAL}, {})
    archive = shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "in")
    with opened_source(archive) as folder:
        selection = select_in_study(folder)
        assert selection.chosen.key == "2"
        assert np.array_equal(read_stack(selection.chosen).volume.array, voxels())
