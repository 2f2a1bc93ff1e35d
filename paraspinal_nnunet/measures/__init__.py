"""Measures of segmented muscles: sizes, fat, levels, asymmetry, flags, tables and plots.

`case.measure` measures one case, `batch` many; `result` holds what comes out, `columns` says what each column means.
"""

from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.utils.lazy import imported

if TYPE_CHECKING:
    from paraspinal_nnunet.measures.case import MeasureOptions, measure
    from paraspinal_nnunet.measures.outputs.plots import measure_plots
    from paraspinal_nnunet.measures.quality import severity_score
    from paraspinal_nnunet.measures.result import CaseMeasures, Flag

_HOMES = {
    "CaseMeasures": "result",
    "Flag": "result",
    "MeasureOptions": "case",
    "measure": "case",
    "measure_plots": "outputs.plots",
    "severity_score": "quality",
}

__all__ = ["CaseMeasures", "Flag", "MeasureOptions", "measure", "measure_plots", "severity_score"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the data dictionary alone needs no image library."""
    return imported(__name__, _HOMES, name)
