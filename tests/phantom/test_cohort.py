"""The phantom cohort: same seed, same bytes; left is left; volumes, fat and raters as the paper's cohort has them."""

import hashlib
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter, label
from scipy.stats import spearmanr

from paraspinal_nnunet.anatomy import BY_LABEL, PARASPINAL, Muscle, Side, opposite
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError, LabelError, ProtocolError
from paraspinal_nnunet.image_io.geometry import (
    axis_codes,
    check_axial,
    check_sides,
    grid_difference,
    spacing_mm,
    to_ras,
)
from paraspinal_nnunet.phantom import cohort as phantom
from paraspinal_nnunet.phantom import image
from paraspinal_nnunet.phantom.anatomy import FULL_SHAPE, Grid, build_trunk
from paraspinal_nnunet.phantom.person import draw_person
from paraspinal_nnunet.phantom.shapes import ANGLES, Section, Tube, capsule, ellipse
from paraspinal_nnunet.protocol.paper import PAPER

SMALL = (48, 48, 13)
MEDIUM = (128, 128, 16)


def paper_volumes_ml() -> dict[str, float]:
    """Means as the paper prints them (Results), by key."""
    return {s.key: getattr(PAPER.cohort, f"{s.muscle.value}_ml")[0 if s.side is Side.RIGHT else 2] for s in PARASPINAL}


def volume_ml(labels: np.ndarray, affine: np.ndarray, value: int) -> float:
    return float((labels == value).sum() * np.prod(spacing_mm(affine)) / 1000)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return phantom.write_cohort(
        tmp_path_factory.mktemp("phantom") / "cohort", cases=3, seed=5, shape=SMALL, second_rater=2, workers=1
    )


@pytest.fixture(scope="module")
def medium_cases():
    return [phantom.generate_case(0, index, MEDIUM, second_rater=True) for index in range(12)]


class TestFolder:
    def test_files(self, cohort):
        names = {str(p.relative_to(cohort.folder)) for p in cohort.folder.rglob("*") if p.is_file()}
        images = {f"sub-00{i}_{kind}.nii.gz" for i in (1, 2, 3) for kind in ("img", "GT")}
        rater2 = {f"rater2/sub-00{i}_GT.nii.gz" for i in (1, 2)}
        assert names == images | rater2 | {"participants.tsv", "phantom.json"}

    def test_nifti(self, cohort):
        for record in cohort.cases:
            image, labels = (nib.load(cohort.folder / f"{record.case}_{kind}.nii.gz") for kind in ("img", "GT"))
            assert image.get_data_dtype() == np.int16
            assert labels.get_data_dtype() == np.uint8
            assert grid_difference(image.shape, image.affine, labels.shape, labels.affine) is None
            assert image.header["sform_code"] > 0
            assert image.header["qform_code"] > 0
            np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-3)
            assert axis_codes(image.affine) == record.orientation
            check_axial(image.affine, image.shape, record.case)
            np.testing.assert_allclose(spacing_mm(image.affine), cohort.spacing_mm, rtol=1e-5)

    def test_participants(self, cohort):
        table = pd.read_csv(cohort.folder / "participants.tsv", sep="\t")
        assert list(table.columns) == ["participant_id", "sex", "age", "bmi"]
        assert list(table["participant_id"]) == ["sub-001", "sub-002", "sub-003"]
        assert set(table["sex"]) <= {"F", "M"}
        assert list(table["age"]) == [record.age for record in cohort.cases]

    def test_summary_counts_the_written_labels(self, cohort):
        content = json.loads((cohort.folder / "phantom.json").read_text())
        assert content["seed"] == 5
        assert content["shape"] == list(SMALL)
        # 200 mm / 48 and 250 mm / 13, as 512 x 0.39 and 50 x 5
        np.testing.assert_allclose(content["spacing_mm"], [512 * 0.39 / 48, 512 * 0.39 / 48, 250 / 13])
        voxel_ml = (512 * 0.39 / 48) ** 2 * (250 / 13) / 1000
        for case in content["cases"]:
            labels = np.asarray(nib.load(cohort.folder / f"{case['case']}_GT.nii.gz").dataobj)
            for structure in PARASPINAL:
                expected = (labels == structure.label).sum() * voxel_ml
                assert case["volumes_ml"][structure.key] == pytest.approx(expected, rel=1e-5)
        assert [case["rater2_volumes_ml"] is None for case in content["cases"]] == [False, False, True]


class TestDeterminism:
    @pytest.mark.slow
    def test_same_bytes_from_one_process_and_two(self, cohort, tmp_path):
        again = phantom.write_cohort(tmp_path / "again", cases=3, seed=5, shape=SMALL, second_rater=2, workers=2)
        assert digests(again.folder) == digests(cohort.folder)

    def test_a_case_does_not_depend_on_the_number_of_cases(self, cohort, tmp_path):
        fewer = digests(
            phantom.write_cohort(tmp_path / "c", cases=2, seed=5, shape=SMALL, second_rater=2, workers=1).folder
        )
        whole = digests(cohort.folder)
        shared = {name for name in fewer if name.endswith(".nii.gz")}
        assert len(shared) == 6
        assert {name: fewer[name] for name in shared} == {name: whole[name] for name in shared}

    def test_another_seed_is_another_case(self):
        one, other = (phantom.generate_case(seed, 0, SMALL) for seed in (0, 1))
        assert not np.array_equal(to_ras(one.labels, one.affine)[0], to_ras(other.labels, other.affine)[0])

    def test_the_second_rater_does_not_change_the_case(self):
        alone, twice = (phantom.generate_case(0, 1, SMALL, second_rater=wanted) for wanted in (False, True))
        np.testing.assert_array_equal(alone.image, twice.image)
        np.testing.assert_array_equal(alone.labels, twice.labels)

    def test_labels_alone_are_those_of_the_case(self):
        case = phantom.generate_case(0, 3, SMALL, second_rater=True)
        for rater, expected in ((1, case.labels), (2, case.rater2)):
            labels, affine = phantom.generate_labels(0, 3, SMALL, rater=rater)
            np.testing.assert_array_equal(labels, expected)
            np.testing.assert_array_equal(affine, case.affine)


class TestSides:
    @pytest.mark.parametrize("orientation", phantom.ORIENTATIONS)
    def test_left_is_left_in_every_orientation(self, orientation, monkeypatch):
        monkeypatch.setattr(phantom, "ORIENTATIONS", (orientation,))
        labels, affine = phantom.generate_labels(0, 0, MEDIUM)
        assert axis_codes(affine) == orientation
        check_sides(labels, affine, PARASPINAL, orientation)

    def test_all_orientations_hold_the_same_scan(self, monkeypatch):
        scans = []
        for orientation in phantom.ORIENTATIONS:
            monkeypatch.setattr(phantom, "ORIENTATIONS", (orientation,))
            case = phantom.generate_case(0, 0, SMALL)
            image, affine = to_ras(case.image, case.affine)
            scans.append((image, affine))
        for image, affine in scans[1:]:
            np.testing.assert_array_equal(image, scans[0][0])
            np.testing.assert_allclose(affine, scans[0][1], atol=1e-9)

    @pytest.mark.slow
    def test_several_orientations_and_tilts_occur(self, medium_cases):
        assert len({case.orientation for case in medium_cases}) >= 4
        tilted = [np.abs(case.affine[:3, :3]).max(axis=0) / spacing_mm(case.affine) < 0.9999 for case in medium_cases]
        assert 2 <= sum(map(np.any, tilted)) <= 9

    def test_swapped_labels_are_refused(self, medium_cases):
        case = medium_cases[0]
        swapped = case.labels.copy()
        for structure in PARASPINAL:
            swapped[case.labels == structure.label] = opposite(structure).label
        with pytest.raises(LabelError, match="contradict"):
            check_sides(swapped, case.affine, PARASPINAL, case.name)

    def test_the_image_alone_tells_right_from_left(self, medium_cases):
        """In front of L1 to L3 the aorta's flow void is left of the midline; the right holds the brighter vena cava."""
        for case in medium_cases:
            image, _ = to_ras(case.image, case.affine)
            darkest = _prevertebral_minimum(image, to_ras(case.labels, case.affine)[0])
            assert darkest["left"] < darkest["right"], case.name


class TestAnatomy:
    @pytest.mark.slow
    def test_volumes_are_the_papers_at_full_height(self):
        volumes = {s.key: [] for s in PARASPINAL}
        for index in range(76):
            labels, affine = phantom.generate_labels(0, index, (64, 64, 25))
            for structure in PARASPINAL:
                volumes[structure.key].append(volume_ml(labels, affine, structure.label))
        for key, expected in paper_volumes_ml().items():
            assert np.mean(volumes[key]) == pytest.approx(expected, rel=0.10), key

    @pytest.mark.slow
    def test_default_cohort_lies_within_15_percent(self):
        labels = [phantom.generate_labels(0, index, (128, 128, 50)) for index in range(24)]
        for structure in PARASPINAL:
            mean = np.mean([volume_ml(*pair, structure.label) for pair in labels])
            assert mean == pytest.approx(paper_volumes_ml()[structure.key], rel=0.15), structure.key

    @pytest.mark.slow
    def test_volumes_at_full_size(self):
        labels = [phantom.generate_labels(0, index) for index in range(24)]
        assert labels[0][0].size == np.prod(FULL_SHAPE)
        for structure in PARASPINAL:
            mean = np.mean([volume_ml(*pair, structure.label) for pair in labels])
            assert mean == pytest.approx(paper_volumes_ml()[structure.key], rel=0.15), structure.key

    def test_volumes_do_not_depend_on_the_voxels(self):
        fine, coarse = (phantom.generate_labels(0, 2, shape) for shape in ((256, 256, 50), (64, 64, 50)))
        for structure in PARASPINAL:
            assert volume_ml(*coarse, structure.label) == pytest.approx(volume_ml(*fine, structure.label), rel=0.03)

    def test_people_are_the_papers(self):
        people = [draw_person(np.random.default_rng([1, index])) for index in range(2000)]
        cohort = PAPER.cohort
        assert np.mean([p.sex == "F" for p in people]) == pytest.approx(46 / 76, abs=0.04)
        assert np.mean([p.age_years for p in people]) == pytest.approx(cohort.age_mean_years, abs=1)
        assert np.std([p.age_years for p in people]) == pytest.approx(cohort.age_sd_years, rel=0.1)
        assert np.mean([p.bmi for p in people]) == pytest.approx(cohort.bmi_mean, abs=0.5)
        assert np.std([p.bmi for p in people]) == pytest.approx(cohort.bmi_sd, rel=0.1)

    def test_men_have_the_larger_psoas(self):
        people = [draw_person(np.random.default_rng([1, index])) for index in range(300)]
        areas = {sex: np.mean([p.area[Muscle.PSOAS_MAJOR] for p in people if p.sex == sex]) for sex in "FM"}
        assert areas["M"] > 1.2 * areas["F"]

    def test_multifidus_grows_and_erector_spinae_shrinks_downwards(self):
        person = draw_person(np.random.default_rng([0, 0]))
        trunk = build_trunk(person, np.random.default_rng(0))
        area = {
            (s.muscle, level): tube.section(level).area_mm2
            for s, tube in trunk.tubes.items()
            if s.side is Side.RIGHT
            for level in (0, 2, 4)
        }
        assert area[Muscle.MULTIFIDUS, 0] < area[Muscle.MULTIFIDUS, 2] < area[Muscle.MULTIFIDUS, 4]
        assert area[Muscle.ERECTOR_SPINAE, 4] < 0.7 * area[Muscle.ERECTOR_SPINAE, 2]
        assert area[Muscle.PSOAS_MAJOR, 0] < 0.35 * area[Muscle.PSOAS_MAJOR, 2]

    def test_raters_agree_as_humans_do(self, medium_cases):
        for structure in PARASPINAL:
            scores = [dice(c.labels == structure.label, c.rater2 == structure.label) for c in medium_cases]
            assert 0.90 <= np.mean(scores) <= 0.95, structure.key
            assert min(scores) > 0.80

    def test_raters_differ_in_patches_not_in_speckle(self):
        """Patches of disagreement are larger than those of as many voxels strewn over the rim of the same width."""
        one, two = (phantom.generate_labels(0, 0, (256, 256, 16), rater=rater)[0] for rater in (1, 2))
        rng = np.random.default_rng(0)
        for structure in PARASPINAL:
            mask = one == structure.label
            parted = mask != (two == structure.label)
            in_plane = np.array([[[0], [1], [0]], [[1], [1], [1]], [[0], [1], [0]]], bool)
            rim = binary_dilation(mask, in_plane, 3) & ~binary_erosion(mask, in_plane, 3)
            strewn = np.zeros_like(parted)
            strewn.flat[rng.choice(np.flatnonzero(rim), int(parted.sum()), replace=False)] = True
            assert label(parted)[1] < 0.5 * label(strewn)[1], structure.key

    def test_fat_grows_with_age_and_is_worst_in_multifidus(self, medium_cases):
        ages = [case.person.age_years for case in medium_cases]
        measured = {value: [_bright_share(case, value) for case in medium_cases] for value in (1, 2, 5)}
        for value in (1, 2):
            assert spearmanr(ages, measured[value]).statistic > 0.4
            assert (
                spearmanr(measured[value], [case.fat_fraction[BY_LABEL[value].key] for case in medium_cases]).statistic
                > 0.7
            )
        assert np.mean(measured[1]) > 2 * np.mean(measured[5])

    def test_stated_fat_is_what_the_signals_of_the_labels_mix(self, monkeypatch):
        """With two signals, everything but fat being dark, the mean signal of a label before the scanner is its fat."""
        monkeypatch.setattr(image, "SIGNAL", dict.fromkeys(image.SIGNAL, 0.0) | {"fat": 1.0})
        monkeypatch.setattr(image, "MUSCLE_SIGNAL", dict.fromkeys(image.MUSCLE_SIGNAL, 0.0))
        monkeypatch.setattr(image, "_scan", lambda signal, *_: signal)
        grid, _, trunk = phantom._subject(0, 1, MEDIUM)
        labels = trunk.labels(grid)
        found = image.render(trunk, grid, labels, np.random.default_rng(0))
        for structure, share in found.fat_fraction.items():
            # fat between fibres has 0.92 of the signal of the fat around them, which varies by some hundredths
            signal = found.image[labels == structure.label].mean()
            assert 0.92 * share - 0.01 < signal < share + 0.01, structure.key

    def test_lean_muscles_have_the_fat_around_their_fibres(self):
        """A disc of 30 mm with fibres from 0.7 mm inside it: the rim is 1 - (29.3 / 30)^2 = 0.046 of it."""
        x, y = np.meshgrid(np.arange(-40, 40, 0.25), np.arange(-40, 40, 0.25), indexing="ij")
        distance = np.hypot(x, y) - 30
        canvas = image._Canvas(np.ones_like(distance), np.ones_like(distance), 0.9)
        canvas.cover((slice(None), slice(None)), distance + image.SEPTUM_MM, np.zeros_like(distance), 0.0)
        assert canvas.fat[distance < 0].mean() == pytest.approx(1 - (29.3 / 30) ** 2, abs=0.001)

    def test_image(self, medium_cases):
        brightest = [np.percentile(case.image, 99.9) for case in medium_cases]
        assert max(brightest) > 3 * min(brightest)
        for case in medium_cases:
            assert case.image.min() >= 0
            assert case.image.max() < np.iinfo(np.int16).max


class TestShapes:
    def test_circle(self):
        section = Section(3.0, -2.0, np.full(ANGLES, 10.0))
        x = y = np.arange(-20.0, 21.0)
        window, distance = section.distance(x, y, 5.0)
        expected = np.hypot(x[window[0], None] - 3, y[None, window[1]] + 2) - 10
        np.testing.assert_allclose(distance, expected, atol=1e-4)
        assert section.area_mm2 == pytest.approx(100 * np.pi)

    def test_tube_through_a_square_circle_and_back(self):
        ring = [(5 * np.cos(a), 5 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24, endpoint=False)]
        tube = Tube.from_points([0.0, 1.0, 2.0], [np.array(ring), 2 * np.array(ring), np.array(ring)])
        assert tube.section(1.0).area_mm2 == pytest.approx(100 * np.pi, rel=0.01)
        assert tube.section(-3.0).area_mm2 == pytest.approx(25 * np.pi, rel=0.01)
        assert 25 * np.pi < tube.section(0.5).area_mm2 < 100 * np.pi

    def test_capsule_and_ellipse(self):
        axis = np.arange(-10.0, 11.0)
        window, bar = capsule(axis, axis, (-3, 0), (3, 0), 2.0)
        i, j = (int(np.searchsorted(axis[w], v)) for w, v in zip(window, (0, 5), strict=True))
        assert bar[i, j] == pytest.approx(3.0)
        window, oval = ellipse(axis, axis, (0, 0), (4, 2))
        i, j = (int(np.searchsorted(axis[w], v)) for w, v in zip(window, (4, 0), strict=True))
        assert oval[i, j] == pytest.approx(0.0, abs=1e-6)

    def test_grid_keeps_the_field_of_view(self):
        for shape in (FULL_SHAPE, MEDIUM, (100, 80, 13)):
            grid = Grid.of_shape(shape)
            np.testing.assert_allclose(np.multiply(grid.shape, grid.spacing_mm), (199.68, 199.68, 250))
            assert grid.axis_mm(0).sum() == pytest.approx(0, abs=1e-6)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"cases": 0}, "0 cases: a cohort needs at least 1"),
            ({"cases": 2, "second_rater": 3}, "3 cases of a second rater: give 0 to 2"),
            ({"second_rater": -1}, "-1 cases of a second rater"),
            ({"shape": (16, 128, 16)}, "shape 16 128 16: the phantom needs at least 32 32 13"),
            ({"shape": (128, 128, 12)}, "shape 128 128 12"),
            ({"seed": -1}, "seed -1"),
            ({"workers": 0}, "0 processes"),
        ],
    )
    def test_bad_numbers(self, tmp_path, arguments, message):
        with pytest.raises(ProtocolError, match=re.escape(message)):
            phantom.write_cohort(tmp_path / "c", **{"cases": 1, "shape": SMALL, "workers": 1, **arguments})
        assert not any(tmp_path.iterdir())

    def test_unknown_rater(self):
        with pytest.raises(ProtocolError, match="rater 3"):
            phantom.generate_labels(0, 0, SMALL, rater=3)

    def test_taken_folder_is_left_alone(self, tmp_path):
        (tmp_path / "note.txt").write_text("mine")
        with pytest.raises(InputError, match="exists already"):
            phantom.write_cohort(tmp_path, cases=1, shape=SMALL, workers=1)
        assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]

    def test_empty_folder_is_taken(self, tmp_path):
        (tmp_path / "c").mkdir()
        phantom.write_cohort(tmp_path / "c", cases=1, shape=SMALL, second_rater=0, workers=1)
        assert (tmp_path / "c" / "phantom.json").exists()
        assert not (tmp_path / "c" / "rater2").exists()

    def test_nothing_is_left_of_a_failure(self, tmp_path, monkeypatch):
        def fail(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(phantom, "write_labels", fail)
        with pytest.raises(InputError, match="No space left on device"):
            phantom.write_cohort(tmp_path / "c", cases=1, shape=SMALL, workers=1)
        assert not any(tmp_path.iterdir())


class TestCommand:
    def test_every_flag_reaches_the_cohort(self, tmp_path, capsys):
        folder = tmp_path / "c"
        code = main(f"phantom -n 2 -o {folder} --seed 5 --shape 48 48 13 --second-rater 2 -np 1".split())
        assert code == 0
        printed = capsys.readouterr().out
        assert f"{folder}: 2 cases" in printed
        assert "48 x 48 x 13 voxels of 4.16 x 4.16 x 19.23 mm" in printed
        assert re.search(r"Multifidus right +\d+\.\d \(\d+\.\d\) +119\.9 \(25\.7\)", printed)
        assert len(list((folder / "rater2").iterdir())) == 2
        assert json.loads((folder / "phantom.json").read_text())["seed"] == 5

    def test_defaults(self):
        assert phantom.second_rater_default(76) == 25
        assert phantom.second_rater_default(12) == 4
        assert phantom.second_rater_default(1) == 1

    @pytest.mark.parametrize("flags", ["-n 0", "--shape 8 8 8", "--shape 64 64 12", "-n 1 --second-rater 2"])
    def test_wrong_use_is_one_line(self, tmp_path, capsys, flags):
        assert main(["phantom", "-o", str(tmp_path / "c"), *flags.split()]) == 1
        error = capsys.readouterr().err
        assert error.startswith("paraspinal phantom: error: ")
        assert error.count("\n") == 1


def _bright_share(case: phantom.PhantomCase, value: int) -> float:
    """Share of a muscle's voxels that are far brighter than its darkest fifth."""
    values = case.image[case.labels == value].astype(float)
    dark = np.percentile(values, 20)
    return float((values > 2.5 * dark).mean())


def _prevertebral_minimum(image: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Darkest smoothed signal right and left of the midline in front of the spine, at the upper half of the muscles."""
    used = np.flatnonzero(np.isin(labels, (1, 2)).any(axis=(0, 1)))
    upper = slice(used[len(used) // 2] + 1, used[-1] + 1)
    right, left = (np.argwhere(labels[..., upper] == value)[:, 0].mean() for value in (1, 2))
    top = np.argwhere(np.isin(labels[..., upper], (1, 2)))[:, 1].max()
    step = 1.56
    band = slice(int(top + 50 / step), int(top + 72 / step))
    middle = round((right + left) / 2)
    reach = int(24 / step)
    smooth = gaussian_filter(image[..., upper].astype(float), (1.5, 1.5, 0))[:, band].mean(axis=2)
    return {
        "left": float(smooth[middle - reach : middle].min()),
        "right": float(smooth[middle + 1 : middle + reach].min()),
    }
