"""A clean little data set has nothing to remark; each fault put into it is found, with numbers counted by hand."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.quality_control import Severity, inspect_dataset
from paraspinal_nnunet.quality_control.checks import duplicates
from paraspinal_nnunet.quality_control.checks.duplicates import mirrored_correlations
from paraspinal_nnunet.quality_control.checks.outliers import modified_z, outliers
from paraspinal_nnunet.quality_control.checks.splits import check_dataset_splits, dealing_z
from paraspinal_nnunet.quality_control.checks.volumes import asymmetry_percent, paper_reference
from paraspinal_nnunet.quality_control.classes import LabelClass, classes_of, side_pairs_of
from paraspinal_nnunet.quality_control.dataset import describe_dataset
from paraspinal_nnunet.quality_control.findings import Finding, worst_first

PROBLEM, LOOK, NOTE = Severity.PROBLEM, Severity.LOOK, Severity.NOTE
CASES = [f"case-{n}" for n in range(8)]
SHAPE, SPACING = (60, 48, 10), (3.0, 3.0, 8.0)  # 0.072 ml a voxel
BOXES = {  # label: x, y and size in both; right lies at large x
    1: (31, 6, 10, 10),
    2: (19, 6, 10, 10),
    3: (42, 6, 14, 12),
    4: (4, 6, 14, 12),
    5: (38, 26, 8, 8),
    6: (14, 26, 8, 8),
}


def muscles(shift):
    labels = np.zeros(SHAPE, np.uint8)
    for label, (x, y, width, depth) in BOXES.items():
        labels[x : x + width, y + shift : y + shift + depth, 1:9] = label
    return labels


def scan(seed):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), (1.5, 1.5, 0.7))
    return (400 + 100 * noise / noise.std()).clip(1).astype(np.int16)


def affine(spacing=SPACING):
    return np.diag([*spacing, 1.0])


def save(path, array, grid=None):
    nib.save(nib.Nifti1Image(array, affine() if grid is None else grid), path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    folder = root / "raw" / "Dataset501_Small"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for n, case in enumerate(CASES):
        save(folder / "imagesTr" / f"{case}_0000.nii.gz", scan(n))
        save(folder / "labelsTr" / f"{case}.nii.gz", muscles(n))
    dataset = {
        "channel_names": {"0": "T2"},
        "labels": {"background": 0, **{s.key: s.label for s in PARASPINAL}},
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
    }
    (folder / "dataset.json").write_text(json.dumps(dataset))
    people = [f"{case}\tperson-{n}\t{'FM'[n % 2]}\t{40 + n}\tn/a\t\t" for n, case in enumerate(CASES)]
    (folder / "cases.tsv").write_text("\n".join(["case\tsubject\tsex\tage\tbmi\tsource\tlabel_source", *people]) + "\n")
    (root / "preprocessed" / folder.name).mkdir(parents=True)
    splits = [{"train": CASES[:4], "val": CASES[4:]}, {"train": CASES[4:], "val": CASES[:4]}]
    (root / "preprocessed" / folder.name / "splits_final.json").write_text(json.dumps(splits))
    return root


class Small:
    """A copy of the clean data set, to be spoilt."""

    def __init__(self, root):
        self.folder = root / "raw" / "Dataset501_Small"
        self.preprocessed = root / "preprocessed"
        self.splits = self.preprocessed / self.folder.name / "splits_final.json"

    def image(self, case):
        return self.folder / "imagesTr" / f"{CASES[case]}_0000.nii.gz"

    def labels(self, case):
        return self.folder / "labelsTr" / f"{CASES[case]}.nii.gz"

    def edit_labels(self, case, change):
        array = muscles(case)
        change(array)
        save(self.labels(case), array)

    def edit_json(self, **entries):
        path = self.folder / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    def one_person(self, *cases):
        path = self.folder / "cases.tsv"
        lines = path.read_text()
        for case in cases:
            lines = lines.replace(f"\tperson-{case}\t", f"\tperson-{cases[0]}\t")
        path.write_text(lines)

    def inspect(self):
        return inspect_dataset(self.folder, preprocessed=self.preprocessed)

    def of_splits(self):
        return check_dataset_splits(describe_dataset(self.folder), preprocessed=self.preprocessed).findings

    def found(self, kind):
        return [f for f in self.inspect().findings if f.kind == kind]


@pytest.fixture
def small(clean, tmp_path):
    shutil.copytree(clean, tmp_path / "small")
    return Small(tmp_path / "small")


def test_the_clean_set_has_nothing_to_look_at(clean):
    inspection = Small(clean).inspect()
    assert [f.text for f in inspection.findings] == [
        "8 of 8 cases have slices without labels below or above the labelled ones (median 2, most 2); a network "
        "learns all of these as background"
    ]
    assert inspection.problems == 0


def test_measures_of_a_case(clean):
    facts = Small(clean).inspect().cases[2]
    assert (facts.case, facts.subject, facts.stored_axes) == ("case-2", "person-2", "RAS")
    assert (facts.shape, facts.spacing_mm, facts.obliquity_deg) == (SHAPE, SPACING, 0)
    image = scan(2)
    channel = facts.channels[0]
    assert (channel.minimum, channel.maximum, channel.number_type) == (image.min(), image.max(), "int16")
    assert channel.mean == pytest.approx(image.mean())
    assert channel.percentiles[50] == np.median(image)
    own = facts.labels.classes[1]  # 10 x 10 x 8 voxels of 0.072 ml, over 8 slices of 8 mm
    assert (own.voxels, own.first_slice, own.last_slice, own.length_mm) == (800, 2, 9, 64)
    assert own.volume_ml == pytest.approx(57.6)
    assert own.area_cm2 == pytest.approx(9.0)
    assert own.x_mm == pytest.approx(3 * 35.5)
    assert (own.islands, own.border_voxels, own.gaps) == (0, 0, ())
    assert facts.labels.empty_outside == (1, 1)


def test_measures_do_not_depend_on_the_stored_orientation(small):
    """Stored with the first axis to the back and the second to the patient's left."""
    before = small.inspect().cases[5]
    turned = np.array([[0, -3.0, 0, 3 * 59], [-3.0, 0, 0, 3 * 47], [0, 0, 8.0, 0], [0, 0, 0, 1]])
    for path, array in ((small.image(5), scan(5)), (small.labels(5), muscles(5))):
        save(path, array[::-1, ::-1].transpose(1, 0, 2).copy(), turned)
    after = small.inspect().cases[5]
    assert after.stored_axes == "PLS"
    assert (after.shape, after.spacing_mm) == (before.shape, before.spacing_mm)
    assert after.channels[0].sha256 == before.channels[0].sha256
    assert after.channels[0].percentiles == before.channels[0].percentiles
    assert after.labels.classes == before.labels.classes
    assert after.labels.swapped_slices == {}


def swap_sides(array):
    array[:] = np.array([0, 2, 1, 4, 3, 6, 5], np.uint8)[array]


def swap_in_one_slice(array):
    array[:, :, 3] = np.array([0, 2, 1, 3, 4, 5, 6], np.uint8)[array[:, :, 3]]


def set_to(value, *index):
    def change(array):
        array[index] = value

    return change


def relabel(old, new):
    def change(array):
        array[array == old] = new

    return change


ALL = slice(None)


@pytest.mark.parametrize(
    ("change", "kind", "severity", "text"),
    [
        (swap_sides, "sides", PROBLEM, "Multifidus: right at x = 70.5 mm, left at x = 106.5 mm"),
        (swap_in_one_slice, "sides", PROBLEM, "Multifidus: right lies to the left of left in slice 4"),
        (set_to(0, ALL, ALL, 4), "gap", PROBLEM, "no label at all in slice 5, within the labelled 2-9"),
        (set_to(0, slice(31, 41), slice(0, 20), slice(3, 5)), "gap", LOOK, "Multifidus right is missing in slices 4-5"),
        (set_to(1, 2, 40, 4), "islands", NOTE, "Multifidus right has 1 island beside its largest part (1 voxel,"),
        (set_to(1, slice(2, 4), slice(40, 42), slice(4, 6)), "islands", LOOK, "(8 voxels, 0.58 ml)"),
        (
            set_to(3, slice(56, 60), 10, 4),
            "border",
            LOOK,
            "Erector spinae right is cut off by the border of the image (1 voxel",
        ),
        (relabel(6, 9), "values", PROBLEM, "does not know: 9 (512 voxels)"),
        (relabel(6, 0), "empty", LOOK, "no voxel is Psoas major left"),
        (set_to(0, ALL), "empty", PROBLEM, "the label map is empty"),
        (
            set_to(5, slice(36, 58), slice(20, 46), ALL),
            "paper-volume",
            LOOK,
            "Psoas major right is 411.8 ml over 80 mm",
        ),
        (
            set_to(1, slice(29, 42), slice(4, 30), slice(1, 9)),
            "volume",
            LOOK,
            "Multifidus right is 194.7 ml over 64 mm",
        ),
        (set_to(1, slice(29, 42), slice(4, 30), slice(1, 9)), "asymmetry", LOOK, "differ by +109 % of their mean"),
        (set_to(0, ALL, ALL, slice(0, 6)), "coverage", LOOK, "number of slices without labels below and above is 7"),
    ],
)
def test_faults_of_labels(small, change, kind, severity, text):
    small.edit_labels(3, change)
    found = [f for f in small.found(kind) if f.case == "case-3"]
    assert any(f.severity is severity and text in f.text for f in found), found


def test_a_side_without_partner_is_held_against_the_other_muscles(small):
    """Multifidus right is centred at x = 106.5 mm and erector spinae left at 31.5 mm; exchanged, they contradict."""

    def keep(first, second):
        def change(array):
            array[:] = np.select([array == first, array == second], [1, 4], 0)

        return change

    small.edit_labels(0, keep(1, 4))
    assert [f for f in small.inspect().of_case(CASES[0]) if f.kind == "sides"] == []
    small.edit_labels(0, keep(4, 1))
    (found,) = (f for f in small.inspect().of_case(CASES[0]) if f.kind == "sides")
    assert found.severity is PROBLEM
    assert "Multifidus right at x = 31.5 mm, left of other muscles at x = 106.5 mm" in found.text


def test_labels_on_another_grid(small):
    save(small.labels(1), muscles(1), affine((3.0, 3.0, 7.0)))
    (found,) = small.found("grid")
    assert (found.severity, found.case) == (PROBLEM, "case-1")
    assert "spacing 3 x 3 x 7 against 3 x 3 x 8 mm" in found.text


def test_damaged_file(small):
    small.image(1).write_bytes(small.image(1).read_bytes()[:500])
    (found,) = small.found("unreadable")
    assert (found.severity, found.case) == (PROBLEM, "case-1")


def resized(array, grid=None):
    return lambda small: save(small.image(3), array, grid)


def tilted(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    grid = affine()
    grid[1:3, 1:3] = np.array([[c, -s], [s, c]]) @ grid[1:3, 1:3]
    return grid


@pytest.mark.parametrize(
    ("change", "kind", "severity", "text"),
    [
        (resized(scan(3), affine((4.0, 3.0, 8.0))), "spacing", LOOK, "voxel size to the right is 4 mm, the median 3"),
        (resized(scan(3), affine((4.0, 3.0, 8.0))), "shape", LOOK, "right to left is 240 mm, the median 180"),
        (resized(scan(3)[:, :, :6]), "shape", LOOK, "field of view, head to feet is 48 mm"),
        (resized(scan(3), tilted(20)), "orientation", LOOK, "obliquity is 20 degrees, the median 0"),
        (resized((scan(3) * 9).astype(np.int16)), "intensity", LOOK, "mean intensity is 36"),
        (resized((scan(3) * (scan(3) > 400)).astype(np.int16)), "intensity", LOOK, "share of zeros is 0.4"),
        (resized(np.full(SHAPE, 7, np.int16)), "intensity", PROBLEM, "all voxels are 7"),
        (resized(scan(3), affine((0.003, 0.003, 0.008))), "geometry", PROBLEM, "impossible"),
    ],
)
def test_faults_of_images(small, change, kind, severity, text):
    change(small)
    found = [f for f in small.found(kind) if f.case == "case-3"]
    assert any(f.severity is severity and text in f.text for f in found), small.inspect().findings


def test_a_rare_number_type_is_noted(small):
    folder = small.folder
    for n in range(8, 12):
        save(folder / "imagesTr" / f"case-{n}_0000.nii.gz", scan(n).astype(np.float32 if n == 8 else np.int16))
        save(folder / "labelsTr" / f"case-{n}.nii.gz", muscles(n - 8))
    (found,) = small.found("number-type")
    assert (found.case, found.text) == ("case-8", "stored as float32, most cases as int16")


SHADE = np.linspace(0.6, 1.4, SHAPE[0])[:, None, None]


@pytest.mark.parametrize(
    ("copy", "kind", "text"),
    [
        (scan(2), "duplicate", "the same voxels"),
        (scan(2)[::-1].copy(), "duplicate", "share 10 of 10 slices, mirrored or not"),
        (np.concatenate([scan(9)[:, :, :4], scan(2)[:, :, 4:]], axis=2), "duplicate", "share 6 of 10 slices"),
        ((scan(2) * 3.3 + 50).astype(np.int16), "near-duplicate", "correlates by 1.00"),
        ((scan(2) * SHADE).astype(np.int16)[::-1].copy(), "near-duplicate", "rescaled, resampled or mirrored"),
    ],
)
def test_copies_across_subjects_are_problems_and_within_one_notes(small, copy, kind, text):
    save(small.image(6), copy)
    found = [f for f in small.inspect().findings if "duplicate" in f.kind]
    assert [(f.kind, f.severity, f.case) for f in found] == [(kind, PROBLEM, "case-2, case-6")]
    assert text in found[0].text
    small.one_person(2, 6)
    (again,) = [f for f in small.inspect().findings if "duplicate" in f.kind]
    assert (again.severity, again.text.endswith("; of subject person-2 alone")) == (NOTE, True)


def test_many_copies_make_one_finding(small):
    for case in (4, 5, 6):
        save(small.image(case), scan(2))
    save(small.image(0), (scan(2) * 2).astype(np.int16))
    found = [f for f in small.inspect().findings if "duplicate" in f.kind]
    assert [(f.kind, f.case) for f in found] == [
        ("duplicate", "case-2, case-4, case-5, case-6"),
        ("near-duplicate", "case-0, case-2, case-4, case-5, case-6"),
    ]
    assert found[0].text == "images hold the same voxels; 4 cases of subjects person-2, person-4, person-5, person-6"


def test_a_copy_in_another_orientation(small):
    save(small.image(6), scan(2)[::-1].copy(), np.diag([-3.0, 3, 8, 1]) + np.eye(4, k=3) * 3 * 59)
    (found,) = small.found("duplicate")
    assert "the same voxels" in found.text


def test_equal_label_maps_of_two_subjects(small):
    shutil.copy(small.labels(1), small.labels(2))
    (found,) = small.found("same-labels")
    assert (found.severity, found.case) == (PROBLEM, "case-1, case-2")


def test_when_most_cases_are_off_the_paper_it_is_said_once(small):
    for case in range(8):
        small.edit_labels(case, set_to(0, slice(31, 36), ALL, ALL))  # half of multifidus right: 28.8 ml
    (found,) = small.found("paper-volume")
    assert (found.severity, found.case) == (LOOK, "")
    assert "8 of 8 cases lie beyond 3 SD of the paper's 119.9 (SD 25.7) ml" in found.text


@pytest.mark.parametrize(
    ("entries", "severity", "text"),
    [
        ({"numTraining": 5}, PROBLEM, "numTraining is 5, but 8 cases have images"),
        ({"channel_names": {"1": "T2"}}, PROBLEM, "channel_names must be numbered"),
        ({"channel_names": {"0": "T2", "1": "PD"}}, PROBLEM, "has 1 image file for 2 channels"),
        ({"labels": {"background": 0, "multifidus_right": 1, "x": 3}}, PROBLEM, "0, 1, 3 are not consecutive"),
        ({"labels": {"0": "background"}}, PROBLEM, "is it in the old form"),
        ({"labels": {"background": 1, "x": 0}}, PROBLEM, "labels give background the value 1"),
        ({"labels": {"background": 0, "ignore": 1, "x": 2}}, PROBLEM, "'ignore' has the value 1"),
        ({"overwrite_image_reader_writer": "SimpleITKIO"}, LOOK, "the reader is SimpleITKIO"),
    ],
)
def test_faults_of_dataset_json(small, entries, severity, text):
    small.edit_json(**entries)
    found = describe_dataset(small.folder).findings
    assert any((f.kind, f.severity) == ("dataset.json", severity) and text in f.text for f in found), found


def test_unpaired_files(small):
    small.image(0).unlink()
    small.labels(1).unlink()
    texts = {(f.case, f.text) for f in small.found("dataset.json")}
    assert ("case-0", "has labels, but no image in imagesTr") in texts
    assert ("case-1", "has an image, but no labels in labelsTr") in texts


def test_mixed_orientations_matter_without_the_reorienting_reader(small):
    save(small.image(6), scan(6)[::-1].copy(), np.diag([-3.0, 3, 8, 1]) + np.eye(4, k=3) * 3 * 59)
    save(small.labels(6), muscles(6)[::-1].copy(), np.diag([-3.0, 3, 8, 1]) + np.eye(4, k=3) * 3 * 59)
    assert [f.severity for f in small.found("orientation")] == [NOTE]
    small.edit_json(overwrite_image_reader_writer="SimpleITKIO")
    assert [f.severity for f in small.found("orientation")] == [PROBLEM]


def test_cases_table(small):
    table = small.folder / "cases.tsv"
    table.write_text("case\tsubject\ncase-0\tp\n")
    assert [(f.kind, f.severity) for f in describe_dataset(small.folder).findings] == [("cases.tsv", PROBLEM)]
    table.unlink()
    assert [(f.kind, f.severity) for f in describe_dataset(small.folder).findings] == [("cases.tsv", NOTE)]


def _without(case):
    return [c for c in CASES if c != case]


@pytest.mark.parametrize(
    ("splits", "severity", "case", "text"),
    [
        ([], PROBLEM, "", "no fold at all"),
        ([{"train": _without("case-0"), "val": []}], PROBLEM, "", "fold 0 has no test case"),
        ([{"train": _without("case-0"), "val": []}], PROBLEM, "case-0", "is in no fold at all"),
        ([{"train": CASES[:4], "val": CASES[4:]}] * 2, PROBLEM, "case-5", "is tested in 2 folds"),
        ([{"train": CASES[:4], "val": CASES[4:]}], PROBLEM, "case-1", "is tested in 0 folds"),
        ([{"train": [*CASES[:4], "case-x"], "val": CASES[4:]}], PROBLEM, "", "not in the data set: case-x"),
        ([{"train": CASES[:5], "val": CASES[4:]}], PROBLEM, "case-4", "both a training and a test case of fold 0"),
        (
            [{"train": CASES[:3], "val": CASES[4:]}, {"train": CASES[4:], "val": CASES[:4]}],
            LOOK, "", "fold 0 leaves out 1 case: case-3",
        ),
        ({"a": 1}, PROBLEM, "", "not a splits file"),
    ],
)  # fmt: skip
def test_faults_of_splits(small, splits, severity, case, text):
    small.splits.write_text(json.dumps(splits))
    found = small.of_splits()
    assert any((f.severity, f.case) == (severity, case) and text in f.text for f in found), found


def test_a_subject_on_both_sides_of_a_fold(small):
    small.one_person(3, 4)
    found = small.found("splits")
    assert [(f.severity, f.case) for f in found] == [(PROBLEM, "case-3, case-4")] * 2
    assert found[0].text == "subject person-3 is on both sides of fold 0"


def test_splits_that_are_not_there(small):
    small.splits.unlink()
    assert [f.severity for f in small.of_splits()] == [NOTE]
    small.one_person(0, 1)
    assert [f.severity for f in small.of_splits()] == [LOOK]


def test_unbalanced_folds(small):
    """4 of 8 women, all in one fold of 4: s^2 = 2/7, SE = sqrt(2/7/4 (1 - 4/8)) = 0.189; 0.5 / 0.189 = 2.65."""
    women, men = CASES[::2], CASES[1::2]
    small.splits.write_text(json.dumps([{"train": men, "val": women}, {"train": women, "val": men}]))
    found = [f for f in small.of_splits() if f.kind == "balance"]
    assert [f.severity for f in found] == [LOOK, LOOK]
    assert "the share of women of the test subjects is 100 %, of all 50 % (+2.6 standard errors)" in found[0].text


def test_a_label_set_of_others(small):
    """Names that are not ours still tell the sides; values without any name are only counted."""
    labels = {"background": 0, "autochthon_right": 1, "autochthon_left": 2, **{f"part {n}": n for n in range(3, 7)}}
    small.edit_json(labels=labels)
    small.edit_labels(3, swap_in_one_slice)
    inspection = small.inspect()
    texts = [f.text for f in inspection.findings if f.severity is PROBLEM]
    assert texts == ["autochthon: right lies to the left of left in slice 4"]
    assert [v.reference for v in inspection.volumes] == [None] * 6


def test_a_class_without_a_side_may_lie_in_two_parts(small):
    """One class for all muscles, in two halves that do not touch."""
    small.edit_json(labels={"background": 0, "muscle": 1})
    for case in range(8):
        small.edit_labels(case, lambda array: np.copyto(array, 1, where=array > 0))
    islands = [f for f in small.inspect().findings if f.kind == "islands"]
    assert {f.severity for f in islands} == {NOTE}


def test_every_channel_is_measured(small):
    small.edit_json(channel_names={"0": "fat", "1": "water"})
    for n, case in enumerate(CASES):
        save(small.folder / "imagesTr" / f"{case}_0001.nii.gz", scan(20 + n) * (9 if n == 4 else 1))
    shutil.copy(small.image(0), small.folder / "imagesTr" / "case-7_0001.nii.gz")
    save(small.folder / "imagesTr" / "case-5_0001.nii.gz", scan(25)[:, :, 1:])
    findings = small.inspect().findings
    assert [(f.kind, f.case) for f in findings if f.severity is PROBLEM] == [
        ("grid", "case-5"), ("duplicate", "case-0, case-7")
    ]  # fmt: skip
    assert {f.case for f in findings if f.kind == "intensity"} == {"case-4"}
    assert all(f.text.startswith("water: ") for f in findings if f.kind == "intensity")


def test_files_listed_in_dataset_json(small):
    """nnU-Net takes the files from 'dataset' where that is given, wherever they lie."""
    entry = {"images": ["imagesTr/case-2_0000.nii.gz"], "label": "labelsTr/case-2.nii.gz"}
    small.edit_json(dataset={"other": entry}, numTraining=1)
    (small.folder / "cases.tsv").unlink()
    (facts,) = small.inspect().cases
    assert (facts.case, facts.labels.classes[1].voxels) == ("other", 800)


def test_other_formats_are_read(small):
    sitk = pytest.importorskip("SimpleITK")
    before = small.inspect()
    small.edit_json(file_ending=".mha")
    for path in [*small.folder.glob("imagesTr/*"), *small.folder.glob("labelsTr/*")]:
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path).replace(".nii.gz", ".mha"))
        path.unlink()
    after = small.inspect()
    assert [c.labels.classes for c in after.cases] == [c.labels.classes for c in before.cases]
    assert [c.channels for c in after.cases] == [c.channels for c in before.cases]


def test_an_empty_data_set_is_refused(small):
    small.edit_json(file_ending=".nrrd")
    with pytest.raises(DatasetError, match=r"hold no \*\.nrrd file"):
        small.inspect()


def test_modified_z():
    """Median 4, distances 3 2 1 0 1 2 96, their median 2: the last is 0.6745 * 96 / 2."""
    values = np.array([1.0, 2, 3, 4, 5, 6, 100])
    assert modified_z(values)[-1] == pytest.approx(0.6745 * 96 / 2)
    assert outliers(values, least=0) == [(6, pytest.approx(32.376))]
    assert outliers(values, least=97) == []
    assert outliers(values[2:], least=0) == []  # five values make no bulk


def test_modified_z_where_most_values_are_equal():
    """MAD 0; mean absolute deviation 8 / 8 = 1: 8 / 1.253314."""
    values = np.array([2.0] * 7 + [10, np.nan])
    assert modified_z(values)[7] == pytest.approx(8 / 1.253314)
    assert np.isnan(modified_z(values)[8])


def test_dealing_z():
    """Mean 2.5 of 1 to 4, s^2 = 5/3; the part 3, 4: 1 / sqrt(5/3 / 2 * (1 - 2/4))."""
    assert dealing_z(np.array([3.0, 4]), np.array([1.0, 2, 3, 4])) == pytest.approx(1 / np.sqrt(5 / 12))
    assert dealing_z(np.array([]), np.array([1.0])) == 0


def test_asymmetry_and_paper_values():
    assert asymmetry_percent(120, 80) == 40
    assert np.isnan(asymmetry_percent(0, 80))
    assert (paper_reference(LabelClass(2, "multifidus_left")).mean_ml, paper_reference(LabelClass(1, "x"))) == (
        120.6,
        None,
    )


def test_classes_of_regions_and_sides():
    found = classes_of({"background": 0, "whole": [1, 2], "L_psoas": 3, "Psoas Right": 4, "rim": [5], "ignore": 6})
    assert [(c.value, c.name) for c in found] == [
        (1, "label 1"), (2, "label 2"), (3, "L_psoas"), (4, "Psoas Right"), (5, "rim")
    ]  # fmt: skip
    assert [(p.muscle, p.right.value, p.left.value) for p in side_pairs_of(found)] == [("psoas_major", 4, 3)]
    found = classes_of({"MultifidusRight": 1, "MultifidusLeft": 2, "KidneyR": 3, "KidneyL": 4})
    assert [c.structure and c.structure.key for c in found] == ["multifidus_right", "multifidus_left", None, None]
    assert [(p.muscle, p.right.value, p.left.value) for p in side_pairs_of(found)] == [
        ("multifidus", 1, 2),
        ("kidney", 3, 4),
    ]


def test_gross_asymmetry_is_told_however_common_it_is(small):
    for case in range(8):
        small.edit_labels(case, set_to(0, slice(31, 36), ALL, ALL))  # 5 of 10 columns: 200 (1 - 2) / (1 + 2)
    found = small.found("asymmetry")
    assert {f.text for f in found} == {"Multifidus right and left differ by -67 % of their mean"}
    assert len(found) == 8


def test_the_worst_come_first():
    found = [
        Finding(NOTE, "coverage", "", "a"),
        Finding(LOOK, "volume", "c", "b", 4.0),
        Finding(LOOK, "volume", "d", "c", 9.0),
        Finding(PROBLEM, "sides", "e", "d"),
        Finding(PROBLEM, "unreadable", "e", "d"),
    ]
    assert [(f.kind, f.case) for f in worst_first(found)] == [
        ("unreadable", "e"), ("sides", "e"), ("volume", "d"), ("volume", "c"), ("coverage", "")
    ]  # fmt: skip


def test_parts_give_the_largest_correlation_of_all_mirrorings():
    """Against the eight mirrored copies one by one; an odd axis has a middle that is its own mirror image."""
    rng = np.random.default_rng(0)
    thumbnails = [rng.integers(-99, 100, (6, 5, 4)).astype(np.int8) for _ in range(7)]
    unit = np.stack(thumbnails).astype(float)
    unit /= np.sqrt((unit**2).sum((1, 2, 3)))[:, None, None, None]
    mirrored = [unit[:, ::x, ::y, ::z] for x in (1, -1) for y in (1, -1) for z in (1, -1)]
    expected = np.max([np.einsum("nxyz,mxyz->nm", each, unit) for each in mirrored], axis=0)
    ((row, column, found),) = mirrored_correlations(thumbnails)
    assert (row, column) == (0, 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_every_pair_is_in_one_block(monkeypatch):
    rng = np.random.default_rng(1)
    thumbnails = [rng.integers(-99, 100, (4, 4, 4)).astype(np.int8) for _ in range(8)]
    ((_, _, expected),) = mirrored_correlations(thumbnails)
    monkeypatch.setattr(duplicates, "_BLOCK", 3)
    whole = np.full((8, 8), np.nan)
    for row, column, block in mirrored_correlations(thumbnails):
        whole[row : row + len(block), column : column + block.shape[1]] = block
    upper = np.triu_indices(8)
    np.testing.assert_allclose(whole[upper], expected[upper], atol=1e-6)


def test_muscles_of_another_scheme_and_pieces_on_the_other_side(small):
    """LPM's order, and 3 x 3 x 2 voxels of psoas major right, 1.3 ml, beside the left one."""

    def lpm(array):
        array[:] = np.array([0, 2, 3, 1, 4, 5, 6], np.uint8)[array]

    small.edit_labels(0, lpm)
    small.edit_labels(1, set_to(5, slice(8, 11), slice(30, 33), slice(4, 6)))
    found = [f for f in small.inspect().findings if f.severity is PROBLEM]
    assert {f.kind for f in found if f.case == "case-0"} == {"label scheme"}
    (piece,) = [f for f in found if f.case == "case-1"]
    assert piece.kind == "sides"
    assert piece.text == "Psoas major right has 1.3 ml beyond the midline, in slices 5-6"
