"""Compare predictions with reference labels: overlap and volume of each muscle, case by case and on average."""

import argparse
from pathlib import Path

HELP = "compare predictions with reference labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "-ref", "--reference", required=True, type=Path, metavar="DIR",
        help="folder of reference label maps CASE.nii.gz, or an nnU-Net data set (then its labelsTr)",
    )  # fmt: skip
    parser.add_argument(
        "--pred", required=True, nargs="+", action="extend", metavar="NAME=DIR",
        help="a model's name and its folder: of predictions CASE.nii.gz, or a trained nnU-Net model, whose out-of-fold "
        "predictions are taken; may be repeated",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument("-np", "--workers", type=int, metavar="N", help="cases at a time (default: one per core)")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images (default: beside the labels)")
    parser.add_argument(
        "--cases", type=Path, metavar="TSV",
        help="table with the columns case and subject (default: cases.tsv beside the labels)",
    )  # fmt: skip
    parser.add_argument(
        "--post", nargs="+", action="extend", default=[], metavar="STEP",
        help="clean every prediction up first: largest-component, fill-holes, closing (default: nothing)",
    )  # fmt: skip
    parser.add_argument("--subset", action="store_true", help="folders of predictions may hold only some of the cases")
    parser.add_argument(
        "--surface", action="store_true",
        help="write surface.tsv: HD95, average surface distance and surface Dice of each muscle",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance-mm", type=float, metavar="MM", help="tolerance of the surface Dice (default: 1; needs --surface)"
    )
    parser.add_argument(
        "--surface-convention", choices=("area", "voxels"),
        help="weigh surfaces by their area (default), or count surface voxels as MONAI does; needs --surface",
    )  # fmt: skip
    parser.add_argument(
        "--per-slice", action="store_true", help="write slices.tsv: Dice and areas in every axial slice of each muscle"
    )
    parser.add_argument(
        "--volumes", action="store_true", help="write volumes.tsv: signed, absolute and relative errors of the volumes"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, write metrics.tsv, evaluation.json and what is asked for besides, and print a table of each model."""
    from paraspinal_nnunet.evaluation import evaluate, format_summary, read_record
    from paraspinal_nnunet.evaluation.predictions import describe, parse_models
    from paraspinal_nnunet.evaluation.record import RECORD_FILE
    from paraspinal_nnunet.evaluation.references import label_files
    from paraspinal_nnunet.utils.files import refuse_overwriting_inputs
    from paraspinal_nnunet.utils.machine import keep_freed_memory

    models = parse_models(args.pred)
    read = [args.reference, args.reference / "labelsTr", args.images, *models.values()]
    refuse_overwriting_inputs([*read, args.cases], _written(args.output), folders=[args.output])
    keep_freed_memory()
    metrics = evaluate(
        args.reference,
        models,
        args.output,
        images=args.images,
        cases=args.cases,
        subset=args.subset,
        post=args.post,
        workers=args.workers,
        surface_tolerance_mm=_tolerance_mm(args),
        surface_convention=args.surface_convention or "area",
        per_slice=args.per_slice,
        volumes=args.volumes,
    )
    record = read_record(args.output)
    references = len(label_files(record.reference))
    titles = {
        name: f"{name}: {len(model.cases)} of {references} cases, {describe(model.kind, model.folds)}; mean (SD)"
        for name, model in record.models.items()
    }
    print(format_summary(metrics, titles))
    tables = ", ".join(str(args.output / name) for name in record.files)
    print(f"\nwritten: {tables} and {args.output / RECORD_FILE}")
    return 0


def _written(output: Path) -> list[Path]:
    from paraspinal_nnunet.evaluation.record import METRICS_FILE, RECORD_FILE, SLICES_FILE, SURFACE_FILE, VOLUMES_FILE

    return [output / name for name in (METRICS_FILE, RECORD_FILE, SURFACE_FILE, SLICES_FILE, VOLUMES_FILE)]


def _tolerance_mm(args: argparse.Namespace) -> float | None:
    """The tolerance of the surface Dice, or None where surfaces are not asked for."""
    from paraspinal_nnunet.errors import InputError
    from paraspinal_nnunet.evaluation.extras import DEFAULT_TOLERANCE_MM

    if not args.surface:
        if args.tolerance_mm is not None:
            raise InputError(f"--tolerance-mm {args.tolerance_mm:g} has no effect without --surface; give both")
        if args.surface_convention is not None:
            raise InputError(
                f"--surface-convention {args.surface_convention} has no effect without --surface; give both"
            )
        return None
    return DEFAULT_TOLERANCE_MM if args.tolerance_mm is None else args.tolerance_mm
