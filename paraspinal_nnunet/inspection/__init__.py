"""Looking a data set over before anything is trained on it: measures, findings, contact sheets and a page."""

from paraspinal_nnunet.inspection.findings import Finding, Severity
from paraspinal_nnunet.inspection.inspect_dataset import Inspection, inspect_dataset
from paraspinal_nnunet.inspection.previews import write_previews
from paraspinal_nnunet.inspection.text import inspection_text
from paraspinal_nnunet.inspection.written import check_output, write_inspection

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
