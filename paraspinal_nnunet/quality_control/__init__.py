"""Looking a data set over before anything is trained on it: measures, findings, contact sheets and a page."""

from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.utils.lazy import imported

if TYPE_CHECKING:
    from paraspinal_nnunet.quality_control.findings import Finding, Severity
    from paraspinal_nnunet.quality_control.outputs import check_output, write_inspection
    from paraspinal_nnunet.quality_control.previews import write_previews
    from paraspinal_nnunet.quality_control.run import Inspection, inspect_dataset
    from paraspinal_nnunet.quality_control.text import inspection_text

_HOMES = {
    "Finding": "findings",
    "Inspection": "run",
    "Severity": "findings",
    "check_output": "outputs",
    "inspect_dataset": "run",
    "inspection_text": "text",
    "write_inspection": "outputs",
    "write_previews": "previews",
}

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


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: processes that measure need no pages."""
    return imported(__name__, _HOMES, name)
