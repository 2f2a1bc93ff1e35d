"""What pages show: a case with its mask, measures and flags, and the little of it that a batch page needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, BY_LABEL, Muscle, Side, Structure
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.html.preview import thumbnail
from paraspinal_nnunet.image_io.volume import Volume

SEVERITIES = ("serious", "warning", "info")
"""The most urgent first."""

_WEIGHTS = {"serious": 100.0, "warning": 10.0, "info": 1.0}


class ReviewFlag(Protocol):
    """Something about a case that a person should look at, e.g. `measures.result.Flag`."""

    @property
    def severity(self) -> str:
        """One of `SEVERITIES`."""

    @property
    def text(self) -> str:
        """What was found, in one sentence."""


@dataclass(frozen=True)
class PageMeta:
    """How the masks came about.

    Attributes:
        model: Its name; empty where it is not known.
        version: Of the program that made them.
        date: When, in words; empty for pages that should be the same whenever they are made.
        settings: Names and values.
    """

    model: str = ""
    version: str = ""
    date: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PageCase:
    """A case for a page.

    Attributes:
        case: Its name.
        image: The scan.
        labels: Canonical labels on the scan's grid.
        measures: Tables by name as `measures.result.CaseMeasures.table` gives them: ``'measures'``, and where wanted
            ``'asymmetry'`` and ``'levels'``; None for none.
        flags: The worst first; None where nobody looked for them.
        plots: SVG of measures along the spine as this package draws it, or None. Goes into the page as it is; scripts
            in it do not run.
        meta: How the mask came about.
        patient: What is to be shown of the patient, by name; only where they are asked for.
        severity: Order of review, the larger the sooner; None counts the flags.
        docs: Address of the documentation, or empty.
        levels: Number of a slice, from 1 at the feet -> vertebral level, where known.
    """

    case: str
    image: Volume
    labels: Volume
    measures: Mapping[str, pd.DataFrame] | None = None
    flags: Sequence[ReviewFlag] | None = None
    plots: str | None = None
    meta: PageMeta = PageMeta()
    patient: Mapping[str, str] | None = None
    severity: float | None = None
    docs: str = ""
    levels: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def missing(self) -> tuple[Structure, ...]:
        """Structures that were looked for and have no voxels.

        Looked for is what the table of measures lists; without it, both sides of every muscle that is there.
        """
        present = {int(value) for value in np.unique(self.labels.array)}
        table = (self.measures or {}).get("measures")
        if table is not None and len(table):
            keys = {f"{muscle}_{side}" for muscle, side in zip(table["muscle"], table["side"], strict=True)}
            sought = [s for s in ALL_STRUCTURES if s.key in keys]
        else:
            muscles = {BY_LABEL[value].muscle for value in present if value in BY_LABEL}
            sought = [s for s in ALL_STRUCTURES if s.muscle in muscles]
        return tuple(s for s in sought if s.label not in present)

    @property
    def review_order(self) -> float:
        """The larger, the sooner a person should look."""
        if self.severity is not None:
            return self.severity
        return sum(_WEIGHTS.get(flag.severity, 0.0) for flag in self.flags or ())


@dataclass(frozen=True)
class CaseSummary:
    """What a batch page shows of a case; small, so that a batch may be long.

    Attributes:
        case: Its name.
        thumbnail: A JPEG of its middle slice with outlines.
        volumes_ml: Muscle -> right and left; None for a side that is missing, no entry for a muscle not looked for.
        flags: Severity and text, the worst first; None where nobody looked for them.
        review_order: The larger, the sooner.
        link: Address of its page relative to the batch page, or empty.
        failure: Why there is no result; empty where there is one.
    """

    case: str
    thumbnail: bytes = b""
    volumes_ml: Mapping[Muscle, tuple[float | None, float | None]] = field(default_factory=dict)
    flags: tuple[tuple[str, str], ...] | None = None
    review_order: float = 0.0
    link: str = ""
    failure: str = ""


def summarise_case(case: PageCase, *, link: str = "") -> CaseSummary:
    """The line of a case on a batch page.

    Args:
        case: The case.
        link: Address of its page relative to the batch page.

    Raises:
        GeometryError: Image and labels on two grids.
    """
    check_grids(case)
    flags = None if case.flags is None else tuple((flag.severity, flag.text) for flag in case.flags)
    return CaseSummary(
        case=case.case,
        thumbnail=thumbnail(case.image, case.labels),
        volumes_ml=_volumes_ml(case.labels, case.missing),
        flags=flags,
        review_order=case.review_order,
        link=link,
    )


def check_grids(case: PageCase) -> None:
    """Refuse labels that do not lie on the image's grid.

    Raises:
        GeometryError: Their shapes differ, or their affines by more than a hundredth of a millimetre.
    """
    if case.image.shape != case.labels.shape:
        raise GeometryError(
            f"case {case.case}: image {case.image.shape} and labels {case.labels.shape} are two grids; give the mask "
            "of this scan"
        )
    apart = float(np.abs(case.image.affine - case.labels.affine).max())
    if apart > 0.01:
        raise GeometryError(
            f"case {case.case}: affines of image and labels differ by up to {apart:.3g}; give the mask of this scan"
        )


def _volumes_ml(labels: Volume, missing: Sequence[Structure]) -> dict[Muscle, tuple[float | None, float | None]]:
    values, counts = np.unique(labels.array, return_counts=True)
    found: dict[Muscle, dict[Side, float]] = {structure.muscle: {} for structure in missing}
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if value in BY_LABEL:
            structure = BY_LABEL[value]
            found.setdefault(structure.muscle, {})[structure.side] = count * labels.voxel_volume_ml
    return {muscle: (sides.get(Side.RIGHT), sides.get(Side.LEFT)) for muscle, sides in found.items()}
