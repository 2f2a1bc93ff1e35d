"""What an inspection remarks: one line per finding, with how grave it is, the worst first."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How grave a finding is.

    PROBLEM contradicts the data set's own claims, or would spoil a training or its test. LOOK may be right, but a
    person should look at it. NOTE is good to know.
    """

    PROBLEM = 0
    LOOK = 1
    NOTE = 2

    @property
    def word(self) -> str:
        """As tables and files write it."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """One remark.

    Attributes:
        severity: How grave.
        kind: What it is about, e.g. ``'sides'``; one word per kind of check.
        case: The case, several joined by ', ', or '' for the data set as a whole.
        text: One line.
        weight: Larger is worse among findings of the same severity and kind, e.g. a robust z.
    """

    severity: Severity
    kind: str
    case: str
    text: str
    weight: float = 0.0

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases that it names."""
        return tuple(filter(None, self.case.split(", ")))


KINDS = (
    *(
        "unreadable",
        "label scheme",
        "sides",
        "grid",
        "values",
        "duplicate",
        "near-duplicate",
        "same-labels",
        "splits",
        "dataset.json",
    ),
    *("orientation", "geometry", "gap", "empty", "paper-volume", "volume", "asymmetry", "islands", "border"),
    *("spacing", "shape", "intensity", "balance", "coverage", "cases.tsv", "number-type"),
)
"""All kinds of findings, the gravest first."""


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by severity, then by kind in the order of `KINDS`, then by weight."""
    return tuple(sorted(findings, key=lambda f: (f.severity, KINDS.index(f.kind), -f.weight, f.case, f.text)))


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Severity -> number of findings, all severities named."""
    found = [finding.severity for finding in findings]
    return {severity.word: found.count(severity) for severity in Severity}
