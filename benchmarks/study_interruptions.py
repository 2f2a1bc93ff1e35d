"""Whether kills change a study's tables: the engine and a training are killed at random moments, then run again.

    python benchmarks/study_interruptions.py [-o FOLDER] [--kills 3] [--seed 0] [--iterations 40]

One study is run undisturbed. For every kill another copy is run, its engine or its training process is killed with
SIGKILL at a random moment, and it is run again until it is complete. The hashes of all tables and masks are compared.
"""

import argparse
import importlib.util
import random
import shutil
import tempfile
import time
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "studies", Path(__file__).resolve().parents[1] / "tests" / "helpers" / "studies.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
makers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(makers)


def main() -> None:
    """Run all, print one line per kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", dest="folder", type=Path, help="work here and keep everything")
    parser.add_argument("--kills", type=int, default=3, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=40, help="of the training (default: %(default)s)")
    args = parser.parse_args()
    root = args.folder or Path(tempfile.mkdtemp(prefix="study_interruptions_"))
    moments = random.Random(args.seed)
    try:
        _compare(root, args, moments)
    finally:
        if args.folder is None:
            shutil.rmtree(root, ignore_errors=True)


def _compare(root: Path, args: argparse.Namespace, moments: random.Random) -> None:
    cohort = makers.make_study(root / "cohort_only", iterations=args.iterations)
    reference = _copy(cohort, root / "undisturbed")
    began = time.monotonic()
    makers.finish(reference)
    whole_s = time.monotonic() - began
    expected = makers.tables(reference)
    print(f"undisturbed: {whole_s:.0f} s, {len(expected)} tables and masks", flush=True)
    for kind in ("engine", "training"):
        for number in range(args.kills):
            study = _copy(cohort, root / f"{kind}_{number}")
            moment = moments.uniform(0.05, 0.95)
            told = _disturb(study, kind, moment, whole_s, args.iterations // 2)
            makers.finish(study)
            same = makers.tables(study) == expected
            print(
                f"kill -9 of the {kind} {number + 1}, {told}: tables {'identical' if same else 'DIFFERENT'}", flush=True
            )
            if not same:
                raise SystemExit(1)


def _copy(cohort: Path, target: Path) -> Path:
    shutil.copytree(cohort, target)
    return target


def _disturb(study: Path, kind: str, moment: float, whole_s: float, epochs: int) -> str:
    """Run until a moment, kill, and leave the rest to the next run."""
    with makers.start(study) as process:
        began = time.monotonic()
        if kind == "engine":
            time.sleep(moment * whole_s)
            makers.kill(makers.engine_of(study))
            told = f"after {time.monotonic() - began:.1f} s, {len(makers.training_of(study))} trainings went on"
        else:
            epoch = max(1, round(moment * epochs))
            if not makers.wait_for(lambda: makers.epochs_logged(study) >= epoch, 10 * whole_s):
                raise SystemExit("the training did not begin")
            victims = makers.training_of(study)
            makers.kill(victims)
            told = f"process {victims} in epoch {epoch} of {epochs}, tried again by the engine"
        process.communicate()
    return told


if __name__ == "__main__":
    main()
