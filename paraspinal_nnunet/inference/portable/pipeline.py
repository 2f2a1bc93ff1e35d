"""What a portable model's manifest says of the way from scan to network and back, checked and typed.

Arrays are (z, y, x) as in nnU-Net, after the transposition that its plans ask for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.inference.options import SMALLEST_STEP
from paraspinal_nnunet.models.manifest import (
    LARGEST_PATCH,
    LARGEST_PATCH_VOXELS,
    LARGEST_SPACING_MM,
    SMALLEST_SPACING_MM,
)

READERS = {"NibabelIOWithReorient": True, "SimpleITKIO": False, "NibabelIO": False}
"""nnU-Net's readers -> whether they turn scans to RAS; the others hand the network the stored order of voxels."""

SCHEMES = (
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
PREPROCESSOR = "DefaultPreprocessor"
RESAMPLER = "resample_data_or_seg_to_shape"
LARGEST_MULTIPLE = 1024
"""Networks with more than ten halvings have no patch."""

ACROSS_KEY = "smoothing_across_slices_mm"
"""May be missing: only networks that see one slice at a time have it."""

WIDEST_ACROSS_MM = 20.0

HIGHEST_ORDER, HIGHEST_ORDER_OF_LOGITS = 5, 1


@dataclass(frozen=True)
class Resampling:
    """How one kind of array is resampled.

    Attributes:
        order: Of the spline within slices.
        order_z: Of the spline across the coarse axis, where that is resampled apart.
        force_separate_z: Whether it is; None to decide by the spacing.
    """

    order: int
    order_z: int
    force_separate_z: bool | None


@dataclass(frozen=True)
class Pipeline:
    """Everything between a scan and its label map but the network.

    Attributes:
        reorient: Turn scans to RAS first.
        spacing_mm: The network's, (z, y, x), or (y, x) where slices stay where they are.
        patch_size: Of the tiles: (y, x) or (z, y, x).
        step_size: Between tiles, as a share of the patch.
        size_multiple: Per axis of the patch, what a window's size must be a multiple of.
        normalization: nnU-Net's name of the scheme.
        nonzero_only: Whether the z-score leaves zeros around the body out.
        intensities: Statistics of the training set, for `CTNormalization`.
        transpose_forward: Axes of the array that the network sees.
        transpose_backward: And back.
        data: Resampling of images.
        logits: Resampling of logits.
        across_mm: Standard deviation of the smoothing of logits across slices; 0 for none.
    """

    reorient: bool
    spacing_mm: tuple[float, ...]
    patch_size: tuple[int, ...]
    step_size: float
    size_multiple: tuple[int, ...]
    normalization: str
    nonzero_only: bool
    intensities: Mapping[str, float]
    transpose_forward: tuple[int, ...]
    transpose_backward: tuple[int, ...]
    data: Resampling
    logits: Resampling
    across_mm: float = 0.0

    @property
    def by_slices(self) -> bool:
        """Whether the network takes one slice at a time."""
        return len(self.patch_size) == 2


def read_pipeline(preprocessing: Mapping[str, Any], where: str) -> Pipeline:
    """The pipeline of a manifest's `preprocessing` entry.

    Args:
        preprocessing: The entry.
        where: The model, for messages.

    Raises:
        InputError: Something is missing or wrong, or has no portable form: a reader, preprocessor, normalisation or
            resampling of somebody's own, or more than one channel.
    """
    entry = _Entry(preprocessing, where)
    reader = entry.one_of("image_reader_writer", tuple(READERS))
    entry.one_of("preprocessor", (PREPROCESSOR,))
    if entry.get("channels") != 1:
        raise InputError(f"{where}: takes {entry.get('channels')} channels; portable models take one")
    patch = entry.numbers("patch_size", int, (2, 3))
    if any(size > LARGEST_PATCH for size in patch) or prod(patch) > LARGEST_PATCH_VOXELS:
        entry.fail("patch_size")
    multiple = entry.numbers("size_multiple", int, (len(patch),))
    if any(step > LARGEST_MULTIPLE for step in multiple):
        entry.fail("size_multiple")
    forward, backward = (entry.numbers(f"transpose_{way}", int, (3,)) for way in ("forward", "backward"))
    if (
        sorted(forward) != [0, 1, 2]
        or sorted(backward) != [0, 1, 2]
        or any(forward[axis] != place for place, axis in enumerate(backward))
    ):
        entry.fail("transpose_backward")
    masked = entry.sequence("normalization_nonzero_voxels_only", bool)
    schemes = entry.sequence("normalization", str)
    if schemes[0] not in SCHEMES:
        raise InputError(f"{where}: normalises by '{schemes[0]}', which portable models do not know")
    spacing_mm = entry.numbers("spacing_mm", float, (2, 3))
    if any(not SMALLEST_SPACING_MM <= mm <= LARGEST_SPACING_MM for mm in spacing_mm):
        entry.fail("spacing_mm")
    return Pipeline(
        reorient=READERS[reader],
        spacing_mm=spacing_mm,
        patch_size=patch,
        step_size=entry.step_size(),
        size_multiple=multiple,
        normalization=schemes[0],
        nonzero_only=masked[0],
        intensities=entry.intensities(schemes[0]),
        transpose_forward=forward,
        transpose_backward=backward,
        data=entry.resampling("resampling_data", HIGHEST_ORDER),
        logits=entry.resampling("resampling_probabilities", HIGHEST_ORDER_OF_LOGITS),
        across_mm=entry.across_mm(by_slices=len(patch) == 2),
    )


class _Entry:
    """Typed access to the parsed JSON; every fault names the model and the key."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content, self.where = content, where

    def fail(self, key: str) -> None:
        raise InputError(
            f"{self.where}: preprocessing '{key}' holds {repr(self.content.get(key))[:80]}; export the model again"
        )

    def get(self, key: str) -> Any:
        if key not in self.content:
            raise InputError(f"{self.where}: preprocessing '{key}' is missing; export the model again")
        return self.content[key]

    def one_of(self, key: str, known: Sequence[str]) -> str:
        value = self.get(key)
        if value not in known:
            raise InputError(f"{self.where}: needs {key} '{value}'; portable models know {', '.join(known)} only")
        return str(value)

    def sequence(self, key: str, kind: type) -> list[Any]:
        value = self.get(key)
        if not isinstance(value, (list, tuple)) or not value or any(type(v) is not kind for v in value):
            self.fail(key)
        return list(value)

    def numbers(self, key: str, kind: type, lengths: Sequence[int]) -> tuple[Any, ...]:
        value = self.get(key)
        if not isinstance(value, (list, tuple)) or len(value) not in lengths:
            self.fail(key)
        allowed = (int,) if kind is int else (int, float)
        least = -1 if key.startswith("transpose") else 0
        if any(type(v) not in allowed or not isfinite(v) or v <= least for v in value):
            self.fail(key)
        return tuple(kind(v) for v in value)

    def step_size(self) -> float:
        value = self.get("step_size")
        if type(value) not in (int, float) or not SMALLEST_STEP <= value <= 1:
            self.fail("step_size")
        return float(value)

    def across_mm(self, *, by_slices: bool) -> float:
        value = self.content.get(ACROSS_KEY, 0)
        if type(value) not in (int, float) or not 0 <= value <= WIDEST_ACROSS_MM or (value and not by_slices):
            self.fail(ACROSS_KEY)
        return float(value)

    def intensities(self, scheme: str) -> dict[str, float]:
        value = self.get("intensities")
        found = value[0] if isinstance(value, (list, tuple)) and value else None
        needed = ("mean", "std", "percentile_00_5", "percentile_99_5") if scheme == "CTNormalization" else ()
        if not isinstance(found, dict) or any(type(found.get(k)) not in (int, float) for k in needed):
            self.fail("intensities")
            return {}
        return {k: float(found[k]) for k in needed}

    def resampling(self, key: str, highest: int) -> Resampling:
        value = self.get(key)
        if not isinstance(value, dict):
            self.fail(key)
        name, orders, force = (
            value.get("name"),
            (value.get("order"), value.get("order_z")),
            value.get("force_separate_z"),
        )
        if name != RESAMPLER:
            raise InputError(f"{self.where}: {key} is done by '{name}'; portable models know {RESAMPLER} only")
        sound = all(type(order) is int and 0 <= order <= highest for order in orders)
        if not sound or force not in (None, True, False):
            raise InputError(f"{self.where}: {key} has orders {orders}; portable models know 0 to {highest}")
        return Resampling(orders[0], orders[1], force)
