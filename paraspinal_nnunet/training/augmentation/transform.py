"""Which augmented images a fold's training set holds, and the parameters of each, as a pure function of their number.

Source: Methods, Data augmentation. The semantics are those of MONAI 1.6.1's Rand3DElastic with the numbers of
`protocol.Augmentation`, after mirroring the image left to right with a given probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, Side, opposite
from paraspinal_nnunet.errors import DatasetError, ProtocolError
from paraspinal_nnunet.protocol.paper import Augmentation

POOL_STREAM = 2
"""Sets the pool's random numbers apart from those of `sampling.STREAMS`."""

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class ImageTransform:
    """How one augmented image is made from a training case; numbers per axis stand in the order z, y, x.

    Attributes:
        image: Id in the pool, e.g. ``'0017'``.
        case: The training case.
        flip: Whether the case is mirrored left to right before anything else.
        rotation_deg: Angles about the axes; MONAI turns about z first, then y, then x.
        scaling: Factors by which coordinates are multiplied; above 1 the image appears smaller.
        translation_voxels: What is added to coordinates, before the rotation.
        sigma: Standard deviation in voxels of the elastic field's blur; 0 where there is no field.
        magnitude: The elastic field's factor in voxels.
        truncation: Where the blur's kernel ends, in standard deviations.
        space: Coordinates of rotation and scaling, ``'voxel'`` or ``'physical'``.
        entropy: Seeds the elastic field.
    """

    image: str
    case: str
    flip: bool = False
    rotation_deg: Vector = (0.0, 0.0, 0.0)
    scaling: Vector = (1.0, 1.0, 1.0)
    translation_voxels: Vector = (0.0, 0.0, 0.0)
    sigma: float = 0.0
    magnitude: float = 0.0
    truncation: float = 3.0
    space: str = "voxel"
    entropy: tuple[int, ...] = ()

    def matrix(self, spacing_mm: Sequence[float]) -> np.ndarray:
        """The affine map from output to input, both in voxels from the image's centre, shape (4, 4), order z, y, x.

        As MONAI's AffineGrid: rotation @ translation @ scaling. In physical space the rotation is one in mm, so that
        voxels that are no cubes are turned and not sheared; scaling and translation are the same in both spaces.

        Args:
            spacing_mm: (z, y, x); only for physical space.
        """
        rotation = _rotation(self.rotation_deg)
        if self.space == "physical":
            rotation = rotation * np.asarray(spacing_mm) / np.asarray(spacing_mm)[:, None]
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * np.asarray(self.scaling)
        matrix[:3, 3] = rotation @ np.asarray(self.translation_voxels)
        return matrix


@dataclass(frozen=True)
class AugmentedPool:
    """The augmented images of one fold.

    Attributes:
        cases: The fold's training cases; no other case is ever used.
        seed: The protocol's seed.
        fold: nnU-Net's fold; `sampling.FOLD_ALL` for 'all'.
        settings: Ranges and choices.
    """

    cases: tuple[str, ...]
    seed: int
    fold: int
    settings: Augmentation

    def __post_init__(self) -> None:
        if not self.cases:
            raise DatasetError(f"fold {self.fold} has no training cases to augment; run 'paraspinal plan' again")
        for name in ("elastic_sigma", "elastic_magnitude"):
            least, most = getattr(self.settings, name)
            if not least <= most:
                raise ProtocolError(f"augmentation.{name}={least:g},{most:g}: give the smaller number first")

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all images, in order: the augmented ones, then the originals where the settings ask for them."""
        count = self.settings.pool + (len(self.cases) if self.settings.originals else 0)
        digits = max(4, len(str(count - 1)))
        return tuple(f"{number:0{digits}d}" for number in range(count))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The cases in the order in which images go through them, again and again; numbers differ by one at most."""
        cases = sorted(self.cases)
        generator = np.random.default_rng((self.seed, self.fold, POOL_STREAM, 0))
        return tuple(cases[i] for i in generator.permutation(len(cases)))

    def image(self, image_id: str) -> ImageTransform:
        """The case and the transform of one image, the same whenever and wherever it is asked for."""
        number = int(image_id)
        entropy = (self.seed, self.fold, POOL_STREAM, 1 + number)
        if number >= self.settings.pool:
            return ImageTransform(image_id, self.order[number - self.settings.pool], entropy=entropy)
        case = self.order[number % len(self.order)]
        return draw_transform(image_id, case, self.settings, entropy)


def draw_transform(image_id: str, case: str, settings: Augmentation, entropy: tuple[int, ...]) -> ImageTransform:
    """Draw the parameters of one image; the elastic field has a random stream of its own.

    Args:
        image_id: The image's id.
        case: The case that it is made from.
        settings: Ranges and choices.
        entropy: Seeds the draw.
    """
    generator = np.random.default_rng(entropy)
    deformed = bool(generator.random() < settings.probability)
    flip = bool(generator.random() < settings.flip_probability)
    rotation, translation, scaling = (
        _symmetric(generator, limits)
        for limits in (settings.rotation_deg, settings.translation_voxels, settings.scaling_percent)
    )
    sigma, magnitude = (float(generator.uniform(*r)) for r in (settings.elastic_sigma, settings.elastic_magnitude))
    if not deformed:
        return ImageTransform(image_id, case, flip, entropy=entropy)
    return ImageTransform(
        image=image_id,
        case=case,
        flip=flip,
        rotation_deg=rotation,
        scaling=(1 + scaling[0] / 100, 1 + scaling[1] / 100, 1 + scaling[2] / 100),
        translation_voxels=translation,
        sigma=sigma,
        magnitude=magnitude,
        truncation=settings.elastic_truncation,
        space=settings.space,
        entropy=(*entropy, 1),
    )


def exchange_table(labels: Mapping[str, int]) -> dict[int, int]:
    """What each label value becomes when the image is mirrored left to right.

    >>> exchange_table({"background": 0, "multifidus_right": 1, "multifidus_left": 2})
    {0: 0, 1: 2, 2: 1}

    Args:
        labels: Name -> value, as dataset.json has them; names are those of `anatomy`, others have no side.

    Raises:
        DatasetError: A muscle without its other side, or a name that speaks of a side and is not known.
    """
    return {int(value): int(labels[_mirrored_name(name, labels)]) for name, value in labels.items()}


def _mirrored_name(name: str, labels: Mapping[str, int]) -> str:
    if name in BY_KEY:
        other = opposite(BY_KEY[name]).key
        if other not in labels:
            raise DatasetError(
                f"dataset.json has label '{name}' but no '{other}', which it becomes when mirrored; set "
                "augmentation.flip_probability=0"
            )
        return other
    if any(side.value in name.lower() for side in Side):
        raise DatasetError(
            f"dataset.json has label '{name}', whose other side is not known; name labels as 'paraspinal convert' "
            "does or set augmentation.flip_probability=0"
        )
    return name


def _symmetric(generator: np.random.Generator, limits: Sequence[float]) -> Vector:
    z, y, x = (float(generator.uniform(-limit, limit)) for limit in limits)
    return z, y, x


def _rotation(angles_deg: Sequence[float]) -> np.ndarray:
    """Rotation in the order z, y, x of what MONAI's create_rotate makes in the order x, y, z: Rx @ Ry @ Rz."""
    z, y, x = np.deg2rad(angles_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return (about_x @ about_y @ about_z)[::-1, ::-1]
