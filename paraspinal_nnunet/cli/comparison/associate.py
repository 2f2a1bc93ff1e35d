"""Model fat, or another measure, by sex, age, body mass index and what else is known of people, all at once."""

import argparse
from pathlib import Path

HELP = "model measures by sex, age, BMI, race and ethnicity together"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "measures", type=Path, metavar="MEASURES",
        help="measures.tsv of paraspinal measure or paraspinal predict, or the folder that holds it",
    )  # fmt: skip
    parser.add_argument(
        "--people", type=Path, required=True, metavar="TABLE",
        help="who was scanned: a column participant_id (BIDS) or case (cases.tsv), and any of sex, age, bmi, race, "
        "ethnicity and others",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument(
        "--outcome", nargs="+", default=[], metavar="COLUMN",
        help="what is modelled: columns of the measures (default: all fat fractions)",
    )  # fmt: skip
    parser.add_argument(
        "--terms", nargs="+", default=[], metavar="COLUMN",
        help="what it is modelled by: columns of the people (default: those of sex, age, bmi, race, ethnicity that "
        "differ between people)",
    )  # fmt: skip
    parser.add_argument("--average-cases", action="store_true", help="average the cases of one person; else an error")


def run(args: argparse.Namespace) -> int:
    """Fit, write, and say what was found."""
    from paraspinal_nnunet.evaluation.associations import MARKDOWN_FILE, TABLE_FILE, associate, write_associations
    from paraspinal_nnunet.utils.files import refuse_overwriting_inputs
    from paraspinal_nnunet.utils.text import p_clause

    measures = args.measures / "measures.tsv" if args.measures.is_dir() else args.measures
    outputs = [args.output / TABLE_FILE, args.output / MARKDOWN_FILE]
    refuse_overwriting_inputs([measures, args.people], outputs, folders=[args.output])
    found = associate(measures, args.people, outcomes=args.outcome, terms=args.terms, average_cases=args.average_cases)
    effects = found.table[found.table["term"] != "(Intercept)"]
    for (outcome, term), rows in effects.groupby(["outcome", "term"], sort=False):
        least = rows.loc[rows["term_p"].idxmin()]
        where = f"{least['muscle']} {least['side']}".replace("_", " ")
        print(f"{outcome}, {term}: least {p_clause(least['term_p'])} ({where}), n = {least['n']}")
    for note in found.notes:
        print(note)
    print("written: " + ", ".join(map(str, write_associations(found, args.output))))
    return 0
