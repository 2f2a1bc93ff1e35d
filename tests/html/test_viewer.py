"""The overlay viewer: which way slices face, colours, differences, sizes, and names that try to break the page."""

import base64
import io
import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.html.viewer.colours import DIFFERENCES, LABEL_COLOURS, hex_colour
from paraspinal_nnunet.html.viewer.page import contact_sheet, viewer_html, viewer_page
from paraspinal_nnunet.html.viewer.slices import (
    ViewerCase,
    difference_map,
    display_stack,
    overlay_image,
    render_slices,
    slice_image,
)

SHAPE = (20, 16, 4)
AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])  # RAS, voxels of 1 x 2 x 5 mm


def labels_ras() -> np.ndarray:
    """Multifidus right at large x, left at small x, both posterior (small y); psoas right in front; slices 1 and 2."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[14:18, 2:5, 1:3] = 1
    labels[2:6, 2:5, 1:3] = 2
    labels[14:18, 11:14, 1:3] = 5
    return labels


def image_ras() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, SHAPE).astype(np.int16)


def case(name: str = "case", **more) -> ViewerCase:
    return ViewerCase(name, image_ras(), AFFINE, labels_ras(), {"model": np.roll(labels_ras(), 1, axis=1)}, **more)


def data_of(fragment: str) -> list[dict]:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', fragment, re.DOTALL)[1])


def picture_of(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def stored(array: np.ndarray, order: str) -> tuple[np.ndarray, np.ndarray]:
    """The RAS array stored in another orientation, with the affine that says so."""
    import nibabel

    ornt = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(order)
    )
    image = nibabel.Nifti1Image(array, AFFINE).as_reoriented(ornt)
    return np.asarray(image.dataobj), image.affine


class TestDisplay:
    @pytest.mark.parametrize("order", ["RAS", "LPS", "LAS", "SAR", "PIR"])
    def test_patients_right_is_on_the_viewers_left_and_front_is_up(self, order):
        image, affine = stored(image_ras(), order)
        labels, _ = stored(labels_ras(), order)
        stack = display_stack(image, {"reference": labels}, affine)
        assert stack.grey.shape == (4, 16, 20)
        plane = stack.labels["reference"][1]
        rows, columns = np.nonzero(plane == 1)
        # x 14..17 of 0..19 becomes column 19 - x, y 2..4 of 0..15 becomes row 15 - y.
        assert (columns.min(), columns.max(), rows.min(), rows.max()) == (2, 5, 11, 13)
        assert np.nonzero(plane == 2)[1].min() == 14
        assert np.nonzero(plane == 5)[0].max() == 4
        assert stack.pixel_mm == (2.0, 1.0)
        assert stack.display_size == (20, 32)

    def test_slices_run_from_the_feet_upwards(self):
        image, affine = stored(image_ras(), "LPI")
        stack = display_stack(image, {}, affine)
        assert stack.numbers == (1, 2, 3, 4)
        assert stack.positions_mm == pytest.approx((0, 5, 10, 15))

    def test_cropping_keeps_the_margin(self):
        stack = display_stack(image_ras(), {"reference": labels_ras()}, AFFINE, margin_mm=2)
        # x 2..17 and 2 voxels of 1 mm on each side: 20; y 2..13 and 1 voxel of 2 mm on each side: 14.
        assert stack.grey.shape == (4, 14, 20)
        whole = display_stack(image_ras(), {"reference": np.zeros(SHAPE, np.uint8)}, AFFINE, margin_mm=2)
        assert whole.grey.shape == (4, 16, 20)

    def test_choosing_slices(self):
        assert display_stack(image_ras(), {}, AFFINE, most_slices=2).numbers == (2, 3)
        assert display_stack(image_ras(), {}, AFFINE, most_slices=9).numbers == (1, 2, 3, 4)

    def test_grey_values_survive_outliers_and_nan(self):
        image = image_ras().astype(np.float32)
        image[0, 0, 0], image[1, 1, 1] = np.nan, 1e6
        grey = display_stack(image, {}, AFFINE).grey
        assert grey.max() == 255
        assert 60 < grey.mean() < 200
        assert display_stack(np.zeros(SHAPE), {}, AFFINE).grey.max() == 0

    def test_label_map_of_another_shape(self):
        with pytest.raises(GeometryError, match=r"reference has shape \(20, 16, 3\)"):
            display_stack(image_ras(), {"reference": labels_ras()[..., :3]}, AFFINE)


class TestPictures:
    def test_overlay_has_the_colours_of_the_muscles_and_is_clear_elsewhere(self):
        plane = display_stack(image_ras(), {"r": labels_ras()}, AFFINE).labels["r"][1]
        drawn = np.asarray(overlay_image(plane).convert("RGBA"))
        assert (drawn[plane == 0][:, 3] == 0).all()
        for label in (1, 2, 5):
            assert (drawn[plane == label][:, :3] == LABEL_COLOURS[label]).all()
        # The squares are 4 x 3 pixels: 2 inner ones are filled lightly, 10 outline it.
        opacity = drawn[plane == 1][:, 3]
        assert sorted(opacity) == [97] * 2 + [242] * 10  # 0.38 and 0.95 of 255

    def test_unknown_label_is_grey(self):
        drawn = np.asarray(overlay_image(np.full((3, 3), 77, np.uint8)).convert("RGBA"))
        assert (drawn[..., :3] == 200).all()

    def test_render_slices(self):
        found = render_slices(image_ras(), {"reference": labels_ras()}, AFFINE)
        assert list(found) == ["reference"]
        assert len(found["reference"]) == 4
        picture = Image.open(io.BytesIO(found["reference"][1]))
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (20, 32))
        bare = render_slices(image_ras(), {}, AFFINE, most_slices=1, height_px=64)
        assert Image.open(io.BytesIO(bare["image"][0])).size == (40, 64)

    def test_outlined_leaves_the_inside_as_it_is(self):
        stack = display_stack(image_ras(), {"r": labels_ras()}, AFFINE)
        bare, outlined, filled = (
            np.asarray(slice_image(stack, 1, overlay, height_px=160, outlined=outlined))
            for overlay, outlined in ((None, False), ("r", True), ("r", False))
        )
        # A pixel of 1 x 2 mm becomes 5 x 10: the right multifidus has columns 10 to 29 and rows 110 to 139.
        inside = (slice(114, 136), slice(14, 26))
        assert (bare[inside] == outlined[inside]).all()
        assert not (bare[inside] == filled[inside]).all()

    def test_letters_are_drawn_on_both_sides(self):
        picture = np.asarray(slice_image(display_stack(np.zeros((200, 100, 1)), {}, AFFINE), 0, None))
        white = np.nonzero((picture > 200).all(axis=-1))[1]
        assert white.size
        assert set(white // 20) == {0, 9}  # 200 columns: the first and the last tenth only

    def test_difference_map(self):
        reference = np.array([0, 1, 1, 0, 3], np.uint8)
        prediction = np.array([0, 1, 0, 2, 4], np.uint8)
        assert difference_map(reference, prediction).tolist() == [0, 0, 1, 2, 3]
        assert [value for value, _, _ in DIFFERENCES] == [1, 2, 3]


class TestPage:
    def test_choices_and_legend(self):
        (shown,) = data_of(viewer_html([case(caption="Dice 0.7")], "Title"))
        assert [o["name"] for o in shown["overlays"]] == ["none", "reference", "model", "difference"]
        assert shown["overlays"][1]["legend"] == [
            {
                "value": BY_KEY[key].label,
                "name": BY_KEY[key].display_name,
                "colour": hex_colour(LABEL_COLOURS[BY_KEY[key].label]),
            }
            for key in ("multifidus_right", "multifidus_left", "psoas_major_right")
        ]
        assert shown["caption"] == "Dice 0.7"
        assert [s["number"] for s in shown["slices"]] == [1, 2, 3, 4]
        assert [o["opacity"] for o in shown["overlays"]] == [0.38, 0.38, 0.38, 0.75]
        assert shown["overlays"][0]["labels"] == ""

    def test_labels_lie_on_the_slices(self):
        (shown,) = data_of(viewer_html([case()], "Title", margin_mm=None))
        assert (shown["columns"], shown["rows"]) == picture_of(shown["slices"][1]["image"]).size == SHAPE[:2]
        content = zlib.decompress(base64.b64decode(shown["overlays"][1]["labels"]))
        labels = np.frombuffer(content, np.uint8).reshape(4, 16, 20)
        assert not labels[0].any()  # nothing is labelled in the lowest slice
        # Columns count from the patient's right, rows from the front: x 14-17 of 20 and y 2-4 of 16.
        assert labels[1, 11, 2] == labels[1, 13, 5] == 1
        assert labels[1, 11, 14] == 2
        assert labels[1, 2, 2] == 5

    def test_black_and_white_are_told_in_the_scans_units(self):
        (shown,) = data_of(viewer_html([ViewerCase("c", image_ras() * 10, AFFINE)], "Title"))
        assert shown["window"] == [pytest.approx(v, rel=1e-3) for v in np.percentile(image_ras() * 10, (1, 99.5))]

    def test_two_predictions_and_none(self):
        both = ViewerCase("c", image_ras(), AFFINE, labels_ras(), {"a": labels_ras(), "b": labels_ras()})
        alone = ViewerCase("c", image_ras(), AFFINE, None, {"a": labels_ras()})
        names = [[o["name"] for o in shown["overlays"]] for shown in data_of(viewer_html([both, alone], "T"))]
        assert names == [["none", "reference", "a", "b", "difference of a", "difference of b"], ["none", "a"]]

    def test_names_cannot_break_the_page(self):
        evil = "</script><b>&\"'<!--ü"
        page = viewer_page([case(evil, caption=evil)], evil)
        assert "<b>" not in page
        assert "<!--" not in page
        assert page.count("</script>") == 3  # the mark of running programs, the data and the program
        assert page.isascii()
        (shown,) = data_of(page)
        assert (shown["name"], shown["caption"]) == (evil, evil)
        assert "&lt;/script&gt;&lt;b&gt;&amp;" in page

    def test_nothing_is_fetched(self):
        page = viewer_page([case()], "Title")
        assert not re.search(r"https?://|@import|url\(|href", page)
        assert set(re.findall(r"src\s*=\s*[\"'](\w*:?)", page)) == {"data:"}

    def test_names_reach_the_page_as_text_only(self):
        assert "innerHTML" not in viewer_html([case()], "Title")

    def test_four_cases_of_sixteen_slices_stay_below_three_megabytes(self):
        generator = np.random.default_rng(0)
        labels = np.zeros((128, 128, 16), np.uint8)
        for label in range(1, 7):
            labels[15 * label : 15 * label + 14, 40:80] = label
        images = generator.integers(0, 999, (4, *labels.shape))
        models = {"m": np.roll(labels, 1, 0)}
        cases = [ViewerCase(f"c{i}", image, np.eye(4), labels, models) for i, image in enumerate(images)]
        assert len(viewer_html(cases, "Noise, the worst case", margin_mm=None)) < 3e6

    def test_no_cases(self):
        with pytest.raises(InputError, match="at least one case"):
            viewer_html([], "Title")
        with pytest.raises(InputError, match="at least one case"):
            contact_sheet([])


class TestContactSheet:
    def test_rows_and_colours(self):
        sheet = contact_sheet([case("one"), case("two")], slices=2, height_px=80, title="Sheet")
        # Title 26, two rows of 20 + 80 + 6, legend 40, gap 6.
        assert sheet.height == 26 + 2 * 106 + 46
        pixels = np.asarray(sheet).reshape(-1, 3)
        for key in ("multifidus_right", "multifidus_left", "psoas_major_right"):
            found = (pixels == LABEL_COLOURS[BY_KEY[key].label]).all(axis=1)
            assert found.sum() >= 100  # at least the legend's 11 x 11 square
        assert not (pixels == LABEL_COLOURS[6]).all(axis=1).any()

    def test_without_overlay(self):
        pixels = np.asarray(contact_sheet([case()], overlay=None)).reshape(-1, 3)
        assert (pixels == pixels[:, :1]).all()  # grey throughout


@pytest.mark.real_data
def test_real_scan_faces_the_right_way():
    root = os.environ.get("PARASPINAL_REAL_DATA")
    if not root:
        pytest.skip("PARASPINAL_REAL_DATA is not set")
    import nibabel

    image, labels = (nibabel.load(Path(root) / f"abdomen01_{name}.nii.gz") for name in ("image", "dseg"))
    stack = display_stack(
        np.asarray(image.dataobj), {"reference": np.asarray(labels.dataobj).astype(np.uint8)}, image.affine
    )
    shown = stack.labels["reference"]
    for right, left in ((1, 2), (3, 4), (5, 6)):
        assert np.nonzero(shown == right)[2].mean() < np.nonzero(shown == left)[2].mean()
    assert np.nonzero(shown == 5)[1].mean() < np.nonzero(shown == 1)[1].mean()  # psoas lies in front of multifidus
