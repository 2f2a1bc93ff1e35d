"""Measuring one case: muscles' sizes and fat, per slice and level, compared between the sides and with the paper."""

import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import ALL_STRUCTURES, BY_LABEL, COARSE, PARASPINAL, Muscle, Structure
from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.geometry import from_ras
from paraspinal_nnunet.image_io.images import stem_of
from paraspinal_nnunet.image_io.masks.label_names import canonical_by_names
from paraspinal_nnunet.image_io.nibabel_alone import nib
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.comparison import asymmetries
from paraspinal_nnunet.measures.counting import count, measure_levels, measure_slices, measure_structure
from paraspinal_nnunet.measures.fat import FAT_PER, FatPer, FatShares, fat_map, fat_shares
from paraspinal_nnunet.measures.inputs import REGRIDS, ImageLike, Input, Regrid, as_input, as_labels
from paraspinal_nnunet.measures.levels import Levels, find_levels
from paraspinal_nnunet.measures.outputs.columns import DEFAULT_METHOD, DIXON, FAT_METHODS, THRESHOLD_METHODS
from paraspinal_nnunet.measures.quality import (
    Evidence,
    TrainingDescription,
    find_flags,
    gather_evidence,
    severity_score,
)
from paraspinal_nnunet.measures.result import CaseMeasures
from paraspinal_nnunet.measures.shapes import measure_shapes
from paraspinal_nnunet.measures.voxels import Images, Voxels, gather

PAPERS_MUSCLES = tuple(dict.fromkeys(s.muscle for s in PARASPINAL))


@dataclass(frozen=True)
class MeasureOptions:
    """How a case is measured.

    Attributes:
        fat_methods: Ways to measure fat in the image: ``'gmm3'``, ``'otsu'``, ``'kmeans'``, ``'gmm'``; see
            `thresholds.AGREEMENT`. Dixon is added where water and fat images are given.
        fat_per: Whether one threshold serves both sides of a muscle or each side has its own.
        muscles: What is looked for; None takes the paper's three and what else the map has, or, in a map of coarser
            classes, what it has.
        regrid: What happens to images that are not on the labels' grid: ``'refuse'``, ``'resample'``, ``'by-voxel'``.
        label_values: Source value -> canonical value of the label map; None takes the map's own names, else canonical
            values.
        level_names: Value in a levels label map -> level; None where `levels_scheme` or the map itself tells.
        levels_scheme: A name in `level_names.LEVEL_SCHEMES` that the values of a levels label map follow.
        training: What the model that made the mask was trained on.
    """

    fat_methods: tuple[str, ...] = (DEFAULT_METHOD,)
    fat_per: FatPer = "muscle"
    muscles: tuple[Muscle, ...] | None = None
    regrid: Regrid = "refuse"
    label_values: Mapping[int, int] | None = None
    level_names: Mapping[int, str] | None = None
    levels_scheme: str | None = None
    training: TrainingDescription | None = None


@dataclass(frozen=True)
class Measured:
    """A case's measures with what its fat maps are made from.

    Attributes:
        measures: All numbers.
        labels_affine: Of the label map as it was given.
        voxels: Its labelled voxels.
        shares: Their fat by each method.
    """

    measures: CaseMeasures
    labels_affine: np.ndarray
    voxels: Voxels
    shares: tuple[FatShares, ...]

    def fat_maps(self) -> dict[str, Volume]:
        """Method -> map of fat on the label map's own grid, in its stored order; see `fat.fat_map`."""
        affine = self.labels_affine
        return {s.method: Volume(from_ras(fat_map(self.voxels, s), affine), affine) for s in self.shares}


def measure(
    image: ImageLike | None,
    labels: ImageLike,
    *,
    levels: "Levels | Mapping[str, int] | ImageLike | None" = None,
    water: ImageLike | None = None,
    fat: ImageLike | None = None,
    case: str | None = None,
    disagreement: Mapping[str, float] | None = None,
    **options: Any,
) -> CaseMeasures:
    """Measure the muscles of one scan.

    Images are paths to NIfTI files, nibabel or SimpleITK images, or pairs of an array (i, j, k) and its affine (voxel
    to mm in RAS+). The result does not depend on the order in which axes are stored.

    Args:
        image: The scan, in which fat is brighter than muscle; None measures sizes alone.
        labels: Canonical label map (1 multifidus right, 2 left, 3 and 4 erector spinae, 5 and 6 psoas major...; see
            `anatomy.ALL_STRUCTURES`), whose grid counts.
        levels: Vertebrae and discs: a label map, a table (columns case, level, slice), or level -> slice counted from
            1 at the feet; see `levels.find_levels`.
        water: Dixon water image.
        fat: Dixon fat image.
        case: The case's name; None takes the label map's file name.
        disagreement: Structure's key -> mean of 1 - Dice between the folds' masks, where the mask was predicted.
        **options: The fields of `MeasureOptions`.

    Returns:
        All measures; ``.table()`` gives a pandas table, ``.to_json()`` a dictionary.

    Raises:
        InputError: Unreadable files, an unknown method, images that a method needs and that are not given.
        GeometryError: Slices that are not axial, or images on another grid.
        LabelError: Unknown label values.

    Example:
        A box of 2 x 10 x 4 voxels of 1 x 1 x 5 mm holds 0.4 ml:

        >>> import numpy as np
        >>> from paraspinal_nnunet import measure
        >>> labels = np.zeros((40, 30, 8), np.uint8)
        >>> labels[22:24, 5:15, 2:6] = 1
        >>> labels[16:18, 5:15, 2:6] = 2
        >>> image = np.where(labels > 0, 100, 20)
        >>> image[:, 5:7] = 300
        >>> affine = np.diag([1.0, 1.0, 5.0, 1.0])
        >>> result = measure((image, affine), (labels, affine), levels={"L4": 4}, fat_methods=("otsu",))
        >>> right = result.structure("multifidus_right")
        >>> round(right.volume_ml, 3), right.length_mm, right.csa_mean_mm2
        (0.4, 20.0, 20.0)
        >>> right.fat_by("otsu").fat_fraction
        0.2
        >>> result.table("levels")[["muscle", "side", "csa_mid_mm2"]].head(2)
               muscle   side  csa_mid_mm2
        0  multifidus  right         20.0
        1  multifidus   left         20.0
    """
    images = {"image": image, "water": water, "fat": fat}
    found = measure_with_maps(
        images, labels, levels=levels, case=case, disagreement=disagreement, options=MeasureOptions(**options)
    )
    return found.measures


def measure_with_maps(
    images: Mapping[str, ImageLike | None],
    labels: ImageLike,
    *,
    levels: "Levels | Mapping[str, int] | ImageLike | None" = None,
    case: str | None = None,
    disagreement: Mapping[str, float] | None = None,
    options: MeasureOptions = MeasureOptions(),
) -> Measured:
    """As `measure`, with what fat maps are made from.

    Args:
        images: ``'image'``, ``'water'``, ``'fat'`` -> what there is.
        labels: As `measure`.
        levels: As `measure`.
        case: As `measure`.
        disagreement: As `measure`.
        options: How.

    Raises:
        InputError: As `measure`.
        GeometryError: As `measure`.
        LabelError: As `measure`.
    """
    given = {what: as_input(image, what) for what, image in images.items() if image is not None}
    check_options(options)
    methods = methods_of(options, given)
    found = _canonical(as_labels(labels, "labels"), options.label_values)
    name = case if case is not None else stem_of(found.name)
    voxels = gather(found, Images(**given), regrid=options.regrid)
    structures = _structures(options.muscles, voxels)
    grid = Volume(voxels.volume, voxels.stack.affine)
    placed = find_levels(levels, grid, case=name, names=options.level_names, scheme=options.levels_scheme)
    levels_input = {"levels": placed.source} if placed.all else {}
    shares = fat_shares(voxels, structures, methods, per=options.fat_per)
    shapes = measure_shapes(voxels.volume, voxels.stack, [each.label for each in structures])
    counted = [count(voxels, each, shapes[each.label], shares) for each in structures]
    measured = tuple(measure_structure(voxels, each, shares, placed) for each in counted)
    evidence: Evidence = gather_evidence(voxels, measured, shapes, training=options.training, disagreement=disagreement)
    flags = find_flags(evidence)
    measures = CaseMeasures(
        case=name,
        stack=voxels.stack,
        levels=placed,
        structures=measured,
        slices=tuple(row for each in counted for row in measure_slices(each, placed)),
        at_levels=tuple(row for each in counted for row in measure_levels(each, placed)),
        asymmetry=asymmetries(measured, methods),
        flags=flags,
        severity=severity_score(flags),
        methods=methods,
        inputs={what: each.name for what, each in given.items()} | {"labels": found.name} | levels_input,
        settings=settings(options, methods),
        versions=versions(),
    )
    return Measured(measures, found.volume.affine, voxels, shares)


def settings(options: MeasureOptions, methods: Sequence[str]) -> dict[str, Any]:
    """How a case was measured, as records hold it."""
    return {
        "fat_methods": list(methods),
        "fat_per": options.fat_per,
        "voxels_equal_to_the_threshold": "lean",
        "muscles": None if options.muscles is None else [m.value for m in options.muscles],
        "regrid": options.regrid,
        "label_values": None if options.label_values is None else {str(k): v for k, v in options.label_values.items()},
        "level_names": None if options.level_names is None else {str(k): v for k, v in options.level_names.items()},
        "levels_scheme": options.levels_scheme,
        "training": None if options.training is None else _plain(asdict(options.training)),
    }


def versions() -> dict[str, str]:
    """This package and what its numbers rest on."""
    return {
        "paraspinal-nnunet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "nibabel": nib.__version__,
    }


def methods_of(options: MeasureOptions, given: Collection[str]) -> tuple[str, ...]:
    """Ways in which fat is measured, in the order of `FAT_METHODS`.

    Args:
        options: Those asked for; without an image there are none of them.
        given: Which of ``'image'``, ``'water'`` and ``'fat'`` there are; water and fat bring Dixon.
    """
    wanted = set(options.fat_methods) if "image" in given else set()
    if "water" in given or "fat" in given:
        wanted.add(DIXON)
    return tuple(method for method in FAT_METHODS if method in wanted)


def check_options(options: MeasureOptions) -> None:
    """Refuse names that are not known.

    Raises:
        InputError: Naming what can be chosen.
    """
    for method in options.fat_methods:
        if method not in THRESHOLD_METHODS:
            raise InputError(
                f"fat by '{method}' is unknown; choose from {', '.join(THRESHOLD_METHODS)} ({DIXON} is measured where "
                "water and fat images are given)"
            )
    if options.fat_per not in FAT_PER:
        raise InputError(f"fat per '{options.fat_per}' is unknown; choose from {', '.join(FAT_PER)}")
    if options.regrid not in REGRIDS:
        raise InputError(f"regrid '{options.regrid}' is unknown; choose from {', '.join(REGRIDS)}")


def _canonical(labels: Input, values: Mapping[int, int] | None) -> Input:
    if values is None:
        values = canonical_by_names(labels.volume.value_names, labels.name)
    array = labels.volume.array
    present = [int(v) for v in np.unique(array[array != 0])]
    known = MappingProxyType({label: label for label in BY_LABEL}) if values is None else values
    unknown = [v for v in present if v not in known]
    if unknown:
        raise LabelError(
            f"{labels.name}: holds the label {unknown[0]}; known are {', '.join(str(v) for v in sorted(known))}; name "
            "the source's label scheme"
        )
    if values is None:
        return Input(Volume(array.astype(np.uint8, copy=False), labels.volume.affine), labels.name)
    table = np.zeros(max([*known, 0]) + 1, np.uint8)
    for value, canonical in known.items():
        table[value] = canonical
    return Input(Volume(table[array], labels.volume.affine), labels.name)


def _structures(muscles: tuple[Muscle, ...] | None, voxels: Voxels) -> tuple[Structure, ...]:
    """The structures that are looked for, by default the paper's; in a map of coarser classes those that it has."""
    if muscles is not None:
        return tuple(s for s in ALL_STRUCTURES if s.muscle in muscles)
    present = {BY_LABEL[int(label)].muscle for label in np.unique(voxels.label)}
    expected = () if present & {s.muscle for s in COARSE} else PAPERS_MUSCLES
    return tuple(s for s in ALL_STRUCTURES if s.muscle in {*expected, *present})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
