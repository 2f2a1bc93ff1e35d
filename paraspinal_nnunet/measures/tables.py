"""The rows of the tables that a measured case gives; `columns` says what each column means."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.measures.columns import column_names

if TYPE_CHECKING:
    from paraspinal_nnunet.measures.result import CaseMeasures

Row = dict[str, Any]


def table_rows(name: str, result: "CaseMeasures") -> Iterable[Row]:
    """The rows of a table.

    Args:
        name: A name in `columns.TABLES`.
        result: The case.
    """
    return _ROWS[name](result)


def plain_row(row: Row) -> Row:
    """A row as JSON holds it: plain numbers, None for what is not known."""
    return {name: _plain_value(value) for name, value in row.items()}


def _who(result: "CaseMeasures", structure: Structure) -> Row:
    return {"case": result.case, "muscle": structure.muscle.value, "side": structure.side.value}


def _measure_rows(result: "CaseMeasures") -> Iterator[Row]:
    plain = (
        *("voxels", "volume_ml", "length_mm", "slices", "gap_slices", "first_slice", "last_slice", "csa_mean_mm2"),
        *("csa_max_mm2", "csa_max_slice", "csa_max_level", "intensity_mean", "intensity_sd", "intensity_z", "pieces"),
        *("fragments_ml", "border_voxels", "in_first_slice", "in_last_slice"),
    )
    for each in result.structures:
        row = _who(result, each.structure) | {"label": each.structure.label}
        row |= {name: getattr(each, name) for name in plain}
        place = each.cohort
        row |= {"cohort_mean_ml": place.mean_ml, "cohort_sd_ml": place.sd_ml, "cohort_z": place.z}
        row |= {"cohort_percentile": place.percentile, "cohort_note": place.note}
        for fat in each.fat:
            row |= {
                f"threshold_{fat.method}": fat.threshold,
                f"fat_fraction_{fat.method}": fat.fat_fraction,
                f"fat_volume_{fat.method}_ml": fat.fat_volume_ml,
                f"lean_volume_{fat.method}_ml": fat.lean_volume_ml,
                f"functional_csa_mean_{fat.method}_mm2": fat.functional_csa_mean_mm2,
                f"functional_csa_max_{fat.method}_mm2": fat.functional_csa_max_mm2,
                f"zero_signal_voxels_{fat.method}": fat.zero_signal_voxels,
                f"reason_{fat.method}": fat.reason,
            }
        yield {name: row[name] for name in column_names("measures", result.methods)}


def _slice_rows(result: "CaseMeasures") -> Iterator[Row]:
    for each in result.slices:
        row = _who(result, each.structure)
        row |= {name: getattr(each, name) for name in ("slice", "z_mm", "level", "csa_mm2", "intensity_mean")}
        for fat in each.fat:
            row |= {
                f"fat_fraction_{fat.method}": fat.fat_fraction,
                f"functional_csa_{fat.method}_mm2": fat.functional_csa_mm2,
            }
        yield row


def _level_rows(result: "CaseMeasures") -> Iterator[Row]:
    plain = (
        *("level", "kind", "first_slice", "last_slice", "mid_slice", "mid_z_mm", "slices", "volume_ml"),
        *("csa_mean_mm2", "csa_mid_mm2"),
    )
    for each in result.at_levels:
        row = _who(result, each.structure) | {name: getattr(each, name) for name in plain}
        for fat in each.fat:
            row |= {
                f"fat_fraction_{fat.method}": fat.fat_fraction,
                f"functional_csa_mean_{fat.method}_mm2": fat.functional_csa_mean_mm2,
                f"functional_csa_mid_{fat.method}_mm2": fat.functional_csa_mid_mm2,
            }
        yield row


def _asymmetry_rows(result: "CaseMeasures") -> Iterator[Row]:
    for each in result.asymmetry:
        row = {"case": result.case, "muscle": each.muscle.value, "measure": each.measure, "method": each.method}
        yield row | {"right": each.right, "left": each.left, "difference_percent": each.difference_percent}


def _flag_rows(result: "CaseMeasures") -> Iterator[Row]:
    for each in result.flags:
        row = {"case": result.case, "kind": each.kind, "severity": each.severity, "subject": each.subject}
        yield row | {"text": each.text, "value": each.value, "threshold": each.threshold}


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


_ROWS = {
    "measures": _measure_rows,
    "slices": _slice_rows,
    "levels": _level_rows,
    "asymmetry": _asymmetry_rows,
    "flags": _flag_rows,
}
