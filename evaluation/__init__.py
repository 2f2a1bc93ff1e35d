"""Metrics and tables that compare predictions with reference labels."""

from paraspinal_nnunet.evaluation.confusion import BinaryCounts, binary_counts, confusion_counts
from paraspinal_nnunet.evaluation.folders import evaluate
from paraspinal_nnunet.evaluation.overlap import METRICS, OverlapMetrics, compare_labels, overlap_metrics
from paraspinal_nnunet.evaluation.record import read_metrics, read_record
from paraspinal_nnunet.evaluation.summary import format_summary, summarise

__all__ = [
    "METRICS",
    "BinaryCounts",
    "OverlapMetrics",
    "binary_counts",
    "compare_labels",
    "confusion_counts",
    "evaluate",
    "format_summary",
    "overlap_metrics",
    "read_metrics",
    "read_record",
    "summarise",
]
