"""DICOM SEG as labels: each frame laid on the image's grid by its own geometry, absent ones as background."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paraspinal_nnunet.anatomy import BACKGROUND, BY_KEY
from paraspinal_nnunet.dicom.headers import MOST_VOXELS_PER_BYTE, number, numbers
from paraspinal_nnunet.dicom.packages import get_highdicom
from paraspinal_nnunet.dicom.records import Kind, Series
from paraspinal_nnunet.dicom.segmentation.segments import segment_key
from paraspinal_nnunet.dicom.stack import StackedImage
from paraspinal_nnunet.dicom.voxels import decoded
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError, ParaspinalError, one_line, reason_of
from paraspinal_nnunet.image_io.geometry import RAS_FROM_LPS
from paraspinal_nnunet.image_io.volume import Volume

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

OFF_GRID_TOLERANCE = 0.01
"""Voxel centres of a SEG lie on those of the image within this share of a voxel: positions have few digits."""

WIDER_SLICES = 1.5
"""Ratio of slice distances above which a SEG was drawn on another series."""


def read_segmentation(
    segmentation: Series, image: StackedImage, *, mapping: Mapping[int, str] | None = None, name: str | None = None
) -> Volume:
    """Read a DICOM SEG on the grid of its image.

    Args:
        segmentation: A series of one SEG object.
        image: The image it was drawn on.
        mapping: Segment number -> canonical key or ``'ignore'``; None to go by codes and names.
        name: What messages call it; None for its number and description.

    Returns:
        uint8 labels in the values of `anatomy.STRUCTURES`, on the image's grid.

    Raises:
        InputError: An RTSTRUCT or something else, several objects, fractional values, or a damaged file.
        GeometryError: Another frame of reference or grid, or labels outside the image.
        LabelError: Segments that are unknown or overlap.
    """
    called = name or segmentation.name
    try:
        return _read(segmentation, image, mapping, called)
    except ParaspinalError:
        raise
    except Exception as error:  # whatever the parsers meet in a file is that file's fault
        reason = one_line(error) if isinstance(error, ValueError | RuntimeError) else reason_of(error)
        raise InputError(f"{called}: is a damaged DICOM SEG ({reason}); export it again") from error


def _read(segmentation: Series, image: StackedImage, mapping: Mapping[int, str] | None, called: str) -> Volume:
    seg = _opened(segmentation, called)
    if not image.frame_of_reference_uid or seg.get("FrameOfReferenceUID", "") != image.frame_of_reference_uid:
        raise GeometryError(f"{called}: has another frame of reference than the image; it was drawn on another scan")
    described = [item for item in seg.SegmentSequence if int(item.SegmentNumber) != BACKGROUND]
    keys = {int(item.SegmentNumber): segment_key(item, called, mapping) for item in described}
    _check_distance(seg, image, called)
    planes = _stored_planes(seg, segmentation.files[0], called)
    labels = np.zeros(image.volume.shape, np.uint8)
    overlaps: dict[frozenset[str], int] = {}
    for index, plane in enumerate(planes):
        placed = _placed(plane != 0, _plane_affine(seg, index, called), image.volume, called)
        for segment, mask in _segments_of(seg, index, plane):
            key = keys.get(segment)
            if segment not in keys:
                raise LabelError(f"{called}: frame {index + 1} holds segment {segment}, which is not described")
            if key is not None:
                _draw(labels, placed[:, mask[plane != 0]], BY_KEY[key].label, overlaps)
    if overlaps:
        raise LabelError(_overlap_text(overlaps, called))
    return Volume(labels, image.volume.affine)


def _opened(segmentation: Series, called: str) -> "Segmentation":
    if segmentation.kind is Kind.RTSTRUCT:
        raise InputError(f"{called}: is an RTSTRUCT (contours); export it as DICOM SEG")
    if segmentation.kind is not Kind.SEGMENTATION:
        raise InputError(f"{called}: is no DICOM SEG ({segmentation.header.sop_class})")
    if len(segmentation.files) != 1:
        raise InputError(f"{called}: holds {len(segmentation.files)} SEG objects; keep the one that is meant")
    seg = get_highdicom().seg.segread(segmentation.files[0])
    if "PerFrameFunctionalGroupsSequence" not in seg:
        raise InputError(f"{called}: does not say where its frames lie")
    return seg


def _check_distance(seg: "Segmentation", image: StackedImage, called: str) -> None:
    """Refuse a SEG of slices further apart than the image's: slices that it never saw would count as background.

    A SEG whose distance is that of the image's header repeats it, right or wrong.
    """
    item = _group(seg, 0, "PixelMeasuresSequence")
    drawn_mm = number(None if item is None else item.get("SpacingBetweenSlices"))
    distance_mm = image.volume.spacing_mm[2]
    if drawn_mm and drawn_mm != image.acquisition.get("slice_distance_mm") and drawn_mm > WIDER_SLICES * distance_mm:
        raise GeometryError(
            f"{called}: was drawn on slices {drawn_mm:.4g} mm apart, those of the image are {distance_mm:.4g} "
            "mm apart; it belongs to another series"
        )


def _stored_planes(seg: "Segmentation", path: Path, called: str) -> np.ndarray:
    """(frames, rows, columns) stored values."""
    frames, size = len(seg.PerFrameFunctionalGroupsSequence), len(seg.PixelData)
    if frames * int(seg.Rows) * int(seg.Columns) > 8 * MOST_VOXELS_PER_BYTE * size:
        raise InputError(f"{called}: {frames} frames of {seg.Columns} x {seg.Rows} do not come from {size} bytes")
    syntax = seg.file_meta.TransferSyntaxUID
    pixels = decoded(path, called, str(syntax), None) if syntax.is_compressed else seg.pixel_array
    planes = np.asarray(pixels).reshape(-1, seg.Rows, seg.Columns)
    if len(planes) != len(seg.PerFrameFunctionalGroupsSequence):
        raise InputError(
            f"{called}: {len(planes)} frames, but {len(seg.PerFrameFunctionalGroupsSequence)} descriptions"
        )
    if seg.SegmentationType == "FRACTIONAL" and not set(np.unique(planes)) <= {0, int(seg.MaximumFractionalValue)}:
        raise InputError(f"{called}: holds fractional values, not a mask; export it as BINARY")
    return planes


def _segments_of(seg: "Segmentation", index: int, plane: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(segment number, mask) of a frame; a label map's frame holds several."""
    if seg.SegmentationType == "LABELMAP":
        return [(int(n), plane == n) for n in np.unique(plane) if n != BACKGROUND]
    item = _group(seg, index, "SegmentIdentificationSequence")
    return [(int(item.ReferencedSegmentNumber), plane != 0)]


def _plane_affine(seg: "Segmentation", index: int, called: str) -> np.ndarray:
    """(4, 3): (column, row, 1) of a frame to mm in RAS+."""
    position = numbers(_value(seg, index, "PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = numbers(_value(seg, index, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    spacing = numbers(_value(seg, index, "PixelMeasuresSequence", "PixelSpacing"), 2)
    if position is None or orientation is None or spacing is None:
        raise GeometryError(f"{called}: frame {index + 1} does not say where it lies")
    along_row, along_column = np.array(orientation[:3]) * spacing[1], np.array(orientation[3:]) * spacing[0]
    lps = np.stack([along_row, along_column, np.array(position)], axis=1)
    return np.vstack([RAS_FROM_LPS[:3, :3] @ lps, [0, 0, 1]])


def _placed(mask: np.ndarray, plane_affine: np.ndarray, image: Volume, called: str) -> np.ndarray:
    """(3, n) voxel indices in the image of the n set voxels of a frame, in the frame's order.

    Raises:
        GeometryError: They are not voxels of the image.
    """
    to_voxel = np.linalg.inv(image.affine) @ plane_affine
    steps = np.abs(to_voxel[:3, :2])
    whole = np.rint(steps)
    if np.abs(steps - whole).max() * max(mask.shape) > 0.5 or sorted(whole.sum(axis=0)) != [1, 1]:
        raise GeometryError(f"{called}: its frames have another orientation or voxel size than the image's slices")
    rows, columns = np.nonzero(mask)
    exact = to_voxel[:3] @ np.stack([columns, rows, np.ones_like(rows)])
    indices = np.rint(exact).astype(int)
    if np.abs(exact - indices).max(initial=0) > OFF_GRID_TOLERANCE * 10:
        worst = np.abs(exact - indices).max()
        raise GeometryError(f"{called}: its voxels lie {worst:.2f} voxels beside the image's; it has another grid")
    outside = (indices < 0) | (indices >= np.array(image.shape)[:, None])
    if outside.any():
        raise GeometryError(f"{called}: {int(outside.any(axis=0).sum())} labelled voxels lie outside the image")
    return indices


def _draw(labels: np.ndarray, indices: np.ndarray, value: int, overlaps: dict[frozenset[str], int]) -> None:
    places = tuple(indices)
    before = labels[places]
    for other in np.unique(before[(before != 0) & (before != value)]):
        pair = frozenset((_key_of(int(other)), _key_of(value)))
        overlaps[pair] = overlaps.get(pair, 0) + int((before == other).sum())
    labels[places] = value


def _key_of(label: int) -> str:
    return next(key for key, structure in BY_KEY.items() if structure.label == label)


def _overlap_text(overlaps: Mapping[frozenset[str], int], called: str) -> str:
    pairs = "; ".join(
        f"{' and '.join(sorted(pair))} share {count} voxels"
        for pair, count in sorted(overlaps.items(), key=lambda item: -item[1])
    )
    return f"{called}: segments overlap ({pairs}); every voxel needs one muscle"


def _group(seg: "Segmentation", index: int, sequence: str) -> Any:
    """An item of a frame's own functional group, else of the shared one; None where neither has it."""
    for place in (seg.PerFrameFunctionalGroupsSequence[index], *(seg.get("SharedFunctionalGroupsSequence") or [])):
        if place.get(sequence):
            return place[sequence].value[0]
    return None


def _value(seg: "Segmentation", index: int, sequence: str, keyword: str) -> Any:
    item = _group(seg, index, sequence)
    return None if item is None else item.get(keyword)
