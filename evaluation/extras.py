"""What an evaluation can measure beyond the paper, each in a file of its own beside metrics.tsv."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.evaluation.metrics.surface_elements import Convention
from paraspinal_nnunet.evaluation.record import ID_COLUMNS, SLICES_FILE, SURFACE_FILE, VOLUMES_FILE
from paraspinal_nnunet.image_io.geometry import spacing_mm

DEFAULT_TOLERANCE_MM = 1.0
"""Tolerance of the surface Dice where none is given. Source: ours; the paper has no surface metrics."""

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    SURFACE_FILE: ("hd95_mm", "asd_mm", "nsd", "tolerance_mm", "convention"),
    SLICES_FILE: ("slice", "z_mm", "dice", "reference_mm2", "prediction_mm2"),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Extras:
    """What is measured besides metrics.tsv.

    Attributes:
        surface_tolerance_mm: Tolerance of the surface Dice; None leaves surface.tsv out.
        surface_convention: What a surface is made of; see `metrics.surface_elements`.
        per_slice: Whether slices.tsv is written.
        volumes: Whether volumes.tsv is written.
    """

    surface_tolerance_mm: float | None = None
    surface_convention: Convention = "area"
    per_slice: bool = False
    volumes: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that are written."""
        wanted = {
            SURFACE_FILE: self.surface_tolerance_mm is not None,
            SLICES_FILE: self.per_slice,
            VOLUMES_FILE: self.volumes,
        }
        return tuple(name for name, on in wanted.items() if on)

    @property
    def surface_settings(self) -> dict[str, Any]:
        """How surfaces are measured, for the record; empty where they are not."""
        if self.surface_tolerance_mm is None:
            return {}
        names = ("surface_tolerance_mm", "surface_convention")
        return {name: getattr(self, name) for name in names}

    @property
    def need_masks(self) -> bool:
        """Whether anything is measured that metrics.tsv does not tell."""
        return self.per_slice or self.surface_tolerance_mm is not None


def label_rows(
    extras: Extras, reference: np.ndarray, prediction: np.ndarray, affine: np.ndarray
) -> dict[str, list[Row]]:
    """What the masks of one label give.

    Args:
        extras: What is asked for.
        reference: bool, (i, j, k) as stored.
        prediction: bool, the same shape.
        affine: 4 x 4, to mm in RAS+.

    Returns:
        File -> its rows without the columns that name model, case and label.
    """
    rows: dict[str, list[Row]] = {}
    if extras.surface_tolerance_mm is not None:
        from paraspinal_nnunet.evaluation.metrics.surface import surface_metrics, surface_row

        how = extras.surface_tolerance_mm, extras.surface_convention
        found = surface_metrics(reference, prediction, spacing_mm(affine), *how)
        rows[SURFACE_FILE] = [surface_row(found, *how)]
    if extras.per_slice:
        from paraspinal_nnunet.evaluation.metrics.slices import slice_metrics

        rows[SLICES_FILE] = [asdict(each) for each in slice_metrics(reference, prediction, affine)]
    return rows


def extra_tables(extras: Extras, rows: Mapping[str, Sequence[Row]], metrics: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """File -> table of all that was asked for.

    Args:
        extras: What was asked for.
        rows: File -> rows, in order.
        metrics: The table of metrics.tsv.
    """
    tables = {
        name: pd.DataFrame(rows[name], columns=[*ID_COLUMNS, *columns])
        for name, columns in _COLUMNS.items()
        if name in extras.files
    }
    if extras.volumes:
        from paraspinal_nnunet.evaluation.metrics.volumes import volume_errors

        tables[VOLUMES_FILE] = volume_errors(metrics)
    return tables


def check_voxel_size(affine: np.ndarray, name: str) -> None:
    """Refuse a grid on which nothing can be measured in mm.

    Args:
        affine: 4 x 4, to mm in RAS+.
        name: Case and model, for the message.

    Raises:
        GeometryError: A voxel without extent.
    """
    spacing = spacing_mm(affine)
    if not np.isfinite(affine).all() or min(spacing) <= 0:
        raise GeometryError(f"{name}: voxels of {spacing} mm cannot be measured; correct the header")
