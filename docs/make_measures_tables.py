"""Rewrite the tables of docs/measures.md that are made from the code: the data dictionary and the flags."""

import re
from pathlib import Path

from paraspinal_nnunet.measures import quality
from paraspinal_nnunet.measures.columns import COLUMNS, METHOD, TABLES

PAGE = Path(__file__).resolve().parent / "measures.md"


def dictionary() -> str:
    """Every column of every table."""
    parts = []
    for table in TABLES:
        parts += [f"### {table}.tsv", "", "| column | unit | definition | source |", "|---|---|---|---|"]
        parts += [
            f"| `{c.name.replace(METHOD, '<method>')}` | {c.unit} | {c.definition} | {c.source} |"
            for c in COLUMNS[table]
        ]
        parts.append("")
    return "\n".join(parts).rstrip()


def flags() -> str:
    """Every kind of flag, and the limits in force."""
    rows = ["| flag | what it means |", "|---|---|"]
    rows += [f"| {kind} | {meaning} |" for kind, meaning in quality.KINDS.items()]
    limits = {
        "volume": f"{quality.COHORT_SDS:g} SD from the paper's mean",
        "asymmetry": f"{quality.ASYMMETRY_PERCENT:g} % (serious from {quality.ASYMMETRY_SERIOUS_PERCENT:g} %)",
        "fragments": f"{100 * quality.FRAGMENT_SHARE:g} % (serious from {100 * quality.FRAGMENT_SERIOUS_SHARE:g} %)",
        "spacing": f"a factor of {quality.SPACING_FACTOR:g}",
        "intensity": f"{quality.INTENSITY_SDS:g} SD of the training cases",
        "folds": f"1 - Dice of {quality.DISAGREEMENT:g} (serious from {quality.DISAGREEMENT_SERIOUS:g})",
    }
    rows += ["", "Limits: " + "; ".join(f"{kind} {limit}" for kind, limit in limits.items()) + "."]
    return "\n".join(rows)


MADE = {"dictionary": dictionary, "flags": flags}


def with_tables(text: str) -> str:
    """The page with every marked table made anew."""
    for name, make in MADE.items():
        start, end = f"<!-- {name}: made by docs/make_measures_tables.py -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{PAGE.name} has no place for '{name}'")
        before, after = pattern.split(text, maxsplit=1)
        text = f"{before}{start}\n{make()}\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
