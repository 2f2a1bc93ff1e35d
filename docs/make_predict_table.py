"""Rewrite the table of flags in docs/predicting.md, which is made from the command's own parser."""

import argparse
from pathlib import Path

from paraspinal_nnunet.cli import predict

PAGE = Path(__file__).resolve().parent / "predicting.md"
START, END = "<!-- flags: made by docs/make_predict_table.py -->", "<!-- end of flags -->"


def flags() -> str:
    """Every flag with its help, by groups."""
    parser = argparse.ArgumentParser(add_help=False)
    predict.add_arguments(parser)
    rows = ["| flag | what it does |", "|---|---|"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.option_strings]
        if actions and group.title not in ("options", "optional arguments"):
            rows.append(f"| **{group.title}** | |")
        rows += [f"| `{_spelled(action)}` | {action.help} |" for action in actions]
    return "\n".join(rows)


def with_table(text: str) -> str:
    """The page with the table made anew."""
    before, found, rest = text.partition(START)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{PAGE.name} has no place for the table of flags")
    return f"{before}{START}\n{flags()}\n{END}{after}"


def _spelled(action: argparse.Action) -> str:
    if action.nargs == 0:
        return action.option_strings[0]
    name = "{" + ",".join(map(str, action.choices)) + "}" if action.choices and not action.metavar else action.metavar
    more = " ..." if action.nargs in ("+", "*") else ""
    return f"{action.option_strings[0]} {name or action.dest.upper()}{more}".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
