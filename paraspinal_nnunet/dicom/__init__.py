"""DICOM in: series found, sorted, checked and chosen, DICOM SEG as labels; DICOM out: masks as DICOM SEG."""

from paraspinal_nnunet.dicom.find import Study, find_series, scan_study
from paraspinal_nnunet.dicom.records import Kind, Series
from paraspinal_nnunet.dicom.segmentation.read import read_segmentation
from paraspinal_nnunet.dicom.segmentation.write import write_segmentation
from paraspinal_nnunet.dicom.selection import SeriesSelection, SeriesVerdict, select_in_study, select_series
from paraspinal_nnunet.dicom.source import opened_source
from paraspinal_nnunet.dicom.stack import StackedImage, read_grid, read_stack

__all__ = [
    "Kind",
    "Series",
    "SeriesSelection",
    "SeriesVerdict",
    "StackedImage",
    "Study",
    "find_series",
    "opened_source",
    "read_grid",
    "read_segmentation",
    "read_stack",
    "scan_study",
    "select_in_study",
    "select_series",
    "write_segmentation",
]
