"""Metrics and tables that compare predictions with reference labels.

Names are looked up when they are first used: evaluating needs none of the statistics, whose libraries take longer to
import than a study takes to evaluate.
"""

from typing import Any

from paraspinal_nnunet.utils.lazy import imported

_NAMES = {
    "statistics.agreement": "BlandAltman Correlation bland_altman correlation inter_rater_agreement volume_agreement",
    "statistics.anova": "anova_report quoted_tests repeated_measures_anova",
    "metrics.confusion": "BinaryCounts binary_counts confusion_counts",
    "statistics.equivalence": "Equivalence inter_rater_margin inter_rater_margins tost volume_equivalence",
    "run": "evaluate",
    "statistics.inference": "bootstrap_differences bootstrap_interval bootstrap_means paired_power subjects_needed",
    "statistics.long_table": "CellTable balance describe_cells join_columns",
    "statistics.mixed_effects": "get_statsmodels mixed_model",
    "statistics.normality": "QQPoints Shape normality_of_cells normality_of_differences qq_points shape_of",
    "metrics.overlap": "METRICS OverlapMetrics compare_labels overlap_metrics",
    "statistics.posthoc": "holm paired_t_report paired_t_tests",
    "record": "read_metrics read_record",
    "statistics.reliability": "Icc icc icc_2_1",
    "metrics.slices": "SliceMetrics slice_metrics",
    "summary": "format_summary summarise",
    "metrics.surface": "SurfaceMetrics surface_metrics",
    "metrics.volumes": "volume_errors",
}
"""What can be imported from here, by the module that holds it."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    return imported(__name__, _MODULES, name)
