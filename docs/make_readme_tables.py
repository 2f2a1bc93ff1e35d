"""Rewrite the tables of README.md that are made from the code: the protocol and the trainers."""

import re
from pathlib import Path

from paraspinal_nnunet.protocol import PAPER, entries
from paraspinal_nnunet.protocol_table import value_text
from paraspinal_nnunet.seam import mend_trainer_lookup

README = Path(__file__).resolve().parents[1] / "README.md"
SHOWN_SECTIONS = ("validation", "preprocessing", "network", "sampling_2d", "sampling_3d", "sampling_25d", "training")


def protocol_table() -> str:
    """The settable protocol numbers with their sources, as Markdown."""
    rows = ["| setting | value | source |", "|---|---|---|"]
    rows += [
        f"| `{e.key}` | {value_text(e.value)} | {e.source}{': ' + e.note if e.note else ''} |"
        for e in entries(PAPER)
        if e.section in SHOWN_SECTIONS
    ]
    return "\n".join(rows)


def trainers_table() -> str:
    """The trainers with what each changes, as Markdown."""
    mend_trainer_lookup()
    from paraspinal_nnunet.trainer_list import list_trainers

    rows = ["| `-tr` | what it is | against `nnUNetTrainerParaspinal` |", "|---|---|---|"]
    rows += [f"| `{e.name}` | {e.what} | {e.difference} |" for e in list_trainers()]
    return "\n".join(rows)


TABLES = {"protocol": protocol_table, "trainers": trainers_table}


def with_tables(text: str) -> str:
    """README text with every marked table made anew."""
    for name, make in TABLES.items():
        start, end = f"<!-- {name}: made by docs/make_readme_tables.py -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"README.md has no place for the table '{name}'")
        before, after = pattern.split(text, maxsplit=1)
        text = f"{before}{start}\n{make()}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
