"""DICOM studies through `paraspinal convert dicom`: the phantom lands as it is, and no identifier leaves."""

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import (
    AXIAL,
    PATIENT,
    RTSTRUCT,
    SAGITTAL,
    SECRETS,
    SEGMENTS,
    affine_ras,
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

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.image_io.nifti import write_image, write_labels

OBLIQUE = rotated(AXIAL, 12, (1, 0.3, 0.1))


def phantom(seed):
    """Grey values in which the muscles can be seen."""
    return (voxels(seed=seed) // 4 + 500 * (phantom_labels() > 0)).astype(np.uint16)


def write_study(
    folder, seed=0, *, orientation=OBLIQUE, seg=True, multi_frame=False, spacing=(2.5, 3.0, 8.0), **headers
):
    """A T2 stack, a sagittal one, a report and, if wanted, a SEG."""
    shared = {
        "StudyInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        **PATIENT,
        "PatientID": f"PID-4711-{seed}",
        **headers,
    }
    made = slices(phantom(seed), orientation=orientation, spacing=spacing, **shared)
    if multi_frame:
        save(enhanced(phantom(seed), orientation=orientation, spacing=spacing, **shared), folder / "a")
    else:
        save_series(made, folder / "a" / PATIENT["PatientID"])
    sagittal = {"SeriesNumber": 2, "SeriesDescription": f"T2 sag {PATIENT['PatientName']}", "orientation": SAGITTAL}
    save_series(slices(voxels((8, 8, 3)), **{**shared, **sagittal}), folder / "b")
    (folder / "report.pdf").write_text("Geheimrat")
    if seg:
        save_seg(segmentation(made, phantom_labels()), folder / "c" / "seg")
    return made


@pytest.fixture
def studies(tmp_path):
    return tmp_path / "in" / "Geheimrat export 20200614"


def read_cases(dataset):
    """Case -> row of cases.tsv."""
    head, *rows = [line.split("\t") for line in (dataset / "cases.tsv").read_text().splitlines()]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def convert(folder, *flags, source="dicom"):
    return main(["convert", source, "-i", str(folder), "-d", "601", "-np", "1", *map(str, flags)])


def written(raw, name="Dataset601_Dicom"):
    return raw / name


def all_text(folder):
    """Names and contents of all files, those of gzip files unpacked."""
    for path in sorted(folder.rglob("*")):
        yield path.name, path.relative_to(folder).as_posix().encode()
        if path.is_file():
            content = path.read_bytes()
            yield path.name, gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def in_ras(path):
    volume = read_image(path)
    array, affine = to_ras(volume.array, volume.affine)
    return np.asarray(array), affine


@pytest.mark.parametrize("multi_frame", [False, True])
def test_voxels_labels_and_people_land_and_no_identifier_does(raw, studies, multi_frame, capsys):
    write_study(studies / "Geheimrat_Adelheid_PID-4711", 0, multi_frame=multi_frame)
    write_study(studies / "second", 1, multi_frame=multi_frame)
    shutil.make_archive(str(studies / "Geheimrat_2"), "zip", studies / "second")
    shutil.rmtree(studies / "second")
    assert convert(studies, "--explain", *(["--previews"] if multi_frame else [])) == 0
    dataset = written(raw)
    cases = read_cases(dataset)
    assert sorted(cases) == ["case001", "case002"]
    seen = set()
    for name, case in cases.items():
        stored = read_image(dataset / "imagesTr" / f"{name}_0000.nii.gz")
        (seed,) = (s for s in (0, 1) if np.array_equal(stored.array, phantom(s)))
        seen.add(seed)
        np.testing.assert_allclose(stored.affine, affine_ras(OBLIQUE), atol=1e-4)
        labels = read_image(dataset / "labelsTr" / f"{name}.nii.gz")
        assert (labels.array == phantom_labels()).all()
        assert (case["sex"], case["age"], case["bmi"]) == ("F", "69", "28.1")
    assert seen == {0, 1}
    leaks = {(name, s) for name, text in all_text(raw) for s in SECRETS if s.lower().encode() in text.lower()}
    assert leaks == set()
    provenance = json.loads((dataset / "dataset.json").read_text())["provenance"]
    assert provenance["settings"]["identifiers"] == "removed"
    shown = capsys.readouterr().out
    assert "series 2 'T2 sag Geheimrat^Adelheid^von': sagittal" in shown
    assert "case001: series 5 accepted (axial, 10 slices, TE 102 ms" in shown


def test_the_same_scan_through_nifti_and_dicom_is_identical(raw, studies, tmp_path):
    write_study(studies / "a", 0)
    assert convert(studies) == 0
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    flip = np.diag([1.0, -1, 1, 1])
    flip[1, 3] = phantom(0).shape[1] - 1
    write_image(pairs / "x_img.nii.gz", phantom(0)[:, ::-1], affine_ras(OBLIQUE) @ flip)
    write_labels(pairs / "x_GT.nii.gz", phantom_labels()[:, ::-1], affine_ras(OBLIQUE) @ flip)
    assert main(["convert", "author", "-i", str(pairs), "-d", "602", "-np", "1"]) == 0
    other = raw / "Dataset602_Paraspinal"
    for part, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        ours, affine = in_ras(written(raw) / part / f"case001{ending}")
        theirs, their_affine = in_ras(other / part / f"x{ending}")
        assert (ours == theirs).all()
        np.testing.assert_allclose(affine, their_affine, atol=1e-4)


def test_identifiers_are_kept_when_asked_for(raw, studies):
    write_study(studies / "Adelheid", 0)
    assert convert(studies, "--keep-identifiers") == 0
    ((name, case),) = read_cases(written(raw)).items()
    assert (name, case["subject"]) == ("Adelheid", "PID-4711-0")
    assert "Adelheid" in (written(raw) / "cases.tsv").read_text()


def test_a_table_of_ids(raw, studies, tmp_path):
    for seed in (0, 1):
        write_study(studies / str(seed), seed)
    (tmp_path / "ids.tsv").write_text("PatientID\tsubject\nPID-4711-0\tlbp-07\nPID-4711-1\tlbp-03\n")
    assert convert(studies, "--ids", tmp_path / "ids.tsv") == 0
    assert sorted(read_cases(written(raw))) == ["lbp-03", "lbp-07"]
    assert convert(studies, "--ids", tmp_path / "ids.tsv", "--keep-identifiers") == 1


def test_two_studies_of_one_patient_are_one_subject(raw, studies):
    for seed in (0, 1):
        write_study(studies / str(seed), seed, PatientID="PID-4711-Z")
    assert convert(studies) == 0
    cases = read_cases(written(raw))
    assert {name: case["subject"] for name, case in cases.items()} == {"case001-1": "case001", "case001-2": "case001"}
    report = json.loads((written(raw) / "conversion_report.json").read_text())
    assert any("all 2 studies carry one PatientID" in note for note in report["notes"])


def test_label_maps_beside_the_studies(raw, studies):
    write_study(studies / "s1", 0, seg=False)
    write_study(studies / "s2", 1, seg=False)
    (studies / "labels").mkdir()
    coded = np.array([0, 2, 3, 1, 4, 0, 0], np.uint8)[phantom_labels()]
    for name in ("s1", "s2"):
        write_labels(studies / "labels" / f"{name}.nii.gz", coded, affine_ras(OBLIQUE))
    assert convert(studies, "--label-pattern", "labels/{case}.nii.gz", "--labels", "lpm") == 0
    labels = np.asarray(nib.load(written(raw) / "labelsTr" / "case001.nii.gz").dataobj)
    assert (labels == np.array([0, 1, 2, 3, 4, 0, 0])[phantom_labels()]).all()


def test_segments_by_number(raw, studies, tmp_path):
    made = write_study(studies / "s1", 0, seg=False)
    plain = {n: (f"Segment {n}", ("SCT", "1", "Tissue"), None) for n in SEGMENTS}
    save_seg(segmentation(made, phantom_labels(), segments=plain), studies / "s1" / "seg")
    assert convert(studies) == 1
    classes = {n: key.lower().replace(" ", "_") for n, (key, _, _) in SEGMENTS.items()}
    (tmp_path / "map.json").write_text(json.dumps({**classes, 5: "ignore", 6: "ignore"}))
    assert convert(studies, "--labels", tmp_path / "map.json") == 0
    labels = np.asarray(nib.load(written(raw) / "labelsTr" / "case001.nii.gz").dataobj)
    assert (labels == np.where(phantom_labels() > 4, 0, phantom_labels())).all()


def test_series_and_segmentation_are_asked_for(raw, studies, capsys):
    made = write_study(studies / "s1", 0)
    seg = segmentation(made, phantom_labels())
    seg.SeriesNumber, seg.SeriesInstanceUID, seg.SeriesDescription = 101, generate_uid(), "second"
    seg.SOPInstanceUID = generate_uid()
    save_seg(seg, studies / "s1" / "seg2")
    assert convert(studies) == 1
    assert "holds 2 DICOM SEG (series 100 'muscles', series 101 'second'); choose with" in capsys.readouterr().out
    assert convert(studies, "--segmentation", "second", "--series", "2") == 1
    assert "slices are sagittal" in capsys.readouterr().out
    assert convert(studies, "--segmentation", "101", "--series", "t2_tse_tra") == 0


@pytest.mark.parametrize("zipped", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_second_rater(raw, studies, zipped):
    made = write_study(studies / "s1", 0)
    wider = phantom_labels()
    wider[9:12, 16, 3] = 1
    seg = segmentation(made, wider)
    seg.SeriesNumber, seg.SeriesInstanceUID, seg.SeriesDescription = 101, generate_uid(), "reader B"
    save_seg(seg, studies / "s1" / "seg2")
    if zipped:
        shutil.make_archive(str(studies / "s1"), "zip", studies / "s1")
        shutil.rmtree(studies / "s1")
    assert convert(studies, "--rater2", "--rater2-segmentation", "reader B") == 0
    for part, drawn in (("labelsTr", phantom_labels()), ("labels_rater2", wider)):
        assert (read_image(written(raw) / part / "case001.nii.gz").array == drawn).all()


def test_the_series_that_the_seg_was_drawn_on_is_taken(raw, studies, capsys):
    """A finer scan of the same slices would win by the rules; but the labels are the coarser one's."""
    made = write_study(studies / "s1", 0)
    shared = {k: made[0].get(k) for k in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID")}
    finer = slices(phantom(1), orientation=OBLIQUE, spacing=(1.5, 1.5, 8.0), SeriesNumber=6, **shared)
    save_series(finer, studies / "s1" / "finer")
    assert convert(studies, "--explain") == 0
    assert (read_image(written(raw) / "imagesTr" / "case001_0000.nii.gz").array == phantom(0)).all()
    out = capsys.readouterr().out
    assert "series 6 't2_tse_tra': not the series that the DICOM SEG was drawn on" in out
    assert "; the DICOM SEG was drawn on it" in out
    assert "the only one that fits" not in out


def _contours(folder):
    (folder / "c" / "seg").unlink()
    made = slices()[0]
    made.SOPClassUID, made.SeriesInstanceUID, made.SeriesNumber = RTSTRUCT, generate_uid(), 200
    save(made, folder / "c" / "rt")


FAULTS = {
    "no seg": (lambda f: (f / "c" / "seg").unlink(), "holds no DICOM SEG; add one"),
    "contours": (_contours, r"holds no DICOM SEG; export its contours \(RTSTRUCT\)"),
    "other study": (lambda f: save_series(slices(SeriesNumber=9), f / "d"), "holds 2 studies"),
    "no axial": (lambda f: shutil.rmtree(f / "a"), "no axial T2 stack found"),
    "another frame": (
        lambda f: save_seg(segmentation(slices(), phantom_labels()), f / "c" / "seg"),
        "frame of reference",
    ),
    "truncated": (
        lambda f: [p.write_bytes(p.read_bytes()[:-50]) for p in (f / "a").rglob("IM0003")],
        "IM0003: voxels are damaged",
    ),
}

QUICK = ("no axial", "another frame")


@pytest.mark.parametrize("fault", [pytest.param(f, marks=[pytest.mark.slow] * (f not in QUICK)) for f in FAULTS])
def test_refusals_name_the_study_on_screen_and_nothing_on_disk(raw, studies, fault, capsys, tmp_path):
    import re

    spoil, message = FAULTS[fault]
    write_study(studies / "Geheimrat_Adelheid", 0)
    write_study(studies / "fine", 1)
    spoil(studies / "Geheimrat_Adelheid")
    assert convert(studies, "--skip-refused", "--report", tmp_path / "out" / "report.json") == 1
    shown = capsys.readouterr()
    assert re.search(message, shown.out), shown.out
    assert len(read_cases(written(raw))) == 1
    for folder in (raw, tmp_path / "out"):
        leaks = {(name, s) for name, text in all_text(folder) for s in SECRETS if s.lower().encode() in text.lower()}
        assert leaks == set()


def test_input_without_studies(raw, studies, capsys):
    save_series(slices(), studies)
    assert convert(studies) == 1
    assert "holds no folder or zip archive with DICOM files" in capsys.readouterr().err


def test_without_pydicom_the_extra_is_named(raw, studies, monkeypatch, capsys):
    import sys

    write_study(studies / "a", 0)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert convert(studies) == 1
    assert "pip install 'paraspinal-nnunet[dicom]'" in capsys.readouterr().err


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_names_within_a_refused_study_stay_off_the_disk(raw, studies, tmp_path, packed, capsys):
    """A repeated slice, and a file cut short: both are told of by names that the patient's own headers do not hold."""
    write_study(studies / "good", 1)
    first = write_study(studies / "repeated", 2)[0]
    first.SOPInstanceUID = generate_uid()
    save(first, studies / "repeated" / "a" / "Maiden-Oberhuber" / "again")
    write_study(studies / "damaged", 3)
    for file in list((studies / "damaged" / "a").rglob("IM*")):
        (folder := studies / "damaged" / "Maiden-Oberhuber").mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes()[:600])
    if packed:
        for name in ("repeated", "damaged"):
            shutil.make_archive(str(studies / name), "zip", studies / name)
            shutil.rmtree(studies / name)
    report = tmp_path / "report.json"
    assert convert(studies, "--skip-refused", "--report", report) == 1
    assert capsys.readouterr().out.count("Maiden-Oberhuber") == 2
    assert len(json.loads(report.read_text())["refused"]) == 2
    on_disk = [*all_text(raw), (report.name, report.read_bytes())]
    assert [name for name, content in on_disk if b"Oberhuber" in content] == []


def test_an_empty_archive_is_named_and_not_where_it_was_unpacked(raw, studies, capsys):
    write_study(studies / "good", 1)
    (studies / "empty").mkdir()
    shutil.make_archive(str(studies / "empty"), "zip", studies / "empty")
    (studies / "empty").rmdir()
    assert convert(studies) == 1
    line = capsys.readouterr().err
    assert f"{studies / 'empty.zip'}: holds no DICOM file (0 other files not used)" in line


def test_a_fault_within_a_case_names_the_study_on_the_terminal_alone(raw, studies, tmp_path, capsys):
    """Pseudonyms do not tell which folder is meant."""
    write_study(studies / "cut", 1)
    for file in (studies / "cut" / "a").rglob("IM*"):
        file.write_bytes(file.read_bytes()[:-100])
    report = tmp_path / "report.json"
    assert convert(studies, "--report", report) == 1
    err = capsys.readouterr().err
    assert f"error: {studies / 'cut'}: a/PID-4711-Z/IM" in err
    assert "voxels are damaged or incomplete" in err
    assert "IM0" not in report.read_text()


def test_a_second_rater_who_is_nowhere_is_told_by_study(raw, studies, capsys):
    write_study(studies / "one", 1)
    assert convert(studies, "--rater2", "--rater2-segmentation", "77") == 1
    assert "--rater2-segmentation '77': fits none of series 100" in capsys.readouterr().err
