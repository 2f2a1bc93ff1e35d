"""What `paraspinal predict` takes: files of all formats, BIDS data sets and DICOM studies, told apart by content."""

import gzip
import json
import shutil
import zipfile

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.tiny_portable import AFFINE, BOX_ML, boxes, painted, write_tiny_model

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.nifti import write_image, write_labels
from paraspinal_nnunet.inference.inputs import InputChoice, find_scans, kind_of


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def predict(scans, output, model, *flags):
    base = ["predict", "-i", str(scans), "-o", str(output), "-m", str(model), "--runtime", "onnxruntime"]
    return main([*base, "--threads", "1", *map(str, flags)])


MASKS_ALONE = ("--no-measures", "--no-pages")


def in_micrometres(path):
    """The same grid, counted in micrometres."""
    affine = np.diag([1000.0, 1000, 1000, 1]) @ AFFINE
    image = nib.Nifti1Image(painted(boxes()), affine)
    image.header.set_xyzt_units("micron")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)


def as_metaimage(path):
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    image = sitk.GetImageFromArray(painted(boxes()).transpose(2, 1, 0))
    image.SetSpacing((1, 1, 4))
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / (1, 1, 4)).ravel().tolist())
    sitk.WriteImage(image, str(path))


def test_files_of_all_kinds_give_masks_on_their_own_grids(model, tmp_path, caplog):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    write_image(scans / "plain_0000.nii.gz", painted(boxes()), AFFINE)
    in_micrometres(scans / "microns.nii.gz")
    (scans / "zipped.nii").write_bytes((scans / "plain_0000.nii.gz").read_bytes())
    (scans / "unzipped.nii.gz").write_bytes(gzip.decompress((scans / "plain_0000.nii.gz").read_bytes()))
    for ending in (".mha", ".nrrd"):
        as_metaimage(scans / f"slicer{ending[1:]}{ending}")
    (scans / "notes.txt").write_text("no scan")
    assert predict(scans, out, model, *MASKS_ALONE) == 0
    names = ("microns", "plain", "slicermha", "slicernrrd", "unzipped", "zipped")
    assert sorted(p.name for p in out.glob("*.nii.gz")) == [f"{name}.nii.gz" for name in names]
    for name in names:
        mask = read_labels(out / f"{name}.nii.gz")
        np.testing.assert_array_equal(mask.array, boxes(), err_msg=name)
        np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-4, err_msg=name)
    assert "microns: header counts in micrometres" in caplog.text
    record = json.loads((out / "records" / "microns.json").read_text())
    assert record["input"]["remarks"] == ["header counts in micrometres"]
    assert record["input"]["spacing_mm"] == [1.0, 1.0, 4.0]


def test_kinds_are_told_by_content(tmp_path):
    write_image(tmp_path / "scan.nii.gz", painted(boxes()), AFFINE)
    (tmp_path / "image").write_bytes(b"\0" * 128 + b"DICM")
    with zipfile.ZipFile(tmp_path / "study", "w") as archive:
        archive.writestr("IM1", "x")
    found = {name: kind_of(tmp_path / name) for name in ("scan.nii.gz", "image", "study")}
    assert found == {"scan.nii.gz": "image", "image": "DICOM", "study": "DICOM"}
    for choice in (InputChoice(series="5"), InputChoice(entities={"ses": "a"})):
        with pytest.raises(InputError, match=r"leave --(series|entity) out"):
            find_scans(tmp_path / "scan.nii.gz", choice)
    (tmp_path / "bids" / "sub-1" / "ses-1" / "anat").mkdir(parents=True)
    assert kind_of(tmp_path / "bids") == "BIDS"
    assert kind_of(tmp_path) == "images"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no image .*DICOM or a BIDS data set"):
        find_scans(tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("")
    pytest.importorskip("pydicom")
    with pytest.raises(InputError, match="holds no image"):
        find_scans(tmp_path / "empty")


@pytest.fixture
def bids(tmp_path):
    folder = tmp_path / "bids"
    for subject, session, suffix in (("01", "a", "T2w"), ("01", "b", "T2w"), ("02", "a", "T2w"), ("02", "a", "T1w")):
        place = folder / f"sub-{subject}" / f"ses-{session}" / "anat"
        place.mkdir(parents=True, exist_ok=True)
        write_image(place / f"sub-{subject}_ses-{session}_{suffix}.nii.gz", painted(boxes()), AFFINE)
    return folder


def test_bids_images_are_chosen_by_entities(bids, model, tmp_path, caplog):
    out = tmp_path / "out"
    assert predict(bids, out, model, *MASKS_ALONE, "--entity", "ses-a") == 0
    assert "input: a BIDS data set with 2 T2w images of 2 subjects" in caplog.text
    names = [f"sub-{subject}_ses-a_space-orig_desc-paraspinal_dseg.nii.gz" for subject in ("01", "02")]
    assert sorted(p.name for p in out.rglob("*.nii.gz")) == names
    assert [scan.name for scan in find_scans(bids).scans] == ["sub-01_ses-a", "sub-01_ses-b", "sub-02_ses-a"]
    assert [scan.name for scan in find_scans(bids, InputChoice(suffix="T1w")).scans] == ["sub-02_ses-a"]
    assert predict(bids, out, model, "--suffix", "PDw") == 1
    for flags in (("--entity", "ses"), ("--entity", "ses-")):
        with pytest.raises(SystemExit):
            predict(bids, out, model, *flags)


@pytest.fixture
def studies(tmp_path):
    """One study as a folder of series folders, one of another patient as a zip archive."""
    pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    from helpers import dicom_files as makers

    folder = tmp_path / "studies"
    columns_rows = painted(boxes())[::-1, ::-1]  # RAS as an axial DICOM stores it: LPS
    spacing, origin = (1.0, 1.0, 4.0), tuple(np.diag([-1.0, -1, 1]) @ (AFFINE @ [23, 19, 0, 1])[:3])
    place = {"spacing": spacing, "origin": origin}
    makers.save_series(makers.slices(columns_rows.astype(np.uint16), **place), folder / "Geheimrat" / "axial")
    sagittal = makers.slices(orientation=makers.SAGITTAL, SeriesNumber=7, SeriesInstanceUID=makers.generate_uid())
    makers.save_series(sagittal, folder / "Geheimrat" / "sagittal")
    other = {
        "PatientID": "OTHER", "StudyInstanceUID": makers.generate_uid(), "SeriesInstanceUID": makers.generate_uid(),
        "FrameOfReferenceUID": makers.generate_uid(),
    }  # fmt: skip
    files = makers.save_series(makers.slices(columns_rows.astype(np.uint16), **place, **other), tmp_path / "zipped")
    with zipfile.ZipFile(folder / "second.zip", "w") as archive:
        for file in files:
            archive.write(file, f"DICOM/{file.name}")
    return folder


@pytest.mark.slow
def test_dicom_studies_from_files_to_seg_page_and_measures(studies, model, tmp_path, caplog):
    import pydicom
    from helpers import dicom_files as makers

    from paraspinal_nnunet.dicom import opened_source, read_grid, read_segmentation, scan_study, select_in_study

    out = tmp_path / "out"
    assert predict(studies, out, model) == 0
    assert "input: DICOM, 2 studies" in caplog.text
    assert "series 5 accepted (axial, 10 slices" in caplog.text
    assert caplog.text.count("rejected") == 2
    cases = sorted(p.name.removesuffix(".nii.gz") for p in out.glob("*.nii.gz"))
    assert len(cases) == 2
    assert all(case.startswith("case-") for case in cases)
    for case in cases:
        mask = read_labels(out / f"{case}.nii.gz")
        np.testing.assert_array_equal(mask.array[::-1, ::-1], boxes())
        np.testing.assert_allclose(mask.affine @ [23, 19, 0, 1], AFFINE @ [0, 0, 0, 1], atol=1e-4)
        assert "Multifidus" in (out / "pages" / f"{case}.html").read_text()
        assert (out / "measures" / case / "measures.tsv").is_file()
        seg, report, page = (pydicom.dcmread(out / f"{case}_{name}.dcm") for name in ("seg", "report", "page"))
        assert [s.SegmentLabel for s in seg.SegmentSequence][:2] == ["Multifidus right", "Multifidus left"]
        volumes = [
            float(item.MeasuredValueSequence[0].NumericValue)
            for group in report.ContentSequence[-1].ContentSequence
            for item in group.ContentSequence
            if item.ConceptNameCodeSequence[0].CodeMeaning == "Volume"
        ]
        assert volumes == pytest.approx([BOX_ML] * 6)
        assert page.StudyInstanceUID == report.StudyInstanceUID == seg.StudyInstanceUID
        assert not (out / f"{case}_rtstruct.dcm").exists()
    sifted = select_in_study(studies / "Geheimrat")
    names = {s.name: s for s in find_scans(studies / "Geheimrat").scans}
    (case,) = names
    assert case in cases  # the same name when the study is given alone
    (seg,) = scan_study(out / f"{case}_seg.dcm").series
    with opened_source(studies / "Geheimrat"):
        back = read_segmentation(seg, read_grid(sifted.chosen))
    np.testing.assert_array_equal(back.array, read_labels(out / f"{case}.nii.gz").array)
    for file in (p for p in out.rglob("*") if p.is_file() and p.suffix != ".dcm"):
        assert not any(secret in str(file.relative_to(out)) for secret in makers.SECRETS)
        content = file.read_bytes()
        assert not any(secret.encode() in content for secret in makers.SECRETS), file


def test_a_file_that_ends_its_decoder_costs_its_own_study_alone(studies, model, tmp_path, capsys, monkeypatch):
    import pydicom
    from pydicom.uid import RLELossless

    from paraspinal_nnunet.dicom import voxels
    from paraspinal_nnunet.utils.processes.child import Child

    shutil.rmtree(studies / "Geheimrat" / "sagittal")
    with zipfile.ZipFile(studies / "second.zip") as archive:
        archive.extractall(studies)
    (studies / "second.zip").unlink()
    for path in [*studies.rglob("*")]:
        if path.is_file():
            packed = pydicom.dcmread(path)
            packed.compress(RLELossless)
            packed.save_as(path.with_name(f"{'fatal' if path.parent.name == 'DICOM' else 'sound'}_{path.name}"))
            path.unlink()
    monkeypatch.setattr(voxels, "DECODER", Child("helpers.fragile", "decode"))
    out = tmp_path / "out"
    assert predict(studies, out, model, "--no-pages", "--no-measures", "--dicom") == 1
    (mask,) = out.glob("*.nii.gz")
    np.testing.assert_array_equal(read_labels(mask).array[::-1, ::-1], boxes())
    said = capsys.readouterr().err
    assert "1 of 2 scans failed" in said
    assert "voxels are damaged (the process that read it was killed (SIGSEGV)); copy the file again" in said
    voxels.DECODER.end()


def test_dicom_names_and_facts_of_patients_only_where_asked_for(studies, model, tmp_path):
    out = tmp_path / "out"
    flags = ("--keep-identifiers", "--with-patient-facts", "--no-seg", "--no-measures")
    assert predict(studies, out, model, *flags) == 0
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["Geheimrat.nii.gz", "second.nii.gz"]
    page = (out / "pages" / "Geheimrat.html").read_text()
    assert all(fact in page for fact in ("Geheimrat Adelheid von", "PID-4711-Z", "1950-06-15", "69 years"))
    assert "Adelheid" not in (out / "index.html").read_text()
    assert not list(out.glob("*.dcm"))
    assert predict(studies, out, model, *(f for f in flags if f != "--with-patient-facts")) == 0
    assert "Adelheid" not in (out / "pages" / "Geheimrat.html").read_text()


def test_the_series_may_be_asked_for_and_one_bad_study_stops_no_other(studies, model, tmp_path, caplog, capsys):
    found = find_scans(studies / "Geheimrat", InputChoice(series="7", explain=True))
    assert [scan.source for scan in found.scans] == ["DICOM series 7"]
    assert any("asked for" in note for note in found.notes)
    assert found.scans[0].name != find_scans(studies / "Geheimrat").scans[0].name
    (studies / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    shutil.copytree(studies / "Geheimrat" / "axial", studies / "cut")
    cut = sorted((studies / "cut").iterdir())[0]
    cut.write_bytes(cut.read_bytes()[:400])
    out = tmp_path / "out"
    assert predict(studies, out, model, "--no-seg", "--no-measures") == 1
    assert len(list(out.glob("*.nii.gz"))) == 2
    error = capsys.readouterr().err
    assert "of 4 scans failed" in error
    assert "broken.zip" in error
    index = (out / "index.html").read_text()
    assert "2 without a result" in index
    assert "broken" not in index


def test_a_scan_that_does_not_cover_a_muscle_gives_dicom_objects_that_say_so(studies, model, tmp_path, caplog):
    import pydicom

    out, study = tmp_path / "out", studies / "Geheimrat" / "axial"
    flags = ("--no-pages", "--no-measures", "--dicom", "seg", "contours")
    assert predict(study, out, model, *flags) == 0
    (mask,) = out.glob("*.nii.gz")
    case = mask.name.removesuffix(".nii.gz")
    seg = pydicom.dcmread(out / f"{case}_seg.dcm")
    labels = read_labels(mask)
    for kept, description in (((1, 2, 3, 4, 5), "INCOMPLETE, without psoas major left"), ((), "")):
        write_labels(mask, np.where(np.isin(labels.array, kept), labels.array, 0), labels.affine)
        assert predict(study, out, model, *flags) == (0 if kept else 1)
        if kept:
            incomplete = pydicom.dcmread(out / f"{case}_seg.dcm")
            assert incomplete.ContentDescription == description
            assert incomplete.SOPInstanceUID != seg.SOPInstanceUID
            assert f"{case}: no voxel of psoas major left; its DICOM objects say so" in caplog.text
    assert "no voxel of any muscle; look at the scan, or give --allow-empty" in caplog.text
    assert predict(study, out, model, *flags, "--allow-empty") == 0
    assert pydicom.dcmread(out / f"{case}_seg.dcm").ContentDescription.startswith("EMPTY")


def test_which_dicom_objects_are_written(studies, model, tmp_path, capsys):
    study = studies / "Geheimrat" / "axial"
    for number, (flags, names) in enumerate({
        ("--dicom",): set(), ("--no-seg",): set(), ("--dicom", "page", "contours"): {"page", "rtstruct"},
        ("--dicom", "seg", "report", "--no-measures"): {"seg"},
    }.items()):  # fmt: skip
        out = tmp_path / str(number)
        assert predict(study, out, model, "--no-pages", *flags) == 0
        assert {p.stem.rpartition("_")[2] for p in out.glob("*.dcm")} == names
    assert predict(study, tmp_path / "none", model, "--dicom", "report") == 1
    assert "a DICOM report refers to the DICOM SEG; ask for seg, too" in capsys.readouterr().err
