"""The labelled voxels of a case as one list, from which every measure is counted, and the stack they lie in."""

from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.geometry import check_axial, to_ras
from paraspinal_nnunet.image_io.grey_values import NO_GREY_VALUES, GreyValues, describe_grey_values, has_air_of_ct
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.inputs import Input, Regrid, on_grid
from paraspinal_nnunet.measures.shapes import Stack


@dataclass(frozen=True)
class Voxels:
    """Labelled voxels, one entry each.

    Attributes:
        stack: Where they lie.
        volume: The label map in RAS order.
        index: (n,) place in the flattened (C order) RAS array.
        label: (n,) canonical value.
        slice_index: (n,) from 0 at the feet.
        intensity: (n,) float64, or None without an image.
        image_mean, image_sd: Of the image's nonzero voxels; NaN without an image or where they do not vary.
        water, fat: (n,) float64, or None.
        grey: Of the image.
        is_ct: Whether the image is in Hounsfield units.
    """

    stack: Stack
    volume: np.ndarray
    index: np.ndarray
    label: np.ndarray
    slice_index: np.ndarray
    intensity: np.ndarray | None
    image_mean: float
    image_sd: float
    water: np.ndarray | None
    fat: np.ndarray | None
    grey: GreyValues = NO_GREY_VALUES
    is_ct: bool = False

    def of(self, label: int) -> np.ndarray:
        """(n,) bool: voxels of a structure."""
        return self.label == label

    def per_slice(self, chosen: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """(slices,) how many of the chosen voxels, or the sum of their weights, each slice has."""
        return np.bincount(self.slice_index[chosen], weights, minlength=self.stack.slices)


@dataclass(frozen=True)
class Images:
    """What is measured within the labels; None for what there is not."""

    image: Input | None = None
    water: Input | None = None
    fat: Input | None = None


def gather(labels: Input, images: Images, *, regrid: Regrid = "refuse") -> Voxels:
    """List the labelled voxels with their intensities.

    Args:
        labels: Canonical label map.
        images: What is measured in it.
        regrid: What happens to images on another grid.

    Raises:
        GeometryError: Slices that are not axial, or other grids.
        InputError: Water or fat with negative values.
    """
    check_axial(labels.volume.affine, labels.volume.shape, labels.name)
    array, affine = to_ras(labels.volume.array, labels.volume.affine)
    grid = Volume(array, affine)
    index = np.flatnonzero(array).astype(np.int32 if array.size < 2**31 else np.int64)
    needed = array != 0
    found: dict[str, np.ndarray] = {}
    mean = sd = float("nan")
    grey, is_ct = NO_GREY_VALUES, False
    for what in ("image", "water", "fat"):
        given: Input | None = getattr(images, what)
        if given is None:
            continue
        values = on_grid(given, grid, what, regrid=regrid, needed=needed)
        found[what] = np.ascontiguousarray(values[needed], dtype=np.float64)
        if what == "image":
            mean, sd = _nonzero_statistics(values)
            grey, is_ct = describe_grey_values(values), has_air_of_ct(values)
        elif found[what].min(initial=0.0) < 0:
            raise InputError(f"{given.name}: the {what} image has negative voxels in the muscles; give magnitudes")
    return Voxels(
        stack=Stack(grid.shape, affine),
        volume=array,
        index=index,
        label=array[needed],
        slice_index=(index % array.shape[2]).astype(np.int32),
        intensity=found.get("image"),
        image_mean=mean,
        image_sd=sd,
        water=found.get("water"),
        fat=found.get("fat"),
        grey=grey,
        is_ct=is_ct,
    )


def _nonzero_statistics(values: np.ndarray) -> tuple[float, float]:
    """Mean and SD; plane by plane, since a copy in double precision would be several times the scan."""
    planes = np.moveaxis(values, int(np.argmin(values.shape)), 0)
    count, total = 0, np.float64(0)
    for plane in planes:
        present = plane[plane != 0]
        count, total = count + present.size, total + present.sum(dtype=np.float64)
    if not count:
        return float("nan"), float("nan")
    mean = float(total) / count
    sd = float(np.sqrt(sum(np.square(plane[plane != 0] - mean).sum() for plane in planes) / count))
    return mean, sd if sd > 0 else float("nan")
