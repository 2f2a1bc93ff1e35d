"""Test and tabulate an evaluation: the paper's statistics of models, muscles and volumes, and ours beyond them."""

import argparse
from pathlib import Path

HELP = "test and tabulate an evaluation as the paper does"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "evaluation", type=Path, metavar="EVALUATION", help="folder of paraspinal evaluate, or a metrics.tsv"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument(
        "--design", type=Path, metavar="CSV",
        help="which model stands for which arm: columns model, dimension, augmentation, depth, is_baseline (default: "
        "design.tsv beside the metrics, else the models' own folders)",
    )  # fmt: skip
    parser.add_argument(
        "--rater2", type=Path, metavar="DIR",
        help="the second rater: a folder of label maps CASE.nii.gz, or an evaluation of them (folder or metrics.tsv)",
    )  # fmt: skip
    parser.add_argument(
        "--cases", type=Path, metavar="TSV",
        help="table with case, subject, sex, age, bmi (default: cases.tsv beside the labels)",
    )  # fmt: skip
    parser.add_argument(
        "--missing", choices=("error", "complete-case"), default="error",
        help="subjects that lack a value: stop (default), or leave them out of the tests that need it",
    )  # fmt: skip
    parser.add_argument(
        "--average-cases",
        action="store_true",
        help="average the cases of a subject with several; else they are an error",
    )
    parser.add_argument("--alpha", type=_level, default=0.05, help="level of Mauchly's test, equivalence and power")
    parser.add_argument("--seed", type=_seed, default=0, help="of the bootstrap")
    parser.add_argument("--no-mixed-model", action="store_true", help="leave out the linear mixed model")


def run(args: argparse.Namespace) -> int:
    """Compute, write all files, and print the main table and what was left out."""
    from paraspinal_nnunet.evaluation.comparison.data import load_study
    from paraspinal_nnunet.evaluation.comparison.files import JSON_FILE, MARKDOWN_FILE, write_statistics
    from paraspinal_nnunet.evaluation.comparison.results import Options
    from paraspinal_nnunet.evaluation.comparison.run import study_statistics
    from paraspinal_nnunet.utils.files import refuse_overwriting_inputs
    from paraspinal_nnunet.utils.text import p_clause

    read = [args.evaluation, args.design, args.rater2, args.cases]
    refuse_overwriting_inputs(read, [args.output / MARKDOWN_FILE, args.output / JSON_FILE], folders=[args.output])
    data = load_study(
        args.evaluation,
        design=args.design,
        rater2=args.rater2,
        cases=args.cases,
        average_cases=args.average_cases,
    )
    options = Options(args.missing, args.alpha, args.seed, mixed_models=not args.no_mixed_model)
    study = study_statistics(data, options)
    files = write_statistics(study, args.output)
    for row in study.frames["overall_dice"].itertuples():
        print(f"{row.model}: Dice {row.mean:.3f} ({row.sd:.3f}), n = {row.n}, {row.kind}")
    for analysis in study.analyses:
        tests = ", ".join(f"{row.effect} {p_clause(row.p)}" for row in analysis.quoted.itertuples())
        print(f"{' x '.join(analysis.factors)} ({', '.join(analysis.models)}): {tests}")
    for omission in study.omissions:
        print(f"not computed: {omission.what}: {omission.why}")
    print(f"written: {args.output / MARKDOWN_FILE}, {args.output / JSON_FILE} and {len(files) - 2} tables")
    return 0


def _level(text: str) -> float:
    level = float(text)
    if not 0 < level < 0.5:
        raise argparse.ArgumentTypeError(f"{text}: give a level between 0 and 0.5")
    return level


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise argparse.ArgumentTypeError(f"{text}: give 0 or more")
    return seed
