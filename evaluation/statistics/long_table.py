"""Long tables of one value per subject and cell: checks of balance, and the dense arrays that statistics need.

A long table has one row per subject and combination of factor levels (a cell), e.g. subject, model, aug, muscle, dice.
Statistics that compare cells within subjects need every subject in every cell exactly once; nothing here averages
duplicates or drops subjects without being told to.
"""

import itertools
import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paraspinal_nnunet.errors import StatisticsError

Missing = Literal["error", "complete-case"]
Sample = Sequence[float] | NDArray[np.floating]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellTable:
    """A long table as one dense array.

    Attributes:
        values: float64, shape (subjects, levels of factor 1, levels of factor 2, ...); NaN where a cell is missing.
        subjects: In order of first appearance.
        factors: Names of the within-subject factors.
        levels: Levels of each factor: the order of its categories if it is categorical, else of first appearance.
        dropped: Subjects left out because they lacked a cell (only with ``missing="complete-case"``).
    """

    values: NDArray[np.float64]
    subjects: tuple[Hashable, ...]
    factors: tuple[str, ...]
    levels: tuple[tuple[Hashable, ...], ...]
    dropped: tuple[Hashable, ...] = ()

    @property
    def cells(self) -> list[tuple[Hashable, ...]]:
        """The factor levels of each cell, in the order of the flattened last axes of `values`."""
        return list(itertools.product(*self.levels))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The values as (subjects, cells)."""
        return self.values.reshape(len(self.subjects), -1)


def arrange(table: pd.DataFrame, *, value: str, subject: str, within: Sequence[str]) -> CellTable:
    """Arrange a long table as one dense array in which missing cells are NaN.

    Args:
        table: Long table. A NaN value is a missing cell.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        within: Columns of the within-subject factors.

    Raises:
        StatisticsError: Unknown or empty column, duplicate cell, or infinite value.
    """
    factors = tuple(within)
    _check_arguments(table, value, subject, factors)
    subject_codes, subjects = _codes(table, subject)
    coded = [_codes(table, factor) for factor in factors]
    levels = tuple(names for _, names in coded)
    shape = tuple(len(names) for names in levels)
    cells = int(np.prod(shape))
    flat = subject_codes * cells + np.ravel_multi_index(tuple(codes for codes, _ in coded), shape)
    names = _CellNames(subject, subjects, factors, levels)
    _check_duplicates(flat, names)
    values = np.full(len(subjects) * cells, np.nan)
    values[flat] = _numbers(table, value, flat, names)
    return CellTable(values.reshape(len(subjects), *shape), subjects, factors, levels)


def balance(
    table: pd.DataFrame, *, value: str, subject: str, within: Sequence[str], missing: Missing = "error"
) -> CellTable:
    """Arrange a long table as one dense array without gaps, after checking balance subject by subject.

    Args:
        table: Long table. A NaN value is a missing cell.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        within: Columns of the within-subject factors.
        missing: What to do with subjects that lack a cell: ``"error"`` refuses and names subject and cell,
            ``"complete-case"`` leaves these subjects out, logs a warning that names them and lists them in `dropped`.

    Raises:
        StatisticsError: Unknown column, duplicate cell, infinite value, missing cell, or no complete subject.
    """
    if missing not in ("error", "complete-case"):
        raise StatisticsError(f"missing={missing!r} is unknown; choose 'error' or 'complete-case'")
    arranged = arrange(table, value=value, subject=subject, within=within)
    complete: NDArray[np.bool_] = np.asarray(np.isfinite(arranged.matrix).all(axis=1))
    if complete.all():
        return arranged
    found = _gaps(arranged, complete, subject)
    if missing == "error":
        raise StatisticsError(f"{found}; add it or choose missing='complete-case'")
    if not complete.any():
        raise StatisticsError(f"{found}; no subject is complete")
    dropped = tuple(name for name, whole in zip(arranged.subjects, complete, strict=True) if not whole)
    logger.warning(
        "left out %d of %d subjects that lack a cell: %s", len(dropped), len(complete), ", ".join(map(str, dropped))
    )
    kept = tuple(name for name, whole in zip(arranged.subjects, complete, strict=True) if whole)
    return replace(arranged, values=arranged.values[complete], subjects=kept, dropped=dropped)


def join_columns(table: pd.DataFrame, columns: Sequence[str], *, separator: str = " ") -> pd.Series:
    """Name each row's combination of several factors, e.g. the arm ``'2D no'`` from model and augmentation.

    Raises:
        StatisticsError: Unknown column.
    """
    check_columns(table, columns)
    joined = table[columns[0]].astype(str)
    for column in columns[1:]:
        joined = joined + separator + table[column].astype(str)
    return joined.rename(separator.join(columns))


def describe_cells(table: pd.DataFrame, *, value: str, by: Sequence[str]) -> pd.DataFrame:
    """Describe the value in each cell.

    SD has n - 1 in its denominator (NaN for one value); quartiles interpolate linearly, as R's ``quantile(type = 7)``.
    NaN values are left out and do not count in n.

    Args:
        table: Long table.
        value: Column of the measured numbers.
        by: Columns whose combinations are the cells.

    Returns:
        One row per cell: the columns of `by`, then n, mean, sd, median, q1, q3, min, max.

    Raises:
        StatisticsError: Unknown column.
    """
    check_columns(table, [value, *by])
    groups = table.groupby(list(by), sort=False, observed=True)[value]
    described = pd.DataFrame(
        {
            "n": groups.count(),
            "mean": groups.mean(),
            "sd": groups.std(ddof=1),
            "median": groups.median(),
            "q1": groups.quantile(0.25),
            "q3": groups.quantile(0.75),
            "min": groups.min(),
            "max": groups.max(),
        }
    )
    return described.reset_index()


def paired_samples(
    reference: Sample, prediction: Sample, *, minimum: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two paired samples as float64 vectors.

    Raises:
        StatisticsError: Different lengths, more than one dimension, fewer than `minimum` pairs, NaN or infinite values.
    """
    first, second = np.asarray(reference, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise StatisticsError(
            f"paired samples have shapes {first.shape} and {second.shape}; give two vectors of equal length"
        )
    if first.size < minimum:
        raise StatisticsError(f"{first.size} pairs are too few; at least {minimum} are needed")
    broken = ~(np.isfinite(first) & np.isfinite(second))
    if broken.any():
        raise StatisticsError(f"pair {int(np.argmax(broken))} is NaN or infinite; leave out incomplete pairs first")
    return first, second


def check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        StatisticsError: Names the first column that is absent and the columns that exist.
    """
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise StatisticsError(f"the table has no column {absent[0]!r}; its columns are {list(table.columns)}")


def rounding(values: NDArray[np.float64]) -> float:
    """How far two numbers of this size may differ by floating-point rounding alone, in the unit of `values`."""
    return float(8 * np.finfo(np.float64).eps * np.abs(values).max(initial=0.0))


@dataclass(frozen=True)
class _CellNames:
    """Words for a flat (subject, cell) index."""

    subject: str
    subjects: tuple[Hashable, ...]
    factors: tuple[str, ...]
    levels: tuple[tuple[Hashable, ...], ...]

    def __call__(self, flat: int) -> str:
        row, *places = np.unravel_index(flat, (len(self.subjects), *map(len, self.levels)))
        cell = ", ".join(f"{f}={names[i]}" for f, names, i in zip(self.factors, self.levels, places, strict=True))
        return f"{self.subject} {self.subjects[row]} at {cell}"


def _check_arguments(table: pd.DataFrame, value: str, subject: str, factors: tuple[str, ...]) -> None:
    columns = [value, subject, *factors]
    if not factors or len(set(columns)) < len(columns):
        raise StatisticsError(f"columns {columns}: value, subject and at least one factor must be different columns")
    check_columns(table, columns)
    if table.empty:
        raise StatisticsError("the table has no rows")


def _codes(table: pd.DataFrame, column: str) -> tuple[NDArray[np.intp], tuple[Hashable, ...]]:
    series = table[column]
    if isinstance(series.dtype, pd.CategoricalDtype):
        used = series.cat.remove_unused_categories()
        codes, names = used.cat.codes.to_numpy(), used.cat.categories
    else:
        codes, names = pd.factorize(series)
    if (codes < 0).any():
        raise StatisticsError(f"row {int(np.argmax(codes < 0))} of the table has no {column}; fill it or drop the row")
    return codes.astype(np.intp), tuple(names)


def _check_duplicates(flat: NDArray[np.intp], names: _CellNames) -> None:
    counts = np.bincount(flat)
    if counts.max() > 1:
        first = int(np.argmax(counts > 1))
        raise StatisticsError(
            f"{names(first)} has {counts[first]} values ({int((counts > 1).sum())} cells in all have duplicates); "
            "keep one row per subject and cell"
        )


def _numbers(table: pd.DataFrame, value: str, flat: NDArray[np.intp], names: _CellNames) -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(table[value].dtype):
        raise StatisticsError(f"column {value!r} holds {table[value].dtype} instead of numbers; convert it first")
    numbers = table[value].to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.isinf(numbers)
    if infinite.any():
        first = int(np.argmax(infinite))
        raise StatisticsError(f"{names(int(flat[first]))} is infinite; decide how such a value counts before testing")
    return numbers


def _gaps(arranged: CellTable, complete: NDArray[np.bool_], subject: str) -> str:
    gaps = np.isnan(arranged.matrix)
    names = _CellNames(subject, arranged.subjects, arranged.factors, arranged.levels)
    return (
        f"{names(int(np.argmax(gaps)))} has no value ({int(gaps.sum())} cells missing in "
        f"{int((~complete).sum())} of {len(complete)} subjects)"
    )
