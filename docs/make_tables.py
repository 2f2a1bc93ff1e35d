"""Rewrite the tables of the reference pages that are made from the code."""

import argparse
import re
from pathlib import Path

from paraspinal_nnunet.cli.scans import predict
from paraspinal_nnunet.dataset_conversion.sources import SOURCES, source_module
from paraspinal_nnunet.follow_up import checks as follow_up_checks
from paraspinal_nnunet.follow_up import outputs as follow_up_outputs
from paraspinal_nnunet.measures import quality
from paraspinal_nnunet.measures.outputs.columns import COLUMNS, METHOD
from paraspinal_nnunet.measures.outputs.columns import TABLES as MEASURE_TABLES
from paraspinal_nnunet.nnunet.compat import fix_trainer_lookup
from paraspinal_nnunet.protocol.paper import PAPER, entries
from paraspinal_nnunet.protocol.table import value_text
from paraspinal_nnunet.workflow.study_file.schema import fields_table

REFERENCE = Path(__file__).with_name("reference")
SHOWN_SECTIONS = (
    *("validation", "preprocessing", "network", "sampling_2d", "sampling_3d", "sampling_25d", "sampling_orthogonal"),
    "training",
)


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
    fix_trainer_lookup()
    from paraspinal_nnunet.trainers.listing import list_trainers

    rows = ["| `-tr` | what it is | against `nnUNetTrainerParaspinal` |", "|---|---|---|"]
    rows += [f"| `{e.name}` | {e.what} | {e.difference} |" for e in list_trainers()]
    return "\n".join(rows)


def sources_table() -> str:
    """The converters with how their files lie, as Markdown."""
    rows = ["| source | what it takes | files |", "|---|---|---|"]
    modules = {name: source_module(name) for name in SOURCES}
    rows += [f"| `{name}` | {m.HELP} | {m.LAYOUT.replace('|', 'or')} |" for name, m in modules.items()]
    return "\n".join(rows).replace("*", "\\*")


def measures_table() -> str:
    """Every column of every table of measures."""
    parts = []
    for table in MEASURE_TABLES:
        parts += [f"### {table}.tsv", "", "| column | unit | definition | source |", "|---|---|---|---|"]
        parts += [
            f"| `{c.name.replace(METHOD, '<method>')}` | {c.unit} | {c.definition} | {c.source} |"
            for c in COLUMNS[table]
        ]
        parts.append("")
    return "\n".join(parts).rstrip()


def follow_up_flags_table() -> str:
    """Every kind of flag of a pair of scans."""
    rows = ["| flag | what it means |", "|---|---|"]
    return "\n".join(rows + [f"| {kind} | {meaning} |" for kind, meaning in follow_up_checks.PAIR_FLAGS.items()])


def follow_up_table() -> str:
    """Every column of every table of a follow-up."""
    parts = []
    for table, declared in follow_up_outputs.TABLES.items():
        parts += [f"### {table}.tsv", "", "| column | unit | definition | source |", "|---|---|---|---|"]
        parts += [f"| `{c.name}` | {c.unit} | {c.definition} | {c.source} |" for c in declared]
        parts.append("")
    return "\n".join(parts).rstrip()


def quality_flags_table() -> str:
    """Every kind of quality flag, and the limits in force."""
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


def predict_flags_table() -> str:
    """Every flag of `paraspinal predict` with its help, by groups."""
    parser = argparse.ArgumentParser(add_help=False)
    predict.add_arguments(parser)
    rows = ["| flag | what it does |", "|---|---|"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.option_strings]
        if actions and group.title not in ("options", "optional arguments"):
            rows.append(f"| **{group.title}** | |")
        rows += [f"| `{_spelled(action)}` | {action.help} |" for action in actions]
    return "\n".join(rows)


TABLES = {
    REFERENCE / "protocol.md": {"protocol": protocol_table},
    REFERENCE / "trainers.md": {"trainers": trainers_table},
    REFERENCE / "converting.md": {"sources": sources_table},
    REFERENCE / "measures.md": {"dictionary": measures_table, "flags": quality_flags_table},
    REFERENCE / "follow_up.md": {"flags": follow_up_flags_table, "dictionary": follow_up_table},
    REFERENCE / "predicting.md": {"flags": predict_flags_table},
    REFERENCE / "study.md": {"study fields": fields_table},
}


def with_tables(text: str, path: Path) -> str:
    """A document's text with every marked table made anew."""
    for name, make in TABLES[path].items():
        start, end = f"<!-- {name}: made by docs/make_tables.py -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{path.name} has no place for the table '{name}'")
        before, after = pattern.split(text, maxsplit=1)
        text = f"{before}{start}\n{make()}\n{end}{after}"
    return text


def _spelled(action: argparse.Action) -> str:
    if action.nargs == 0:
        return action.option_strings[0]
    name = "{" + ",".join(map(str, action.choices)) + "}" if action.choices and not action.metavar else action.metavar
    more = " ..." if action.nargs in ("+", "*") else ""
    return f"{action.option_strings[0]} {name or action.dest.upper()}{more}".replace("|", "\\|")


if __name__ == "__main__":
    for document in TABLES:
        document.write_text(with_tables(document.read_text(encoding="utf-8"), document), encoding="utf-8")
