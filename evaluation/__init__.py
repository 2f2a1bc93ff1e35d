"""Metrics and tables that compare predictions with reference labels.

Names are looked up when they are first used: evaluating needs none of the statistics, whose libraries take longer to
import than a study takes to evaluate.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paraspinal_nnunet.evaluation.agreement import (
        BlandAltman,
        Correlation,
        bland_altman,
        correlation,
        inter_rater_agreement,
        volume_agreement,
    )
    from paraspinal_nnunet.evaluation.anova import anova_report, quoted_tests, repeated_measures_anova
    from paraspinal_nnunet.evaluation.confusion import BinaryCounts, binary_counts, confusion_counts
    from paraspinal_nnunet.evaluation.equivalence import (
        Equivalence,
        inter_rater_margin,
        inter_rater_margins,
        tost,
        volume_equivalence,
    )
    from paraspinal_nnunet.evaluation.folders import evaluate
    from paraspinal_nnunet.evaluation.inference import (
        bootstrap_differences,
        bootstrap_interval,
        bootstrap_means,
        paired_power,
        subjects_needed,
    )
    from paraspinal_nnunet.evaluation.long_table import CellTable, balance, describe_cells, join_columns
    from paraspinal_nnunet.evaluation.mixed_effects import get_statsmodels, mixed_model
    from paraspinal_nnunet.evaluation.normality import (
        QQPoints,
        Shape,
        normality_of_cells,
        normality_of_differences,
        qq_points,
        shape_of,
    )
    from paraspinal_nnunet.evaluation.overlap import METRICS, OverlapMetrics, compare_labels, overlap_metrics
    from paraspinal_nnunet.evaluation.posthoc import holm, paired_t_report, paired_t_tests
    from paraspinal_nnunet.evaluation.record import read_metrics, read_record
    from paraspinal_nnunet.evaluation.reliability import Icc, icc, icc_2_1
    from paraspinal_nnunet.evaluation.slices import SliceMetrics, slice_metrics
    from paraspinal_nnunet.evaluation.summary import format_summary, summarise
    from paraspinal_nnunet.evaluation.surface import SurfaceMetrics, surface_metrics
    from paraspinal_nnunet.evaluation.volumes import volume_errors

__all__ = [
    "METRICS",
    "BinaryCounts",
    "BlandAltman",
    "CellTable",
    "Correlation",
    "Equivalence",
    "Icc",
    "OverlapMetrics",
    "QQPoints",
    "Shape",
    "SliceMetrics",
    "SurfaceMetrics",
    "anova_report",
    "balance",
    "binary_counts",
    "bland_altman",
    "bootstrap_differences",
    "bootstrap_interval",
    "bootstrap_means",
    "compare_labels",
    "confusion_counts",
    "correlation",
    "describe_cells",
    "evaluate",
    "format_summary",
    "get_statsmodels",
    "holm",
    "icc",
    "icc_2_1",
    "inter_rater_agreement",
    "inter_rater_margin",
    "inter_rater_margins",
    "join_columns",
    "mixed_model",
    "normality_of_cells",
    "normality_of_differences",
    "overlap_metrics",
    "paired_power",
    "paired_t_report",
    "paired_t_tests",
    "qq_points",
    "quoted_tests",
    "read_metrics",
    "read_record",
    "repeated_measures_anova",
    "shape_of",
    "slice_metrics",
    "subjects_needed",
    "summarise",
    "surface_metrics",
    "tost",
    "volume_agreement",
    "volume_equivalence",
    "volume_errors",
]

_MODULES = (
    *("confusion", "overlap", "folders", "record", "summary", "slices", "volumes", "surface"),
    *("long_table", "reliability", "agreement", "anova", "posthoc"),
    *("normality", "equivalence", "inference", "mixed_effects"),
)
"""Where the names are looked for, in this order: what imports fast comes first."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            names = vars(importlib.import_module(f"{__name__}.{module}"))
            if name in names:
                globals()[name] = names[name]
                return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
