"""A whole study from one file: data, plans, all trainings and folds, statistics and report, on a workflow engine."""

import argparse
import shlex
from pathlib import Path

HELP = "run a whole study: all arms, folds, baselines, statistics, report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs and their flags."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text, add in (
        ("init", "write a commented study.yaml", _init_flags),
        ("run", "run what is missing", _run_flags),
        ("status", "what is done, running, failed and missing, and the time left", None),
        ("report", "make statistics and report anew", None),
        ("logs", "show the log of a step", _logs_flags),
        ("step", "run one step, as the engine does", _step_flags),
    ):
        verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        verb.add_argument(
            "-s", "--study", type=Path, default=Path(), metavar="DIR", help="the study's folder (default: here)"
        )
        verb.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        if add is not None:
            add(verb)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    return _ACTIONS[args.action](args)


def _init_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--demo", action="store_true", help="a small study on phantoms")
    parser.add_argument("--overwrite", action="store_true", help="replace a study.yaml that is there")
    parser.add_argument(
        "--benchmark", type=Path, metavar="JSON", help="take the trainings' resources from 'paraspinal benchmark -o'"
    )


def _run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", help="slurm, local, or the folder of a Snakemake profile (default: study.yaml's)")
    parser.add_argument("--cores", type=int, metavar="N", help="cores of this machine (default: all)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would be run")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="steps to be done, e.g. train/2d/0 (default: all)")
    parser.add_argument(
        "--engine", nargs="+", default=[], metavar="FLAG", help="further flags of Snakemake, after all others"
    )


def _logs_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("step", nargs="?", metavar="STEP", help="e.g. train/2d/0 (default: the first that failed)")
    parser.add_argument("-n", dest="lines", type=int, default=60, help="lines from its end (default: %(default)s)")


def _step_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rule", nargs="?", help="the rule (default: every step that is missing, one after another)")
    parser.add_argument("target", nargs="?", default="", help="a model, plans, a set of models or a shard")
    parser.add_argument("fold", nargs="?", default="", help="of a training or validation")
    parser.add_argument("--show", action="store_true", help="only show its commands")


def _init(args: argparse.Namespace) -> int:
    from paraspinal_nnunet.errors import InputError
    from paraspinal_nnunet.utils.files import write_text
    from paraspinal_nnunet.workflow.settings import STUDY_FILE
    from paraspinal_nnunet.workflow.study_file.template import PAPERS, demo_text, with_training_resources

    path = args.study / STUDY_FILE
    if path.exists() and not args.overwrite:
        raise InputError(f"{path}: is there already; edit it, or give --overwrite")
    text = demo_text() if args.demo else PAPERS
    if args.benchmark is not None:
        from paraspinal_nnunet.speed.run import training_resources

        text = with_training_resources(text, training_resources(args.benchmark))
    write_text(path, text)
    print(f"written: {path}; edit it, then: paraspinal study run -s {shlex.quote(str(args.study))}")
    return 0


def _run(args: argparse.Namespace) -> int:
    from paraspinal_nnunet.workflow.engine import RunOptions, run_study
    from paraspinal_nnunet.workflow.settings import read_study

    workflow = read_study(args.study)
    further = tuple(flag if flag.startswith("-") else f"--{flag}" for flag in args.engine)
    run_study(workflow, RunOptions(args.profile, args.cores, args.dry_run, tuple(args.steps), further))
    page = workflow.folder / "report" / "report.html"
    if not args.dry_run and page.is_file():
        print(f"open in a browser: {page}")
    return 0


def _status(args: argparse.Namespace) -> int:
    from paraspinal_nnunet.workflow.settings import read_study
    from paraspinal_nnunet.workflow.status import status_text

    print(status_text(read_study(args.study)))
    return 0


def _report(args: argparse.Namespace) -> int:
    from paraspinal_nnunet import cli
    from paraspinal_nnunet.workflow.settings import read_study
    from paraspinal_nnunet.workflow.state import Step
    from paraspinal_nnunet.workflow.steps import run_step

    workflow = read_study(args.study)
    for job in (Step("evaluate", "all"), Step("statistics", "all"), Step("report")):
        run_step(workflow, job, cli.main)
    print(f"open in a browser: {workflow.folder / 'report' / 'report.html'}")
    return 0


def _logs(args: argparse.Namespace) -> int:
    from paraspinal_nnunet.workflow.settings import read_study
    from paraspinal_nnunet.workflow.status import log_of

    path = log_of(read_study(args.study), args.step)
    print(f"# {path}")
    print("\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-args.lines :]))
    return 0


def _step(args: argparse.Namespace) -> int:
    from paraspinal_nnunet import cli
    from paraspinal_nnunet.workflow.commands import job_commands
    from paraspinal_nnunet.workflow.engine import run_missing_steps
    from paraspinal_nnunet.workflow.settings import read_study
    from paraspinal_nnunet.workflow.state import Step
    from paraspinal_nnunet.workflow.steps import run_step

    workflow = read_study(args.study)
    if args.rule is None:
        run_missing_steps(workflow, cli.main)
        return 0
    job = Step(args.rule, args.target, args.fold)
    if args.show:
        for command in job_commands(workflow, job):
            print(f"paraspinal {shlex.join(command)}")
        return 0
    run_step(workflow, job, cli.main)
    return 0


_ACTIONS = {"init": _init, "run": _run, "status": _status, "report": _report, "logs": _logs, "step": _step}
