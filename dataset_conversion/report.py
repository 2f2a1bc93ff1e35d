"""The report of a conversion: what was taken, what was refused and why; as text and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paraspinal_nnunet.dataset_conversion.cases import Outcome, Refusal

_HEAD = ("case", "subject", "status", "grid", "spacing (mm)", "stored", "remark")


@dataclass(frozen=True)
class Report:
    """All cases of one conversion.

    Attributes:
        dataset: Folder name of the data set.
        outcomes: Of every complete case, in the order of their ids.
        unpaired: Files that never became a case.
        notes: Remarks on the whole.
        other_files: Number of files of the input folder that belong to no case.
    """

    dataset: str
    outcomes: tuple[Outcome, ...]
    unpaired: tuple[Refusal, ...]
    notes: tuple[str, ...]
    other_files: int

    @property
    def taken(self) -> tuple[Outcome, ...]:
        """The cases that are in the data set."""
        return tuple(o for o in self.outcomes if o.reason is None)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Everything that was refused, in the order of the case ids."""
        refused = [Refusal(o.case.case, o.reason) for o in self.outcomes if o.reason is not None]
        return tuple(sorted([*refused, *self.unpaired], key=lambda r: r.case))

    @property
    def subjects(self) -> int:
        """Number of subjects among the taken cases."""
        return len({o.case.subject for o in self.taken})

    def text(self) -> str:
        """The report as an aligned table with a closing line."""
        rows = sorted([*map(_row, self.outcomes), *map(_unpaired_row, self.unpaired)])
        widths = [max(len(line[n]) for line in (_HEAD, *rows)) for n in range(len(_HEAD))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip() for r in (_HEAD, *rows)]
        return "\n".join([*table, *(f"note: {note}" for note in self.notes), self._closing_line()])

    def as_json(self) -> dict[str, Any]:
        """The report without its provenance, fit for JSON."""
        return {
            "dataset": self.dataset,
            "cases_taken": len(self.taken),
            "subjects": self.subjects,
            "cases_refused": len(self.refusals),
            "other_files": self.other_files,
            "notes": list(self.notes),
            "cases": [
                {"case": o.case.case, "subject": o.case.subject, "image_sha256": o.image_hash, **o.facts}
                for o in self.taken
            ],
        }

    def _closing_line(self) -> str:
        others = f"; {_count(self.other_files, 'other file')} passed over" if self.other_files else ""
        if self.refusals:
            return f"{_count(len(self.taken), 'case')} fit, {len(self.refusals)} refused{others}; nothing was written"
        return f"{_count(len(self.taken), 'case')} of {_count(self.subjects, 'subject')} taken{others}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _row(outcome: Outcome) -> tuple[str, ...]:
    case = outcome.case
    if outcome.reason is not None:
        return (case.case, case.subject, "refused", "", "", "", outcome.reason)
    facts = outcome.facts
    return (
        case.case,
        case.subject,
        "taken",
        "x".join(str(n) for n in facts["shape"]),
        " x ".join(f"{mm:.4g}" for mm in facts["spacing_mm"]),
        facts["stored_axes"],
        "; ".join(_remarks(facts)),
    )


def _unpaired_row(refusal: Refusal) -> tuple[str, ...]:
    return (refusal.case, "", "refused", "", "", "", refusal.reason)


def _remarks(facts: Mapping[str, Any]) -> list[str]:
    remarks = []
    if "missing_classes" in facts:
        remarks.append(f"lacks {', '.join(facts['missing_classes'])}")
    if "resampled" in facts:
        before, after = facts["resampled"]["labelled_ml"]
        remarks.append(f"label resampled ({facts['resampled']['from']}; {before:.1f} ml became {after:.1f} ml)")
    if "dropped_voxels" in facts:
        remarks.append(f"dropped values {', '.join(facts['dropped_voxels'])}")
    if "second_rater" in facts:
        remarks.append("; ".join(["second rater", *_remarks(facts["second_rater"])]))
    return remarks
