"""The `paraspinal` command: one module per verb, each with HELP, `add_arguments(parser)` and `run(args)`."""

import argparse
import importlib
import logging
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.cli.guard import check_writable, guarded
from paraspinal_nnunet.cli.streams import prepare_streams
from paraspinal_nnunet.image_io.limits import voxel_limit
from paraspinal_nnunet.utils.machine import import_nothing_from_here, wait_asleep

VERBS = {
    "phantom": "data.phantom",
    "convert": "data.convert",
    "inspect": "data.inspect",
    "plan": "training.plan",
    "augment": "training.augment",
    "trainers": "training.trainers",
    "train": "training.train",
    "train-default": "training.train_default",
    "predict": "scans.predict",
    "models": "scans.models",
    "measure": "scans.measure",
    "compare": "scans.compare",
    "evaluate": "comparison.evaluate",
    "statistics": "comparison.statistics",
    "associate": "comparison.associate",
    "report": "comparison.report",
    "study": "comparison.study",
    "export": "training.export",
    "import": "training.import_model",
    "demo": "demo",
    "env": "machine.env",
    "doctor": "machine.doctor",
    "benchmark": "machine.benchmark",
}
"""The module of each verb, in the order of a user's path. They import nothing heavy at the top."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Arguments after the program's name; the process's own when None.

    Returns:
        0 when all went well, 1 after an error (one line on standard error), 130 or 143 when stopped; argparse itself
        exits with 2 on wrong usage. ``--debug`` shows the traceback of an error.
    """
    prepare_streams()
    import_nothing_from_here()
    wait_asleep()
    given = list(sys.argv[1:] if argv is None else argv)
    verb = next((name for name in given if name in VERBS), "")
    return guarded(f"paraspinal {verb}".strip(), partial(_run, given), debug="--debug" in given)


def _run(given: Sequence[str]) -> int:
    args = parser_for(given).parse_args(given)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("paraspinal_nnunet").setLevel(logging.DEBUG if args.debug else logging.INFO)
    if not args.debug:
        _quieten("pydicom", "highdicom")
    output = getattr(args, "output", None)
    if isinstance(output, Path):
        check_writable(output)
    with voxel_limit(getattr(args, "max_voxels", None)):
        return int(_module(args.verb).run(args) or 0)


def _quieten(*packages: str) -> None:
    """What is odd about a file they say of every slice, and twice; what it means for a case we say ourselves."""
    for name in packages:
        logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger(name).addFilter(_is_grave)  # pydicom sets its level as it is imported
        warnings.filterwarnings("ignore", module=name)


def _is_grave(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _module(verb: str) -> Any:
    return importlib.import_module(f"{__name__}.{VERBS[verb]}")


def parser_for(given: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the flags of the verb that is asked for; of the others, only the line of help."""
    parser = argparse.ArgumentParser(
        prog="paraspinal", description="Segment the lumbar paraspinal muscles on axial MRI."
    )
    parser.add_argument("--version", action="version", version=f"paraspinal-nnunet {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in VERBS:
        module = _module(name)
        verb = verbs.add_parser(name, help=module.HELP, description=module.__doc__)
        verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name in given:
            module.add_arguments(verb)
    return parser
