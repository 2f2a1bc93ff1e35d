"""The protocol in force beside the paper's, as every training prints and records it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paraspinal_nnunet.protocol.paper import PAPER, SECTION_OF_CONFIGURATION, Entry, Protocol, entries

NOT_IN_PAPER = ("this project", "nnU-Net", "torch", "not in the paper")
"""Sources of numbers on which the paper is silent; the table calls their values defaults, not the paper's."""


@dataclass(frozen=True)
class Row:
    """One line of the table that a trainer prints at its start."""

    key: str
    value: Any
    paper: Any
    source: str
    reason: str = ""
    other_arms: tuple[Any, ...] = ()

    @property
    def is_papers(self) -> bool:
        """Whether the value in force is the paper's, in one of its arms."""
        return self.value == self.paper or self.value in self.other_arms


def comparison(protocol: Protocol, configuration: str, reasons: Mapping[str, str] | None = None) -> list[Row]:
    """Every number that holds for one configuration, beside the paper's; augmentation's where it is the paper's.

    Args:
        protocol: The values in force.
        configuration: ``'2d'`` or ``'3d_fullres'``.
        reasons: Key -> why the data set asked for another value than the paper's.
    """
    hidden = {section for name, section in SECTION_OF_CONFIGURATION.items() if name != configuration} | {"cohort"}
    if protocol.training.augmentation != "paper":
        hidden.add("augmentation")
    papers = {(e.section, e.name): e.value for e in entries(PAPER)}
    return [
        Row(_row_key(e), e.value, papers[e.section, e.name], e.source, (reasons or {}).get(e.key, ""), e.other_arms)
        for e in entries(protocol)
        if e.section not in hidden
    ]


def format_table(rows: list[Row]) -> str:
    """The comparison as aligned text; whatever is not the paper's is marked."""
    head = ("setting", "in force", "the paper", "paper's?")
    body = [(r.key, value_text(r.value), value_text(r.paper), _verdict(r)) for r in rows]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (head, *body)]
    lines = ["  ".join(line).rstrip() for line in padded]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _row_key(entry: Entry) -> str:
    return entry.name if entry.section in SECTION_OF_CONFIGURATION.values() else entry.key


def _verdict(row: Row) -> str:
    if row.value in row.other_arms:
        return "yes, in another arm"
    if row.is_papers:
        return "default" if row.source in NOT_IN_PAPER else "yes"
    return f"NO: {row.reason}" if row.reason else "NO"


def value_text(value: Any) -> str:
    """A setting's value as tables show it."""
    if isinstance(value, (tuple, list)):
        return (" x " if len(value) <= 3 else ", ").join(value_text(v) for v in value)  # sizes, or lists
    return f"{value:g}" if isinstance(value, float) else str(value)
