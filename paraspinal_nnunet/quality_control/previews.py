"""Contact sheets to look a data set through in a minute: a few slices of every case with its labels' outlines."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import maximum_filter, minimum_filter

from paraspinal_nnunet.errors import DatasetError, InputError, one_line
from paraspinal_nnunet.html.viewer.slices import DisplayStack, display_stack, font, overlay_image, slice_image
from paraspinal_nnunet.quality_control.classes import LabelClass
from paraspinal_nnunet.quality_control.dataset import CaseFiles, describe_dataset
from paraspinal_nnunet.quality_control.display import Colour, ShownCase, labelled_slices, legend, load_shown
from paraspinal_nnunet.utils.files import atomic_path
from paraspinal_nnunet.utils.text import pluralize
from paraspinal_nnunet.utils.workers import each

CASES_PER_PAGE = 24
COLUMNS = 3
SLICES = 3
SLICE_PX = (206, 160)
"""Width and height into which a slice is fitted."""

MARGIN_MM = 20.0
"""Shown around the muscles."""

_OUTLINE_WIDTH = 5  # neighbourhood in pixels: two to each side
_GAP, _LINE = 8, 18
_HEADING = "the patient's right (R) is on the left; slices from the feet upwards"


def write_previews(
    dataset_folder: Path,
    output: Path,
    *,
    cases: Sequence[str] | None = None,
    workers: int = 1,
    title: str | None = None,
) -> list[Path]:
    """Write PNG contact sheets of a raw data set, `CASES_PER_PAGE` cases on each.

    Every case shows `SLICES` slices spread over its labelled range, cropped to the muscles, with the outlines of its
    labels and the marks R and L, as radiologists look at them; its id and the slices' numbers stand below. A case
    that cannot be read shows why. One case per process is in memory.

    Args:
        dataset_folder: With dataset.json, imagesTr and labelsTr; it need not have its final name yet.
        output: A file ending in .png (several pages become ``NAME_01.png``, ``NAME_02.png``, ...), or a folder, which
            is created and receives ``previews_01.png`` and so on.
        cases: Ids in the order in which they are shown; None shows all.
        workers: Number of processes.
        title: Heading; the folder's name when None.

    Returns:
        The files, in the order of the pages.

    Raises:
        DatasetError: No readable dataset.json, no case, or a case that the data set does not have.
    """
    dataset = describe_dataset(dataset_folder)
    chosen = _chosen(dataset.cases, cases, dataset.folder.name)
    pages = -(-len(chosen) // CASES_PER_PAGE)
    paths = _paths(Path(output), pages)
    heading = f"{title or dataset.folder.name}: {{}} of {pluralize(len(chosen), 'case')}; {_HEADING}"
    entries = legend(dataset.classes)
    tile = partial(_tile, classes=dataset.classes)
    tiles: list[np.ndarray] = []
    written = 0
    for tile_pixels in each(tile, chosen, workers=workers, what="previews"):
        tiles.append(tile_pixels)
        if len(tiles) == CASES_PER_PAGE or written * CASES_PER_PAGE + len(tiles) == len(chosen):
            first = written * CASES_PER_PAGE + 1
            sheet = _page(heading.format(f"{first} to {first + len(tiles) - 1}"), tiles, entries)
            with atomic_path(paths[written]) as temporary:
                sheet.save(temporary, "PNG")
            tiles, written = [], written + 1
    return paths


def _chosen(known: Sequence[CaseFiles], wanted: Sequence[str] | None, name: str) -> list[CaseFiles]:
    if wanted is None:
        return list(known)
    by_id = {files.case: files for files in known}
    missing = [case for case in wanted if case not in by_id]
    if missing or not wanted:
        raise DatasetError(f"{name}: has no case {missing[0]}" if missing else f"{name}: no case was asked for")
    return [by_id[case] for case in wanted]


def _paths(output: Path, pages: int) -> list[Path]:
    if output.suffix.lower() != ".png":
        return [output / f"previews_{n:02d}.png" for n in range(1, pages + 1)]
    if pages == 1:
        return [output]
    return [output.with_name(f"{output.stem}_{n:02d}{output.suffix}") for n in range(1, pages + 1)]


def _tile_size() -> tuple[int, int]:
    return SLICES * (SLICE_PX[0] + 2), SLICE_PX[1] + _LINE + 2


def _tile(files: CaseFiles, *, classes: Sequence[LabelClass]) -> np.ndarray:
    """One case as uint8 (rows, columns, RGB) of `_tile_size`."""
    picture = Image.new("RGB", _tile_size(), "white")
    draw = ImageDraw.Draw(picture)
    try:
        case = load_shown(files, classes)
    except InputError as error:
        draw.rectangle((0, 0, picture.width - 3, SLICE_PX[1] - 1), fill="#eeeeee")
        _wrapped(draw, one_line(error), picture.width - 12)
        draw.text((0, SLICE_PX[1] + 2), files.case, fill="#b00000", font=font(13))
        return np.asarray(picture)
    places = labelled_slices(case, SLICES)
    colours = {value: colour for value, (_, colour) in legend(classes).items()}
    for n, slice_picture in enumerate(_slices(case, places, colours)):
        x = n * (SLICE_PX[0] + 2) + (SLICE_PX[0] - slice_picture.width) // 2
        picture.paste(slice_picture, (x, (SLICE_PX[1] - slice_picture.height) // 2))
    numbers = ", ".join(str(k + 1) for k in places)
    draw.text((0, SLICE_PX[1] + 2), files.case, fill="black", font=font(13))
    remark = f"slices {numbers} of {case.image.shape[2]}" + ("" if case.labels is not None else "; no labels fit it")
    draw.text((picture.width - 4, SLICE_PX[1] + 3), remark, fill="#606060", font=font(11), anchor="ra")
    return np.asarray(picture)


def _slices(case: ShownCase, places: np.ndarray, colours: Mapping[int, Colour]) -> list[Image.Image]:
    maps = {} if case.labels is None else {"labels": case.labels[:, :, places]}
    stack = display_stack(case.image[:, :, places], maps, case.affine, margin_mm=MARGIN_MM)
    width, height = stack.display_size
    scale = min(SLICE_PX[0] / width, SLICE_PX[1] / height)
    return [_slice(stack, n, max(1, int(height * scale)), colours) for n in range(len(places))]


def _slice(stack: DisplayStack, index: int, height_px: int, colours: Mapping[int, Colour]) -> Image.Image:
    """A slice with outlines two pixels wide, which remain visible on a whole page."""
    picture = slice_image(stack, index, None, height_px=height_px)
    if "labels" in stack.labels:
        plane = Image.fromarray(stack.labels["labels"][index]).resize(picture.size, Image.Resampling.NEAREST)
        labels = np.asarray(plane)
        inside = minimum_filter(labels, _OUTLINE_WIDTH) == maximum_filter(labels, _OUTLINE_WIDTH)
        drawn = overlay_image(np.where(inside, np.uint8(0), labels), colours, fill_opacity=1.0).convert("RGBA")
        picture.paste(drawn.convert("RGB"), mask=drawn.getchannel("A"))
    return picture


def _wrapped(draw: ImageDraw.ImageDraw, text: str, width: int) -> None:
    line, y = "", 6
    for word in text.split(" "):
        longer = f"{line} {word}".strip()
        if line and draw.textlength(longer, font=font(11)) > width:
            draw.text((6, y), line, fill="#b00000", font=font(11))
            line, y = word, y + 14
        else:
            line = longer
    draw.text((6, y), line, fill="#b00000", font=font(11))


def _page(heading: str, tiles: Sequence[np.ndarray], entries: Mapping[int, tuple[str, Colour]]) -> Image.Image:
    width, height = _tile_size()
    columns = min(COLUMNS, max(len(tiles), 2))
    rows = -(-len(tiles) // columns)
    top = _LINE + 2 * _GAP
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, top + rows * (height + _GAP) + 2 * _LINE), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), heading, fill="black", font=font(15))
    for n, pixels in enumerate(tiles):
        place = (_GAP + n % columns * (width + _GAP), top + n // columns * (height + _GAP))
        sheet.paste(Image.fromarray(pixels), place)
    x, y = _GAP, sheet.height - 2 * _LINE + 4
    for name, colour in entries.values():
        needed = 18 + round(draw.textlength(name, font=font(12))) + 14
        if x + needed > sheet.width:
            x, y = _GAP, y + _LINE
        draw.rectangle((x, y + 2, x + 12, y + 14), fill=colour, outline="black")
        draw.text((x + 18, y + 1), name, fill="black", font=font(12))
        x += needed
    return sheet
