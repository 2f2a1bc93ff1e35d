"""The report of a conversion: what was accepted, what was refused and why; as text, as a table and as JSON."""

import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from paraspinal_nnunet.dataset_conversion.case import Case, CaseOutcome, Refusal
from paraspinal_nnunet.image_io.geometry import by_text
from paraspinal_nnunet.utils.text import aligned, pluralize

Mode = Literal["whole", "without refused", "dry run"]
"""Whether a refusal keeps the data set from being written, leaves out the case, or nothing is written at all."""

_HEAD = ("case", "subject", "status", "grid", "spacing (mm)", "stored", "remark")
_WITHHELD = "the reason names source files, which may identify a person; the terminal showed it"


@dataclass(frozen=True)
class Report:
    """All cases of one conversion.

    Attributes:
        dataset: Folder name of the data set.
        outcomes: Of every complete case, in the order of their ids.
        unpaired: Files that never became a case.
        notes: Remarks on the whole.
        other_files: Number of files of the input folder that belong to no case.
        mode: What refusals mean.
        taken_over: Number of cases that an interrupted conversion had finished.
        kept: Folder name of the unfinished data set that a refused conversion leaves for the next try; '' for none.
        private: Reasons on disk name no source file.
        passed_over: Files of the input folder that belong to no case, relative to it.
    """

    dataset: str
    outcomes: tuple[CaseOutcome, ...]
    unpaired: tuple[Refusal, ...]
    notes: tuple[str, ...]
    other_files: int
    mode: Mode = "whole"
    taken_over: int = 0
    kept: str = ""
    private: bool = False
    passed_over: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[CaseOutcome, ...]:
        """The cases that are in the data set."""
        return tuple(o for o in self.outcomes if o.reason is None)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Everything that was refused, in the order of the case ids."""
        refused = [Refusal(o.case.case, o.reason, _files(o.case)) for o in self.outcomes if o.reason is not None]
        return tuple(sorted([*refused, *self.unpaired], key=lambda r: r.case))

    @property
    def subjects(self) -> int:
        """Number of subjects among the accepted cases."""
        return len({o.case.subject for o in self.accepted})

    def text(self) -> str:
        """The report as an aligned table with a closing line."""
        rows = sorted([*map(_row, self.outcomes), *map(_unpaired_row, self.unpaired)])
        return "\n".join(
            [aligned([_HEAD, *rows]), *(f"note: {note}" for note in self._all_notes()), self._closing_line()]
        )

    def table(self) -> str:
        """The report as tab-separated values, with the volumes in ml; a refused case's remark is the reason."""
        classes = list(dict.fromkeys(key for o in self.accepted for key in o.facts["volumes_ml"]))
        lines = [("case", "subject", "status", "shape", "spacing_mm", "stored_axes", *_columns(classes), "remark")]
        for row in sorted([*map(_row, self.outcomes), *map(_unpaired_row, self.unpaired)]):
            lines.append((*row[:-1], *[""] * len(classes), row[-1]))
        volumes = {o.case.case: [str(o.facts["volumes_ml"][key]) for key in classes] for o in self.accepted}
        reasons = {r.case: self._on_disk(r) for r in self.refusals}
        for n, line in enumerate(lines[1:], start=1):
            if line[2] == "accepted":
                lines[n] = (*line[:6], *volumes[line[0]], line[-1])
            else:
                lines[n] = (*line[:-1], reasons[line[0]])
        return "".join("\t".join(cell.replace("\t", " ") for cell in line) + "\n" for line in lines)

    def as_json(self) -> dict[str, Any]:
        """The report without its provenance, fit for JSON."""
        return {
            "dataset": self.dataset,
            "mode": self.mode,
            "cases_taken": len(self.accepted),
            "subjects": self.subjects,
            "cases_refused": len(self.refusals),
            "other_files": self.other_files,
            "passed_over": [] if self.private else list(self.passed_over),
            "notes": list(self.notes),
            "cases": [
                {"case": o.case.case, "subject": o.case.subject, "image_sha256": o.image_hash, **o.facts}
                for o in self.accepted
            ],
            "refused": [{"case": r.case, "reason": self._on_disk(r)} for r in self.refusals],
        }

    def _all_notes(self) -> Iterable[str]:
        yield from self.notes
        if self.taken_over:
            yield f"{pluralize(self.taken_over, 'case')} taken over from an unfinished conversion"
        contradicting = sum(o.facts.get("sides") == "contradict" for o in self.outcomes if o.reason is not None)
        if contradicting > max(1, len(self.outcomes) // 2):
            yield (
                f"all sides contradict the geometry in {contradicting} of {pluralize(len(self.outcomes), 'case')}, so "
                "one convention is at work: look at one scan, then give --swap-sides (the label names are exchanged) "
                "or --trust-labels (the headers are wrong) for all"
            )
        if self.kept:
            yield f"finished cases stay in {self.kept} for the next try, which removes it when it succeeds"

    def _closing_line(self) -> str:
        others = f"; {pluralize(self.other_files, 'other file')} not used" if self.other_files else ""
        cases, refused = pluralize(len(self.accepted), "case"), len(self.refusals)
        subjects = f"of {pluralize(self.subjects, 'subject')}"
        if self.mode == "dry run":
            return f"dry run: {cases} {subjects} fit, {refused} refused{others}; nothing was written"
        if not refused:
            return f"{cases} {subjects} accepted{others}"
        if self.mode == "whole" or not self.accepted:
            return f"{cases} fit, {refused} refused{others}; nothing was written"
        return f"{cases} {subjects} accepted, {refused} refused and left out{others}"

    def _on_disk(self, refusal: Refusal) -> str:
        if not self.private:
            return refusal.reason
        reason = refusal.reason
        for path in sorted(map(str, refusal.files), key=len, reverse=True):
            reason = re.sub(rf"{re.escape(path)}(/[^:;,()]*)?", "a source file", reason)
        names = {part for path in refusal.files for part in (*path.parts, *_parts_below(path)) if len(part) > 1}
        return _WITHHELD if not refusal.files or any(name in reason for name in names) else reason


def _columns(classes: Iterable[str]) -> list[str]:
    return [f"{key}_ml" for key in classes]


def _files(case: Case) -> tuple[Path, ...]:
    return (*case.images, case.label, *([case.second_label] if case.second_label else []))


def _parts_below(path: Path) -> set[str]:
    """Names of all files and folders in a folder or zip archive."""
    if path.is_dir():
        return {name for _, folders, files in os.walk(path) for name in (*folders, *files)}
    try:
        with zipfile.ZipFile(path) as archive:
            return {part for name in archive.namelist() for part in Path(name).parts}
    except (OSError, zipfile.BadZipFile):
        return set()


def _row(outcome: CaseOutcome) -> tuple[str, ...]:
    case = outcome.case
    if outcome.reason is not None:
        return (case.case, case.subject, "refused", "", "", "", outcome.reason)
    facts = outcome.facts
    return (
        case.case,
        case.subject,
        "accepted",
        "x".join(str(n) for n in facts["shape"]),
        by_text(facts["spacing_mm"]),
        facts["stored_axes"],
        "; ".join(_remarks(facts)),
    )


def _unpaired_row(refusal: Refusal) -> tuple[str, ...]:
    return (refusal.case, "", "refused", "", "", "", refusal.reason)


def _remarks(facts: Mapping[str, Any]) -> list[str]:
    remarks = []
    if "sides" in facts:
        remarks.append(facts["sides"])
    for header in ("image_header", "label_header"):
        if header in facts:
            remarks.append(f"{header.removesuffix('_header')}: {'; '.join(facts[header])}")
    if "missing_classes" in facts:
        remarks.append(f"lacks {', '.join(facts['missing_classes'])}")
    if "resampled" in facts:
        before, after = facts["resampled"]["labelled_ml"]
        remarks.append(f"label resampled ({facts['resampled']['from']}; {before:.1f} ml became {after:.1f} ml)")
    for channel, difference in facts.get("channels_resampled", {}).items():
        remarks.append(f"channel {channel} resampled ({difference})")
    if "dropped_voxels" in facts:
        remarks.append(f"dropped values {', '.join(facts['dropped_voxels'])}")
    if "cropped_slices" in facts:
        kept = facts["cropped_slices"]
        remarks.append(f"stored slices {kept['first']} to {kept['last']} of {kept['of']} kept, counted from 0")
    if "second_rater" in facts:
        remarks.append("; ".join(["second rater", *_remarks(facts["second_rater"])]))
    return remarks
