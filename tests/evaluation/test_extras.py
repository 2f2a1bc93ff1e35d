"""What `paraspinal evaluate` measures beyond the paper: surfaces, slices and errors of the volumes."""

import json
import math

import nibabel
import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.evaluation import (
    SurfaceMetrics,
    evaluate,
    read_metrics,
    read_record,
    slice_metrics,
    surface_metrics,
    volume_errors,
)
from paraspinal_nnunet.evaluation.metrics.surface import UNDEFINED
from paraspinal_nnunet.evaluation.metrics.surface_elements import corner_areas, surface_elements
from paraspinal_nnunet.evaluation.record import COLUMNS, ID_COLUMNS

SPACING = (0.5, 0.75, 5.0)
AFFINE = np.array([[0.5, 0, 0, -10], [0, 0.75, 0, -20], [0, 0, 5, -30], [0, 0, 0, 1]], float)
TOTAL_A, SOME_A = 372.8769707442644, [2.0107154056043823, 2.5593637120266552, 1.7240966918485618]
TOTAL_B, SOME_B = 950.4895895094021, [5.625, 6.078438801990839, 4.229101966249685]
EXTRA_FILES = {"surface.tsv", "slices.tsv", "volumes.tsv"}


def box(shape, *ranges) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping bumpy ellipsoids, the second one with a separate island."""
    i, j, k = np.ogrid[:40, :36, :12]
    bumps = 3 * np.sin(i / 3) * np.cos(j / 4)
    first = ((i - 18 + bumps) / 12) ** 2 + ((j - 17) / 10) ** 2 + ((k - 6) / 4) ** 2 < 1
    second = ((i - 21) / 13) ** 2 + ((j - 16 + bumps) / 9) ** 2 + ((k - 5) / 4) ** 2 < 1
    second[37:39, 31:34, 9] = True
    return first, second


def counted(reference, prediction, spacing, tolerance_mm):
    return surface_metrics(reference, prediction, spacing, tolerance_mm, "voxels")


class TestCountedSurfaces:
    @pytest.mark.parametrize("apart", [1, 2, 5])
    def test_plates(self, apart):
        """Plates of one voxel fill the plane, so that every voxel's nearest one lies straight across."""
        plates = [box((9, 5, 4), (k, k + 1), (0, 5), (0, 4)) for k in (1, 1 + apart)]
        found = counted(*plates, (2.0, 1.0, 1.0), tolerance_mm=4.0)
        assert found == SurfaceMetrics(hd95_mm=2 * apart, asd_mm=2 * apart, nsd=float(2 * apart <= 4))

    def test_row_and_dot(self):
        """A row of 5 voxels against its middle voxel moved by 3 mm.

        From the row it is sqrt(9 + 0, 1, 1, 4, 4), and 3 back. The 95th percentile of five values lies between the last
        two, which are equal.
        """
        row = box((6, 9, 3), (1, 2), (2, 7), (1, 2))
        dot = box((6, 9, 3), (4, 5), (4, 5), (1, 2))
        found = counted(row, dot, (1.0, 1.0, 1.0), tolerance_mm=3.0)
        there = [3, math.sqrt(10), math.sqrt(10), math.sqrt(13), math.sqrt(13)]
        assert found.hd95_mm == pytest.approx(math.sqrt(13))
        assert found.asd_mm == pytest.approx((sum(there) + 3) / 6)
        assert found.nsd == pytest.approx(2 / 6)  # the row's middle and the dot
        assert counted(dot, row, (1.0, 1.0, 1.0), tolerance_mm=3.0) == found

    @pytest.mark.parametrize(("axis", "voxels"), [(0, 4), (1, 3), (2, 1)])
    def test_shifted_cubes(self, axis, voxels):
        """A face of the cube is more than a twentieth of its surface, and it lies the whole shift off."""
        cube = box((20, 20, 12), (4, 12), (4, 12), (3, 9))
        found = counted(cube, np.roll(cube, voxels, axis), SPACING, tolerance_mm=0.1)
        assert found.hd95_mm == pytest.approx(voxels * SPACING[axis])
        assert 0 < found.asd_mm < found.hd95_mm
        assert 0 < found.nsd < 1
        within = counted(cube, np.roll(cube, voxels, axis), SPACING, tolerance_mm=voxels * SPACING[axis])
        assert within.nsd == 1

    def test_inner_voxels_are_no_surface(self):
        """3 x 3 x 3 voxels against the same without the middle one, whose neighbours face the hole.

        26 surface voxels are common. The hole makes no further voxel a surface: its six neighbours are outside already.
        """
        cube = box((7, 7, 7), (2, 5), (2, 5), (2, 5))
        hollow = cube.copy()
        hollow[3, 3, 3] = False
        assert counted(cube, hollow, (1, 1, 1), 0) == SurfaceMetrics(0, 0, 1)

    def test_identical_masks_also_at_the_border(self):
        for mask in (box((5, 6, 7), (1, 3), (1, 3), (2, 6)), np.ones((5, 6, 7), bool)):
            assert counted(mask, mask, SPACING, 0) == SurfaceMetrics(0, 0, 1)

    def test_border_of_the_image_is_surface(self):
        """A plate two voxels thick at the border against the inner one of its layers: half of it lies 1 mm off."""
        thick, thin = (box((5, 4, 4), (first, 2), (0, 4), (0, 4)) for first in (0, 1))
        found = counted(thick, thin, (1, 1, 1), 0)
        assert (found.hd95_mm, found.asd_mm) == (1, pytest.approx(16 / 48))

    def test_empty_masks(self):
        mask = box((5, 5, 5), (1, 3), (1, 3), (1, 3))
        empty = np.zeros_like(mask)
        for pair in ((mask, empty), (empty, mask)):
            assert counted(*pair, SPACING, 1) == SurfaceMetrics(math.inf, math.inf, 0)
        both = counted(empty, empty, SPACING, 1)
        assert all(math.isnan(getattr(both, metric)) for metric in UNDEFINED)

    def test_tolerance_of_a_spacing_in_single_precision(self):
        plates = [box((14, 3, 3), (k, k + 1), (0, 3), (0, 3)) for k in (1, 11)]
        spacing = float(np.float32(0.1))  # ten of them are 1.0000000149 mm
        assert counted(*plates, (spacing, 1, 1), tolerance_mm=1.0).nsd == 1

    def test_what_is_refused(self):
        mask = box((5, 5, 5), (1, 3), (1, 3), (1, 3))
        for tolerance in (-1, math.nan, math.inf):
            with pytest.raises(InputError, match="give 0 or more"):
                counted(mask, mask, SPACING, tolerance)
        with pytest.raises(GeometryError, match=r"\(5, 5, 5\) against .*\(5, 5, 4\)"):
            counted(mask, mask[..., :4], SPACING, 1)
        for spacing in ((1, 1), (1, 1, 0), (1, math.nan, 1)):
            with pytest.raises(GeometryError, match="spacing"):
                counted(mask, mask, spacing, 1)

    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING])
    def test_equal_to_monai(self, spacing):
        """The same definitions, so that no difference of discretisation is left.

        MONAI computes in single precision, in which the 95th percentile's place among some 750 values has an error of
        about 1e-4 of the way from one value to the next.
        """
        pytest.importorskip("monai")
        import torch
        from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
        from monai.metrics.surface_dice import compute_surface_dice

        first, second = blobs()
        prediction, reference = (torch.from_numpy(m[None, None].astype(np.float32)) for m in (second, first))
        options = {"include_background": True, "spacing": spacing}
        found = counted(first, second, spacing, tolerance_mm=1.0)
        hd95 = compute_hausdorff_distance(prediction, reference, percentile=95, **options)
        asd = compute_average_surface_distance(prediction, reference, symmetric=True, **options)
        nsd = compute_surface_dice(prediction, reference, class_thresholds=[1.0], **options)
        assert found.hd95_mm == pytest.approx(hd95.item(), rel=1e-5)
        assert found.asd_mm == pytest.approx(asd.item(), rel=1e-6)
        assert found.nsd == pytest.approx(nsd.item(), rel=1e-6)
        assert found.hd95_mm > 1
        assert 0 < found.nsd < 1


def areas_by_hand(shape_mm):
    """Area of a box whose edges and corners marching cubes cut off by half a voxel; spacing 1 mm."""
    a, b, c = shape_mm  # between the middles of the outer voxels
    faces = 2 * (a * b + b * c + a * c)
    edges = 4 * (a + b + c) * math.sqrt(0.5)
    return faces + edges + 8 * math.sqrt(3) / 8


class TestSurfacesByArea:
    def test_areas_of_corners(self):
        """Spacing 2 x 3 x 4 mm: one of eight voxels, a plane, and both of them turned inside out."""
        areas = corner_areas(2.0, 3.0, 4.0)
        assert areas[0] == areas[255] == 0
        triangle = 0.5 * np.linalg.norm(np.cross([-1, 1.5, 0], [-1, 0, 2]))  # half a voxel along each edge
        for bit in range(8):
            assert areas[1 << bit] == areas[255 - (1 << bit)] == pytest.approx(triangle)
        assert areas[0b11110000] == areas[0b00001111] == pytest.approx(3 * 4)  # across the first axis
        assert areas[0b11001100] == pytest.approx(2 * 4)
        assert areas[0b10101010] == pytest.approx(2 * 3)
        assert np.allclose(areas, areas[::-1])

    def test_areas_are_those_of_marching_cubes(self):
        """With at most four voxels inside; more are the mirror image of those outside, as surface-distance has it."""
        measure = pytest.importorskip("skimage.measure")
        areas = corner_areas(0.39, 0.39, 5.0)
        for code in range(1, 255):
            assert areas[code] == areas[255 - code]
            if code.bit_count() > 4:
                continue
            corners = np.array([code >> (7 - bit) & 1 for bit in range(8)], float).reshape(2, 2, 2)
            vertices, faces, *_ = measure.marching_cubes(corners, 0.5, spacing=(0.39, 0.39, 5.0), method="lorensen")
            assert areas[code] == pytest.approx(measure.mesh_surface_area(vertices, faces), rel=1e-5), bin(code)

    def test_areas_are_those_of_surface_distance(self):
        """Sums of create_table_neighbour_code_to_surface_area of surface-distance 0.1, and three of its entries."""
        for spacing, total, some in (((0.39, 0.39, 5.0), TOTAL_A, SOME_A), ((1.0, 2.0, 3.0), TOTAL_B, SOME_B)):
            areas = corner_areas(*spacing)
            assert areas.sum() == pytest.approx(total, rel=1e-12)
            assert areas[[7, 29, 61]] == pytest.approx(some, rel=1e-12)

    def test_area_of_a_box(self):
        found = surface_elements(box((9, 9, 9), (2, 6), (1, 8), (3, 6)), np.ones(3), "area")
        assert found.weights.sum() == pytest.approx(areas_by_hand((3, 6, 2)))

    @pytest.mark.parametrize("apart", [1, 2, 5])
    def test_plates(self, apart):
        """Faces that look at each other are a voxel less apart than those that look the same way.

        The plates' rims are of the surface, too; on large plates they are a small part.
        """
        plates = [box((9, 80, 80), (k, k + 1), (0, 80), (0, 80)) for k in (1, 1 + apart)]
        found = surface_metrics(*plates, (2.0, 1.0, 1.0), tolerance_mm=100.0)
        assert found.hd95_mm == 2 * apart
        assert found.asd_mm == pytest.approx((2 * apart + 2 * (apart - 1)) / 2, rel=0.03)
        assert found.nsd == 1

    def test_thick_slices_keep_their_ranking(self):
        """Voxels of 0.39 x 0.39 x 5 mm: a box against itself one slice off, and three pixels larger all round.

        Of the larger one all sides lie 1.17 mm off and the caps, a quarter of the surface, on each other. Of the
        shifted one most of the sides lie on each other. Voxels count the caps five times and more.
        """
        spacing, shape = (0.39, 0.39, 5.0), (140, 140, 14)
        first = box(shape, (20, 110), (20, 110), (2, 11))
        shifted, larger = np.roll(first, 1, axis=2), box(shape, (17, 113), (17, 113), (2, 11))
        area, voxels = (
            [surface_metrics(first, other, spacing, 1.0, convention) for other in (shifted, larger)]
            for convention in ("area", "voxels")
        )
        sides, caps = 4 * 90 * 0.39 * 45, 2 * (90 * 0.39) ** 2
        assert [found.hd95_mm for found in area] == pytest.approx([5, 3 * 0.39])
        assert area[1].nsd == pytest.approx(caps / (sides + caps), abs=0.06)  # but for the larger one's rims
        assert area[1].asd_mm == pytest.approx(1.17 * sides / (sides + caps), rel=0.05)
        assert area[0].nsd > 2 * area[1].nsd
        assert voxels[0].nsd < voxels[1].nsd / 4
        assert area[0].asd_mm < 2 * area[1].asd_mm
        assert voxels[0].asd_mm > 15 * voxels[1].asd_mm

    def test_hausdorff_of_simpleitk(self):
        """HausdorffDistanceImageFilter runs from voxel to voxel; between whole sides the distance is the same."""
        sitk = pytest.importorskip("SimpleITK")
        first, second = box((40, 40, 8), (5, 15), (5, 15), (2, 6)), box((40, 40, 8), (5, 21), (5, 15), (2, 6))
        images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)]
        for image in images:
            image.SetSpacing((5.0, 0.75, 0.5))
        measure = sitk.HausdorffDistanceImageFilter()
        measure.Execute(*images)
        assert measure.GetHausdorffDistance() == pytest.approx(6 * 0.5)
        found = surface_metrics(first, second, (0.5, 0.75, 5.0), 1.0)
        assert found.hd95_mm <= measure.GetHausdorffDistance() + 1e-9
        assert found.hd95_mm == pytest.approx(6 * 0.5)

    def test_empty_and_equal_masks(self):
        mask = box((5, 5, 5), (1, 3), (1, 3), (1, 3))
        empty = np.zeros_like(mask)
        assert surface_metrics(mask, empty, SPACING, 1) == SurfaceMetrics(math.inf, math.inf, 0)
        assert surface_metrics(mask, mask, SPACING, 0) == SurfaceMetrics(0, 0, 1)
        assert math.isnan(surface_metrics(empty, empty, SPACING, 1).nsd)


class TestSlices:
    def test_dice_and_areas(self):
        """Voxels of 0.5 x 0.75 mm: 0.375 mm2. Slice 1: 4 and 4 voxels, 2 shared; 2: reference only; 3: equal."""
        reference, prediction = np.zeros((2, 6, 5, 5), bool)
        reference[1:3, 1:3, 1] = prediction[2:4, 1:3, 1] = True
        reference[1:4, 1, 2] = True
        reference[0, 0, 3] = prediction[0, 0, 3] = True
        found = slice_metrics(reference, prediction, AFFINE)
        assert [each.slice for each in found] == [1, 2, 3]
        assert [each.z_mm for each in found] == [-25, -20, -15]
        assert [each.dice for each in found] == [0.5, 0, 1]
        assert [each.reference_mm2 for each in found] == pytest.approx([1.5, 1.125, 0.375])
        assert [each.prediction_mm2 for each in found] == pytest.approx([1.5, 0, 0.375])

    def test_areas_of_all_slices_make_the_volume(self):
        first, second = blobs()
        found = slice_metrics(first, second, AFFINE)
        assert 5 * sum(each.reference_mm2 for each in found) == pytest.approx(first.sum() * 1.875)
        assert 5 * sum(each.prediction_mm2 for each in found) == pytest.approx(second.sum() * 1.875)

    def test_slices_count_from_the_feet_whatever_the_stored_order(self):
        first, second = blobs()
        n = first.shape[2]
        # Stored from the head down, with x and z exchanged.
        stored = AFFINE @ np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, n - 1], [0, 0, 0, 1]], float)
        turned = [mask[..., ::-1].transpose(2, 1, 0) for mask in (first, second)]
        assert slice_metrics(*turned, stored) == slice_metrics(first, second, AFFINE)

    def test_tilted_slices(self):
        """Turned by 30 degrees about x, areas stay, and z is that of the middle of the slice."""
        c, s = math.cos(math.pi / 6), 0.5
        tilted = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]]) @ np.diag([2.0, 2.0, 5.0, 1.0])
        mask = box((3, 5, 4), (0, 1), (0, 2), (1, 2))
        (found,) = slice_metrics(mask, mask, tilted)
        assert (found.slice, found.dice, found.reference_mm2) == (1, 1, pytest.approx(8))
        assert found.z_mm == pytest.approx(s * 2 * 2 + c * 5)  # j = 2 is the middle of five

    def test_nothing_anywhere(self):
        empty = np.zeros((3, 3, 3), bool)
        assert slice_metrics(empty, empty, AFFINE) == ()
        with pytest.raises(GeometryError, match="against"):
            slice_metrics(empty, empty[..., :2], AFFINE)


def test_volume_errors():
    volumes = [(10.0, 12.0), (10.0, 7.5), (0.0, 1.0), (0.0, 0.0)]
    rows = [("m", str(i), "s", "0", "psoas_major", "left", *[0.5] * 7, *v) for i, v in enumerate(volumes)]
    found = volume_errors(pd.DataFrame(rows, columns=list(COLUMNS)))
    assert list(found["signed_error_ml"]) == [2, -2.5, 1, 0]
    assert list(found["absolute_error_ml"]) == [2, 2.5, 1, 0]
    assert list(found["relative_error_percent"][:3]) == [20, -25, math.inf]
    assert math.isnan(found["relative_error_percent"][3])
    assert tuple(found.columns[:6]) == ID_COLUMNS


def save(path, labels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, affine), path)


@pytest.fixture
def folders(tmp_path):
    """Label 1 (right multifidus) moved by two voxels of 0.5 mm in case a, and not at all in case b."""
    for case, shift in (("a", 2), ("b", 0)):
        for folder, moved in (("ref", 0), ("pred", shift)):
            labels = box((20, 14, 8), (4 + moved, 12 + moved), (3, 11), (2, 6)).astype(np.uint8)
            save(tmp_path / folder / f"{case}.nii.gz", labels)
    return tmp_path


def run(folders, *more):
    paths = ["-ref", folders / "ref", "--pred", f"m={folders / 'pred'}", "-o", folders / "out"]
    return main(["evaluate", *map(str, paths), *more])


def table(folders, name):
    empty_cells = {column: [""] for column in ("hd95_mm", "asd_mm", "nsd")}
    return pd.read_csv(folders / "out" / name, sep="\t", keep_default_na=False, na_values=empty_cells)


def written(folders):
    return {path.name for path in (folders / "out").iterdir()}


class TestCommand:
    def test_without_flags_nothing_is_added(self, folders):
        assert run(folders) == 0
        assert written(folders) == {"metrics.tsv", "metrics.json", "evaluation.json"}
        record = read_record(folders / "out")
        assert (record.files, record.surface_tolerance_mm) == (("metrics.tsv",), None)

    def test_surface(self, folders, capsys):
        assert run(folders, "--surface") == 0
        found = table(folders, "surface.tsv")
        assert tuple(found.columns) == (*ID_COLUMNS, "hd95_mm", "asd_mm", "nsd", "tolerance_mm", "convention")
        assert set(found["convention"]) == {"area"}
        assert len(found) == 12  # 2 cases x 6 labels
        moved, same = (found[(found["case"] == c) & (found["muscle"] == "multifidus")].iloc[0] for c in "ab")
        assert (moved["side"], moved["hd95_mm"], moved["nsd"], moved["tolerance_mm"]) == ("right", 1, 1, 1)
        assert (same["hd95_mm"], same["asd_mm"], same["nsd"]) == (0, 0, 1)
        assert found[found["muscle"] == "psoas_major"][["hd95_mm", "asd_mm", "nsd"]].isna().all(axis=None)
        assert read_record(folders / "out").surface_tolerance_mm == 1
        assert str(folders / "out/surface.tsv") in capsys.readouterr().out

    def test_tolerance(self, folders, capsys):
        assert run(folders, "--surface", "--tolerance-mm", "0.9") == 0
        moved = table(folders, "surface.tsv").iloc[0]
        assert moved["tolerance_mm"] == 0.9
        assert moved["nsd"] < 1
        assert read_record(folders / "out").surface_tolerance_mm == 0.9
        assert run(folders, "--surface", "--surface-convention", "voxels") == 0
        assert set(table(folders, "surface.tsv")["convention"]) == {"voxels"}
        assert read_record(folders / "out").surface_convention == "voxels"
        assert run(folders, "--surface-convention", "area") == 1
        assert "--surface-convention area has no effect without --surface" in capsys.readouterr().err
        assert run(folders, "--tolerance-mm", "2") == 1
        assert "--tolerance-mm 2 has no effect without --surface" in capsys.readouterr().err
        assert run(folders, "--surface", "--tolerance-mm", "-2") == 1
        assert "surface tolerance of -2 mm" in capsys.readouterr().err

    def test_slices(self, folders):
        assert run(folders, "--per-slice") == 0
        found = table(folders, "slices.tsv")
        assert tuple(found.columns) == (*ID_COLUMNS, "slice", "z_mm", "dice", "reference_mm2", "prediction_mm2")
        assert list(found["case"]) == ["a"] * 4 + ["b"] * 4
        assert list(found["slice"]) == [2, 3, 4, 5] * 2
        assert list(found["z_mm"]) == [-20, -15, -10, -5] * 2
        assert list(found["dice"]) == [0.75] * 4 + [1] * 4  # 6 of 8 rows shared
        assert found["reference_mm2"].to_numpy() == pytest.approx(64 * 0.375)

    def test_volumes(self, folders):
        save(folders / "pred/a.nii.gz", box((20, 14, 8), (4, 10), (3, 11), (2, 6)).astype(np.uint8))
        assert run(folders, "--volumes") == 0
        row = table(folders, "volumes.tsv").iloc[0]
        # 256 voxels of 1.875 mm3 against three quarters of them.
        assert float(row["signed_error_ml"]) == pytest.approx(-0.12)
        assert float(row["absolute_error_ml"]) == pytest.approx(0.12)
        assert float(row["relative_error_percent"]) == pytest.approx(-25)

    def test_record_and_metrics(self, folders):
        assert run(folders) == 0
        plain = read_metrics(folders / "out")
        assert run(folders, "--surface", "--per-slice", "--volumes") == 0
        pd.testing.assert_frame_equal(read_metrics(folders / "out"), plain)
        dictionaries = {name.replace(".tsv", ".json") for name in EXTRA_FILES}
        assert written(folders) == {"metrics.tsv", "metrics.json", "evaluation.json", *EXTRA_FILES, *dictionaries}
        for name in ("metrics.tsv", *EXTRA_FILES):
            dictionary = json.loads((folders / "out" / name.replace(".tsv", ".json")).read_text())
            assert list(dictionary) == list(table(folders, name).columns)
            assert all(entry["Description"] for entry in dictionary.values())
        content = json.loads((folders / "out/evaluation.json").read_text())
        assert content["files"] == ["metrics.tsv", "surface.tsv", "slices.tsv", "volumes.tsv"]
        assert content["surface_tolerance_mm"] == 1

    def test_tables_of_an_earlier_evaluation_go(self, folders):
        assert run(folders, "--surface", "--per-slice", "--volumes") == 0
        assert run(folders, "--volumes") == 0
        assert written(folders) & EXTRA_FILES == {"volumes.tsv"}
        assert "surface.json" not in written(folders)

    def test_tables_with_commas_are_read_and_give_way(self, folders):
        """As an earlier release wrote them."""
        assert run(folders) == 0
        plain = read_metrics(folders / "out")
        (folders / "out" / "metrics.tsv").unlink()
        plain.to_csv(folders / "out" / "metrics.csv", index=False)
        pd.testing.assert_frame_equal(read_metrics(folders / "out"), plain)
        assert run(folders) == 0
        assert written(folders) == {"metrics.tsv", "metrics.json", "evaluation.json"}
        pd.testing.assert_frame_equal(read_metrics(folders / "out"), plain)

    def test_post_processing_comes_first(self, folders):
        labels = np.asarray(nibabel.load(folders / "ref/b.nii.gz").dataobj).copy()
        labels[19, 13, 7] = 1
        save(folders / "pred/b.nii.gz", labels)
        assert run(folders, "--per-slice") == 0
        assert 7 in set(table(folders, "slices.tsv")["slice"])
        assert run(folders, "--per-slice", "--post", "largest-component") == 0
        assert 7 not in set(table(folders, "slices.tsv")["slice"])

    def test_stored_orientation_changes_nothing(self, folders):
        assert run(folders, "--surface", "--per-slice") == 0
        before = [table(folders, name) for name in ("surface.tsv", "slices.tsv")]
        flip = np.diag([-1.0, 1, -1, 1])
        flip[:3, 3] = 19, 0, 7
        for path in (folders / "ref/a.nii.gz", folders / "ref/b.nii.gz", folders / "pred/a.nii.gz"):
            save(path, np.asarray(nibabel.load(path).dataobj)[::-1, :, ::-1], AFFINE @ flip)  # LAI; pred/b stays RAS
        assert run(folders, "--surface", "--per-slice") == 0
        for name, table_before in zip(("surface.tsv", "slices.tsv"), before, strict=True):
            pd.testing.assert_frame_equal(table(folders, name), table_before)

    def test_python_needs_a_folder_for_the_files(self, folders):
        with pytest.raises(InputError, match=r"slices\.tsv, volumes\.tsv asked for without an output folder"):
            evaluate(folders / "ref", {"m": folders / "pred"}, per_slice=True, volumes=True)

    def test_number_of_workers_changes_nothing(self, folders):
        found = []
        for workers in ("1", "3"):
            assert run(folders, "--surface", "--per-slice", "--pred", f"n={folders / 'ref'}", "-np", workers) == 0
            found.append([(folders / "out" / name).read_bytes() for name in ("surface.tsv", "slices.tsv")])
        assert found[0] == found[1]
        assert list(table(folders, "slices.tsv")["model"].unique()) == ["m", "n"]
