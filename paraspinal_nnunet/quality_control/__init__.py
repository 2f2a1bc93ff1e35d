"""Looking a data set over before anything is trained on it: measures, findings, contact sheets and a page."""

from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.quality_control.outputs import check_output, write_inspection
from paraspinal_nnunet.quality_control.previews import write_previews
from paraspinal_nnunet.quality_control.run import Inspection, inspect_dataset
from paraspinal_nnunet.quality_control.text import inspection_text

__all__ = [
    "Finding",
    "Inspection",
    "Severity",
    "check_output",
    "inspect_dataset",
    "inspection_text",
    "write_inspection",
    "write_previews",
]
