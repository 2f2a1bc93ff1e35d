"""Measures of boxes and ellipsoids by hand, in every stored orientation, and fat by hand."""

import doctest
import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from statistics import NormalDist

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

import paraspinal_nnunet.measures.case
from paraspinal_nnunet import measure
from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.measures import measure_plots
from paraspinal_nnunet.measures.case import MeasureOptions
from paraspinal_nnunet.measures.comparison import difference_percent
from paraspinal_nnunet.measures.outputs.columns import COLUMNS, TABLES, column_names
from paraspinal_nnunet.measures.outputs.curves import csa_curves, fat_curves, functional_csa_curves, level_marks

SPACING = (0.5, 0.8, 4.0)
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = (-10, -20, -30)
SHAPE = (40, 30, 12)


def boxes():
    """Multifidus right 5 x 6 x 7 voxels, left 4 x 6 x 8; one slice of the right one is smaller."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[25:30, 4:10, 3:10] = 1
    labels[10:14, 4:10, 2:10] = 2
    labels[25:28, 4:10, 3] = 0
    return labels


def grey(labels, seed=0):
    """Whole numbers; a fifth of each muscle is bright."""
    rng = np.random.default_rng(seed)
    image = rng.integers(10, 60, labels.shape)
    inside = labels > 0
    image[inside] = np.where(rng.random(int(inside.sum())) < 0.2, rng.integers(250, 300, inside.sum()), 100)
    return image.astype(np.int16)


def stored(array, affine, codes):
    """The same image with its axes stored in another order and direction."""
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    return apply_orientation(array, turn), affine @ inv_ornt_aff(turn, array.shape)


def all_orientations():
    for axes in itertools.permutations([("R", "L"), ("A", "P"), ("S", "I")]):
        yield from itertools.product(*axes)


def test_boxes_by_hand():
    result = measure(None, (boxes(), AFFINE))
    right = result.structure("multifidus_right")
    assert right.voxels == 5 * 6 * 7 - 3 * 6
    assert right.volume_ml == pytest.approx((210 - 18) * 0.5 * 0.8 * 4 / 1000)
    assert (right.slices, right.first_slice, right.last_slice, right.gap_slices) == (7, 4, 10, 0)
    assert right.length_mm == pytest.approx(28)
    assert right.csa_max_mm2 == pytest.approx(30 * 0.4)
    assert right.csa_max_slice == 5
    assert right.csa_mean_mm2 == pytest.approx((6 * 30 + 12) / 7 * 0.4)
    assert right.csa_mean_mm2 * right.length_mm / 1000 == pytest.approx(right.volume_ml)
    left = result.structure("multifidus_left")
    assert left.volume_ml == pytest.approx(4 * 6 * 8 * 1.6 / 1000)
    rows = result.table("slices").query("muscle == 'multifidus' and side == 'right'")
    assert rows["slice"].tolist() == list(range(4, 11))
    assert rows["z_mm"].tolist() == [-30 + 4.0 * (k - 1) for k in range(4, 11)]
    assert rows["csa_mm2"].to_numpy() == pytest.approx(np.array([12, 30, 30, 30, 30, 30, 30]) * 0.4)
    volumes = result.table("asymmetry").set_index(["muscle", "measure"]).loc[("multifidus", "volume_ml")]
    assert volumes["difference_percent"] == pytest.approx(0.0)  # 192 voxels either side
    assert difference_percent(3.0, 1.0) == 100.0
    assert np.isnan(difference_percent(0.0, 0.0))


def test_gaps_count_in_no_length():
    labels = boxes()
    labels[:, :, 6] = 0
    right = measure(None, (labels, AFFINE)).structure("multifidus_right")
    assert (right.slices, right.gap_slices, right.length_mm, right.pieces) == (6, 1, 24.0, 2)
    assert right.fragments_ml == pytest.approx((30 * 2 + 12) * 1.6 / 1000)


def test_ellipsoid():
    """Semi-axes 15, 10 and 40 mm: 4/3 pi abc, and pi ab across its middle."""
    axes = np.array([15.0, 10.0, 40.0])
    spacing = np.array([0.5, 0.5, 2.0])
    place = (np.indices((70, 50, 44)).reshape(3, -1).T - (34.5, 24.5, 21.5)) * spacing
    labels = ((place / axes) ** 2).sum(axis=1).reshape(70, 50, 44) <= 1
    found = measure(None, (labels.astype(np.uint8), np.diag([*spacing, 1.0]))).structure("multifidus_right")
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * axes.prod() / 1000, rel=0.005)
    assert found.csa_max_mm2 == pytest.approx(np.pi * 15 * 10, rel=0.005)
    assert found.length_mm == pytest.approx(80)


def levels_map():
    """L4 below, L4-L5 would be lower still: values of TotalSpineSeg."""
    levels = np.zeros(SHAPE, np.int16)
    levels[18:22, 15:20, 1:3] = 95
    levels[18:22, 15:20, 3:8] = 44
    levels[18:22, 15:20, 8:10] = 94
    levels[18:20, 10:12, 1:3] = 44  # a spinous process beside the disc: fewer voxels than the disc
    return levels


def test_stored_order_does_not_matter():
    labels, image, levels = boxes(), grey(boxes()), levels_map()
    labels[30:33, 20:25, 4:9], labels[5:8, 20:24, 4:9] = 5, 6
    tilt = np.deg2rad(12)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = turned @ AFFINE
    expected = None
    for place, codes in enumerate(all_orientations()):
        others = list(all_orientations())[(place * 7) % 48]
        result = measure(
            stored(image, affine, codes), stored(labels, affine, others), levels=stored(levels, affine, codes), case="c"
        )
        tables = {name: result.table(name) for name in TABLES}
        expected = expected or tables
        for name in TABLES:
            pd.testing.assert_frame_equal(tables[name], expected[name], rtol=1e-9)
    assert len(expected["levels"]) == 6 * 3


def test_a_mirrored_person_has_the_other_sides_numbers():
    labels, image = fat_by_hand()
    swap = np.array([0, 2, 1], np.uint8)
    here = measure((image, AFFINE), (labels, AFFINE), fat_per="side", case="c")
    there = measure((image[::-1], AFFINE), (swap[labels][::-1], AFFINE), fat_per="side", case="c")
    for key, other in (("multifidus_right", "multifidus_left"), ("multifidus_left", "multifidus_right")):
        one, two = here.structure(key), there.structure(other)
        assert (one.volume_ml, one.csa_max_mm2, one.intensity_mean) == (
            two.volume_ml,
            two.csa_max_mm2,
            two.intensity_mean,
        )
        assert one.fat == two.fat
    for one, two in zip(here.asymmetry, there.asymmetry, strict=True):
        assert one.difference_percent == pytest.approx(-two.difference_percent, nan_ok=True)
    assert any(each.difference_percent > 0 or each.difference_percent < 0 for each in here.asymmetry)


def test_oblique_slices_are_the_stacks_own():
    tilt = np.deg2rad(25)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    straight, oblique = (measure(None, (boxes(), a)).structure("multifidus_left") for a in (AFFINE, turned @ AFFINE))
    for name in ("volume_ml", "length_mm", "csa_mean_mm2", "csa_max_mm2"):
        assert getattr(oblique, name) == pytest.approx(getattr(straight, name), rel=1e-12)


def test_sagittal_slices_are_refused():
    with pytest.raises(GeometryError, match="slices are sagittal"):
        measure(None, (boxes(), np.diag([4.0, 0.5, 0.5, 1.0])))


def test_every_kind_of_input_gives_the_same(tmp_path):
    labels, image = boxes(), grey(boxes())
    images = [(array, AFFINE) for array in (image, labels)]
    as_nibabel = [nibabel.Nifti1Image(array, AFFINE) for array in (image, labels)]
    paths = [tmp_path / "case.nii.gz", tmp_path / "labels.nii.gz"]
    for path, picture in zip(paths, as_nibabel, strict=True):
        nibabel.save(picture, path)
    as_sitk = [sitk.ReadImage(str(path)) for path in paths]
    expected = measure(*images, case="c").table()
    for given in (as_nibabel, paths, as_sitk, [str(p) for p in paths]):
        pd.testing.assert_frame_equal(measure(*given, case="c").table(), expected, rtol=1e-6)
    assert measure(*paths).case == "labels"
    with pytest.raises(InputError, match="a int cannot be measured"):
        measure(None, 3)
    with pytest.raises(InputError, match="1 of 14400 voxels are NaN"):
        broken = image.astype(float)
        broken[0, 0, 0] = np.nan
        measure((broken, AFFINE), images[1])
    with pytest.raises(LabelError, match="holds the label 91"):
        measure(None, (labels + 90 * (labels == 1).astype(np.uint8), AFFINE))
    scheme = {91: 1, 2: 2}
    renamed = measure(None, (labels + 90 * (labels == 1).astype(np.uint8), AFFINE), label_values=scheme, case="c")
    assert renamed.structure("multifidus_right").voxels == 192


def fat_by_hand():
    """Right: 150 voxels of 10 and 42 of 90; left: 96 of 30 and 96 of 200."""
    labels = boxes()
    image = np.zeros(SHAPE, np.int16)
    image[labels == 1] = [10] * 150 + [90] * 42
    image[labels == 2] = [30] * 96 + [200] * 96
    return labels, image


def test_fat_pools_both_sides_or_takes_each():
    labels, image = fat_by_hand()
    given = ((image, AFFINE), (labels, AFFINE))
    pooled = measure(*given, fat_methods=("otsu",)).structure("multifidus_right").fat_by("otsu")
    assert pooled.threshold == 90  # the split 10, 30, 90 | 200 has the largest variance between classes
    assert pooled.fat_fraction == 0.0
    alone = measure(*given, fat_per="side", fat_methods=("otsu",)).structure("multifidus_right")
    fat = alone.fat_by("otsu")
    assert (fat.threshold, fat.fat_fraction) == (10, 42 / 192)
    assert fat.fat_volume_ml == pytest.approx(42 * 1.6 / 1000)
    assert fat.fat_volume_ml + fat.lean_volume_ml == pytest.approx(alone.volume_ml)
    assert fat.functional_csa_mean_mm2 == pytest.approx(150 * 0.4 / 7)


def test_voxels_equal_to_the_threshold_are_lean_in_numbers_and_maps():
    labels, image = fat_by_hand()
    found = paraspinal_nnunet.measures.case.measure_with_maps(
        {"image": (image, AFFINE)}, (labels, AFFINE), options=MeasureOptions(fat_methods=("otsu",))
    )
    drawn = found.fat_maps()["otsu"].array
    right, left = (found.measures.structure(f"multifidus_{s}") for s in ("right", "left"))
    equal = image == right.fat_by("otsu").threshold
    assert (drawn[equal & (labels > 0)] == 1).all()
    assert equal[labels == 1].sum() == 42
    assert (drawn[labels == 1] == 2).mean() == right.fat_by("otsu").fat_fraction == 0
    assert (drawn[labels == 2] == 2).mean() == left.fat_by("otsu").fat_fraction == 0.5
    assert set(np.unique(drawn[labels == 0])) == {0}


def test_functional_area_of_a_slice():
    labels, image = fat_by_hand()
    result = measure((image, AFFINE), (labels, AFFINE), fat_methods=("otsu", "kmeans"), levels={"L4": 5, "L3": 8})
    rows = result.table("slices").query("side == 'left'")
    bright = [(image[:, :, k] > 90)[labels[:, :, k] == 2].sum() for k in range(2, 10)]
    assert rows["functional_csa_otsu_mm2"].to_numpy() == pytest.approx((24 - np.array(bright)) * 0.4)
    at = result.table("levels").query("side == 'left' and muscle == 'multifidus'").set_index("level")
    assert at.index.tolist() == ["L3", "L4"]
    assert at.loc["L4", "functional_csa_mid_kmeans_mm2"] == pytest.approx((24 - bright[2]) * 0.4)
    assert at["csa_mid_mm2"].tolist() == pytest.approx([9.6, 9.6])
    assert at["volume_ml"].isna().all()


def test_dixon_by_hand():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[4, 3, 2:6] = 1
    water, fat = np.zeros((2, 6, 6, 6), np.float32)
    water[4, 3, 2:6], fat[4, 3, 2:6] = (1, 3, 0, 4), (1, 1, 0, 0)
    given = {"water": (water, AFFINE), "fat": (fat, AFFINE)}
    found = measure(None, (labels, AFFINE), **given).structure("multifidus_right")
    dixon = found.fat_by("dixon")
    assert dixon.fat_fraction == pytest.approx((1 / 2 + 1 / 4 + 0) / 3)
    assert dixon.zero_signal_voxels == 1
    assert dixon.fat_volume_ml == pytest.approx(0.25 * 4 * 1.6 / 1000)
    assert dixon.functional_csa_max_mm2 == pytest.approx(0.4)
    assert np.isnan(dixon.threshold)
    with pytest.raises(InputError, match="needs both the water and the fat image"):
        measure(None, (labels, AFFINE), water=given["water"])
    with pytest.raises(InputError, match="the water image has negative voxels"):
        measure(None, (labels, AFFINE), fat=given["fat"], water=(-water, AFFINE))
    with pytest.raises(InputError, match="the water and the fat image are the same in all muscles"):
        measure(None, (labels, AFFINE), fat=given["water"], water=given["water"])


def test_missing_muscles_and_constant_intensities_have_reasons():
    labels = boxes()
    result = measure((np.full(SHAPE, 5.0), AFFINE), (labels, AFFINE), fat_methods=("otsu", "gmm"))
    table = result.table().set_index(["muscle", "side"])
    assert table.loc[("multifidus", "right"), "reason_gmm"] == "all 384 voxels have the intensity 5"
    assert table.loc[("psoas_major", "left"), "reason_otsu"] == "no voxels"
    assert table.loc[("psoas_major", "left"), "volume_ml"] == 0
    assert pd.isna(table.loc[("psoas_major", "left"), "csa_max_slice"])
    assert pd.isna(table.loc[("multifidus", "right"), "fat_fraction_otsu"])
    assert "NaN" not in json.dumps(result.to_json())


def test_muscles_that_are_looked_for():
    labels = boxes()
    assert len(measure(None, (labels, AFFINE)).structures) == 6
    assert len(measure(None, (labels, AFFINE), muscles=(Muscle.MULTIFIDUS,)).structures) == 2
    labels[30:33, 20:25, 4:9] = 7
    assert len(measure(None, (labels, AFFINE)).structures) == 8
    coarse = measure(None, (np.where(labels == 1, 9, 0), AFFINE))
    assert [s.structure.key for s in coarse.structures] == [
        f"erector_spinae_and_multifidus_{side}" for side in ("right", "left")
    ]
    assert coarse.structures[0].cohort.note == "the paper has no volume of this muscle"


def test_other_grids():
    labels, image = boxes(), grey(boxes())
    moved = AFFINE.copy()
    moved[0, 3] += 0.25
    with pytest.raises(GeometryError, match="not on the labels' grid"):
        measure((image, moved), (labels, AFFINE))
    same = measure((image, moved), (labels, AFFINE), regrid="by-voxel", case="c").table()
    pd.testing.assert_frame_equal(same, measure((image, AFFINE), (labels, AFFINE), case="c").table())
    ramp = np.indices(SHAPE)[0] * 10.0  # 20 per mm along x: linear interpolation is exact
    shifted = measure((ramp, moved), (labels, AFFINE), regrid="resample").structure("multifidus_left")
    assert shifted.intensity_mean == pytest.approx(ramp[labels == 2].mean() - 0.25 * 20)
    far = AFFINE.copy()
    far[0, 3] += 1000
    with pytest.raises(GeometryError, match="384 of 384 labelled voxels lie outside the image"):
        measure((image, far), (labels, AFFINE), regrid="resample")
    with pytest.raises(GeometryError, match="cannot be taken voxel by voxel"):
        measure((image[1:], AFFINE), (labels, AFFINE), regrid="by-voxel")
    with pytest.raises(InputError, match="regrid 'maybe' is unknown"):
        measure((image, AFFINE), (labels, AFFINE), regrid="maybe")


def test_percentile_from_the_printed_mean_and_sd():
    """Results: multifidus right 119.9 (25.7) ml. A voxel of 1 ml: 146 voxels are (146 - 119.9) / 25.7 SD above."""
    labels = np.zeros((20, 20, 40), np.uint8)
    labels.reshape(-1)[:146] = 1
    found = measure(None, (labels, np.diag([10.0, 10.0, 10.0, 1.0]))).structure("multifidus_right").cohort
    assert found.z == pytest.approx(26.1 / 25.7)
    assert found.percentile == pytest.approx(100 * NormalDist(119.9, 25.7).cdf(146))
    assert found.note == ""
    short = measure(None, (boxes(), AFFINE)).structure("multifidus_right").cohort
    assert short.note == "the stack is 48 mm long, the paper's about 320 mm: volumes are smaller for that alone"


def test_tables_have_the_declared_columns():
    labels, image = fat_by_hand()
    given = {"water": (9 * image, AFFINE), "fat": (image, AFFINE)}
    result = measure((image, AFFINE), (labels, AFFINE), levels={"L4": 5}, fat_methods=("otsu", "gmm"), **given)
    assert result.methods == ("otsu", "gmm", "dixon")
    record = result.to_json()
    for name in TABLES:
        assert tuple(result.table(name).columns) == column_names(name, result.methods)
        for row in record[name]:
            assert set(row) == set(column_names(name, result.methods))
        assert all(column.definition for column in COLUMNS[name])
    assert len(record["measures"]) == 6
    assert record["settings"]["voxels_equal_to_the_threshold"] == "lean"
    with pytest.raises(KeyError):
        result.table("none")
    with pytest.raises(InputError, match="fat by 'mean' is unknown"):
        measure((image, AFFINE), (labels, AFFINE), fat_methods=("mean",))


def test_curves_and_plot():
    labels, image = fat_by_hand()
    labels[:, :, 6][labels[:, :, 6] == 1] = 0
    result = measure((image, AFFINE), (labels, AFFINE), levels={"L4": 4, "L3": 9}, case="<b>&'", fat_methods=("otsu",))
    areas = {c.key: c for c in csa_curves(result)}
    right = areas["multifidus_right"]
    assert right.z_mm.tolist() == [-30 + 4.0 * k for k in range(3, 10)]
    assert right.values / 0.4 == pytest.approx([12, 30, 30, np.nan, 30, 30, 30], nan_ok=True)
    assert not right.dashed
    assert areas["multifidus_left"].dashed
    assert fat_curves(result, "otsu")[1].values.mean() == pytest.approx(0.5)
    assert functional_csa_curves(result, "otsu")[1].values.mean() == pytest.approx(4.8)
    assert [(m.name, m.z_mm) for m in level_marks(result)] == [("L3", 2.0), ("L4", -18.0)]
    root = ET.fromstring(measure_plots(result))
    tag = "{http://www.w3.org/2000/svg}"
    lines = root.findall(f".//{tag}polyline")
    assert len(lines) == 2 * (2 + 1)  # the gap cuts the right curve in two, in area and in fat
    assert sum("stroke-dasharray" in line.attrib for line in lines) == 2
    texts = [t.text for t in root.iter(f"{tag}text")]
    assert {"<b>&'", "L3", "L4", "Multifidus", "area (mm²)", "fat fraction (Otsu)"} <= set(texts)
    low, high = (min(float(p.split(",")[1]) for p in lines[k].get("points").split()) for k in (0, 1))
    assert high < low  # the piece nearer to the head is drawn higher
    assert len(ET.fromstring(measure_plots(measure(None, (labels, AFFINE)))).findall(f".//{tag}polyline")) == 3
    empty = measure(None, (np.zeros(SHAPE, np.uint8), AFFINE))
    assert "no muscle was found" in measure_plots(empty)
    with pytest.raises(KeyError):
        measure_plots(result, method="gmm")


def test_examples_run():
    for name in ("case", "thresholds", "comparison", "level_names"):
        module = __import__(f"paraspinal_nnunet.measures.{name}", fromlist=["_"])
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0


def test_importing_the_package_stays_light():
    code = "import sys, paraspinal_nnunet; assert not {'numpy', 'nibabel', 'pandas', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "measure" in dir(paraspinal_nnunet)
    with pytest.raises(AttributeError):
        _ = paraspinal_nnunet.no_such_thing


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_voxels_of_metres_or_micrometres_are_refused_where_no_unit_says_so(factor):
    labels = np.ones((6, 6, 6), np.uint8)
    affine = AFFINE @ np.diag([factor, factor, factor, 1])
    with pytest.raises(GeometryError, match=r"mm are impossible \(expected 0\.02 to 60\); does the header count in an"):
        measure(None, (labels, affine))
