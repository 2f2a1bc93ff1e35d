"""Curves along the spine: area and fat of every structure, slice by slice, and where the levels lie."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, Muscle, Side, Structure
from paraspinal_nnunet.measures.result import CaseMeasures, SliceMeasures


@dataclass(frozen=True)
class Curve:
    """A measure of one structure along the spine.

    Attributes:
        key: The structure's.
        muscle: Its muscle.
        label: Its name for people.
        colour: ``'#rrggbb'``.
        dashed: Left sides, so that the sides can be told apart without colour.
        z_mm: (n,) RAS z of the slices, rising.
        values: (n,) NaN in slices between others in which the structure is not, or where the measure is not known.
    """

    key: str
    muscle: Muscle
    label: str
    colour: str
    dashed: bool
    z_mm: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class LevelMark:
    """Where a level lies along the spine."""

    name: str
    z_mm: float


def csa_curves(result: CaseMeasures) -> tuple[Curve, ...]:
    """Cross-sectional area in mm2 of every structure along the spine."""
    return _curves(result, lambda row: row.csa_mm2)


def functional_csa_curves(result: CaseMeasures, method: str) -> tuple[Curve, ...]:
    """Functional cross-sectional area in mm2 of every structure along the spine.

    Raises:
        KeyError: Fat was not measured by this method.
    """
    _check_method(result, method)
    return _curves(result, lambda row: row.fat_by(method).functional_csa_mm2)


def fat_curves(result: CaseMeasures, method: str) -> tuple[Curve, ...]:
    """Fat fraction (0 to 1) of every structure along the spine.

    Raises:
        KeyError: Fat was not measured by this method.
    """
    _check_method(result, method)
    return _curves(result, lambda row: row.fat_by(method).fat_fraction)


def level_marks(result: CaseMeasures) -> tuple[LevelMark, ...]:
    """The middles of the levels, from head to feet."""
    z_mm = result.stack.z_mm
    return tuple(LevelMark(level.name, float(z_mm[level.mid_slice - 1])) for level in result.levels.all)


def preferred_method(result: CaseMeasures) -> str | None:
    """The fat that plots show: Dixon where it is known, else the first threshold; None without any."""
    if not result.methods:
        return None
    return "dixon" if "dixon" in result.methods else result.methods[0]


def _curves(result: CaseMeasures, value: Callable[[SliceMeasures], float]) -> tuple[Curve, ...]:
    z_mm = result.stack.z_mm
    curves = []
    for each in result.structures:
        structure = each.structure
        rows = {row.slice: value(row) for row in result.slices if row.structure == structure}
        slices = range(min(rows), max(rows) + 1) if rows else range(0)
        curves.append(
            Curve(
                key=structure.key,
                muscle=structure.muscle,
                label=structure.display_name,
                colour=_line_colour(structure),
                dashed=structure.side is Side.LEFT,
                z_mm=np.array([z_mm[k - 1] for k in slices]),
                values=np.array([rows.get(k, float("nan")) for k in slices]),
            )
        )
    return tuple(curves)


def _line_colour(structure: Structure) -> str:
    """The structure's colour; the light one of left sides half-way to the dark one, which thin lines on paper need."""
    mixed = [
        (a + b) // 2 for a, b in zip(structure.colour, BY_KEY[f"{structure.muscle.value}_right"].colour, strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _check_method(result: CaseMeasures, method: str) -> None:
    if method not in result.methods:
        raise KeyError(f"fat was not measured by '{method}'; there is {', '.join(result.methods) or 'none'}")
