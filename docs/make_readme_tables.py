"""Rewrite the tables that are made from the code: in README.md, docs/converting.md and docs/study.md."""

import re
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.sources import SOURCES, source_module
from paraspinal_nnunet.protocol import PAPER, entries
from paraspinal_nnunet.protocol_table import value_text
from paraspinal_nnunet.seam import mend_trainer_lookup
from paraspinal_nnunet.study.schema import fields_table

README = Path(__file__).resolve().parents[1] / "README.md"
CONVERTING = Path(__file__).with_name("converting.md")
STUDY = Path(__file__).with_name("study.md")
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


def sources_table() -> str:
    """The converters with how their files lie, as Markdown."""
    rows = ["| source | what it takes | files |", "|---|---|---|"]
    modules = {name: source_module(name) for name in SOURCES}
    rows += [f"| `{name}` | {m.HELP} | {m.LAYOUT.replace('|', 'or')} |" for name, m in modules.items()]
    return "\n".join(rows).replace("*", "\\*")


TABLES = {
    README: {"protocol": protocol_table, "trainers": trainers_table},
    CONVERTING: {"sources": sources_table},
    STUDY: {"study fields": fields_table},
}


def with_tables(text: str, path: Path = README) -> str:
    """A document's text with every marked table made anew."""
    for name, make in TABLES[path].items():
        start, end = f"<!-- {name}: made by docs/make_readme_tables.py -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{path.name} has no place for the table '{name}'")
        before, after = pattern.split(text, maxsplit=1)
        text = f"{before}{start}\n{make()}\n{end}{after}"
    return text


if __name__ == "__main__":
    for document in TABLES:
        document.write_text(with_tables(document.read_text(encoding="utf-8"), document), encoding="utf-8")
