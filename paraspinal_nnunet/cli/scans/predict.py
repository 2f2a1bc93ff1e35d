"""Segment new scans with a trained model, measure them, and make a page of each: NIfTI, BIDS or DICOM in."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from paraspinal_nnunet.cli.flags import add_max_voxels

if TYPE_CHECKING:
    from paraspinal_nnunet.prediction import PredictionRequest

HELP = "segment new scans with a trained model, measure them, and make a page of each"

POST_STEPS = ("largest-component", "fill-holes", "closing")
THRESHOLDS = ("gmm3", "otsu", "kmeans", "gmm")
DICOM_OBJECTS = ("seg", "report", "page", "contours")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "-i", dest="input", type=Path, required=True, metavar="INPUT",
        help="a NIfTI, MetaImage or NRRD file, or a folder of them; a BIDS data set; a DICOM folder or zip of one "
        "study, or a folder of several",
    )  # fmt: skip
    parser.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="OUT", help="folder for masks and all else"
    )
    parser.add_argument(
        "-m", dest="model", type=Path, metavar="MODEL",
        help="what 'paraspinal export' wrote, folder or zip, or nnU-Net's model folder (default: the model that comes "
        "with the program, see 'paraspinal models'; it was trained on computed scans only)",
    )  # fmt: skip
    parser.add_argument(
        "--then", type=Path, metavar="MODEL",
        help="a second model, trained on a data set of 'paraspinal convert boxes': it looks again in the box around "
        "the muscles that -m finds, and alone decides where these are; -f and all else holds for both",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="make again what is there already")
    parser.add_argument(
        "-np", dest="writers", type=int, default=1, metavar="N",
        help="scans that are measured and written at a time, while the network goes on with the next (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="K/N", help="only the K-th of N equal shares of the scans"
    )
    _add_model_arguments(parser.add_argument_group("how the model is applied"))
    _add_input_arguments(parser.add_argument_group("which scans"))
    _add_product_arguments(parser.add_argument_group("what is made beside the masks"))


def _add_model_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-f", dest="folds", nargs="+", help="folds to average (default: all that were trained)")
    group.add_argument("-device", choices=["cuda", "cpu", "mps"], help="default: cuda where there is one, else cpu")
    group.add_argument("-step_size", type=float, default=0.5, help="tile step; 0.75 is the authors' overlap")
    group.add_argument("--disable_tta", action="store_true", help="no mirroring, for models trained with it")
    group.add_argument(
        "--mode",
        choices=["tiles", "fast"],
        default="tiles",
        help="portable models: tiles gives nnU-Net's labels, fast lays fewer tiles, over the muscles (default: tiles)",
    )
    group.add_argument(
        "--runtime",
        choices=["auto", "onnxruntime", "openvino"],
        default="auto",
        help="portable models: what runs the network (default: auto, openvino on a CPU where it is installed)",
    )
    group.add_argument("--threads", type=int, help="portable models: processor threads (default: all)")
    group.add_argument(
        "--timeout", type=float, metavar="SECONDS",
        help="what the network may take for a scan; one that takes longer fails (default: no limit)",
    )  # fmt: skip
    group.add_argument(
        "--post", type=_steps, default=(), metavar="STEPS",
        help=f"clean-ups of the masks, in this order, joined by commas: {', '.join(POST_STEPS)} (default: none, as in "
        "the paper)",
    )  # fmt: skip


def _add_input_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--series", metavar="NUMBER|UID|REGEX",
        help="DICOM: the series to take in every study (default: the axial T2 stack, by the rules)",
    )  # fmt: skip
    group.add_argument("--explain", action="store_true", help="DICOM: say why each series was accepted or rejected")
    group.add_argument(
        "--keep-identifiers", action="store_true",
        help="DICOM: name files by the studies' folders (default: pseudonyms)",
    )  # fmt: skip
    group.add_argument("--suffix", default="T2w", help="BIDS: of the images (default: T2w)")
    group.add_argument(
        "--entity", nargs="+", type=_entity, default=[], metavar="KEY-LABEL",
        help="BIDS: only images with these entities, e.g. ses-01 acq-axial",
    )  # fmt: skip
    add_max_voxels(group)


def _add_product_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--no-measures", action="store_true", help="no tables and no flags")
    group.add_argument("--no-pages", action="store_true", help="no pages and pictures")
    group.add_argument(
        "--seg-nrrd", action="store_true",
        help="each mask as 3D Slicer's segmentation, too, with names and colours: slicer/NAME.seg.nrrd",
    )  # fmt: skip
    group.add_argument(
        "--dicom", nargs="*", choices=DICOM_OBJECTS, default=["seg", "report", "page"], metavar="OBJECT",
        help="DICOM: objects to write: seg (the mask), report (its measures, as SR), page (pictures and table), "
        "contours (as RTSTRUCT); none without a name (default: seg report page)",
    )  # fmt: skip
    group.add_argument("--no-seg", action="store_true", help="DICOM: as --dicom without a name")
    group.add_argument(
        "--allow-empty", "--allow-missing", dest="allow_empty", action="store_true",
        help="DICOM: write DICOM objects also of masks without any voxel, marked so (default: refuse)",
    )  # fmt: skip
    group.add_argument(
        "--fat", nargs="*", choices=THRESHOLDS, default=["gmm3"], metavar="METHOD",
        help=f"thresholds that part fat from muscle: {', '.join(THRESHOLDS)}; none without a name (default: gmm3)",
    )  # fmt: skip
    group.add_argument(
        "--levels", type=Path, metavar="PATH",
        help="vertebrae and discs: a table with the columns case, level and slice, a levels label map, or a folder of "
        "these maps",
    )  # fmt: skip
    group.add_argument(
        "--with-patient-facts", action="store_true",
        help="DICOM: show name, id, dates, sex and age on the pages (default: nothing of the patient)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Predict, and print the masks; 1 where a scan failed."""
    from paraspinal_nnunet.inference.batch import failed
    from paraspinal_nnunet.prediction import failure_summary, predict_scans

    outcomes = predict_scans(request_from(args))
    for outcome in outcomes:
        if outcome.status != "failed":
            print(args.output / outcome.name)
    if failed(outcomes):
        print(f"paraspinal predict: {failure_summary(outcomes)}", file=sys.stderr)
        return 1
    return 0


def request_from(args: argparse.Namespace) -> "PredictionRequest":
    """The request that the command line describes."""
    from paraspinal_nnunet.inference.inputs import InputChoice
    from paraspinal_nnunet.inference.outputs import Products
    from paraspinal_nnunet.models.shipped import resolve_model
    from paraspinal_nnunet.prediction import PredictionRequest

    return PredictionRequest(
        scans=args.input,
        output=args.output,
        model=resolve_model(args.model),
        then=args.then,
        folds=args.folds,
        device=args.device,
        step_size=args.step_size,
        mirroring=not args.disable_tta,
        overwrite=args.overwrite,
        shard=args.shard,
        mode=args.mode,
        runtime=args.runtime,
        threads=args.threads,
        post=args.post,
        timeout=args.timeout,
        choice=InputChoice(
            series=args.series,
            keep_identifiers=args.keep_identifiers,
            explain=args.explain,
            suffix=args.suffix,
            entities=dict(args.entity),
        ),
        products=Products(
            measures=not args.no_measures,
            pages=not args.no_pages,
            slicer=args.seg_nrrd,
            dicom=() if args.no_seg else tuple(args.dicom),
            allow_empty=args.allow_empty,
            fat=tuple(args.fat),
            levels=args.levels,
            patient_facts=args.with_patient_facts,
        ),
        writers=args.writers,
    )


def _shard(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text}: give K/N with K from 1 to N, e.g. 2/5")
    return int(number), int(count)


def _steps(text: str) -> tuple[str, ...]:
    steps = tuple(filter(None, text.split(",")))
    unknown = [step for step in steps if step.partition("=")[0] not in POST_STEPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is unknown; join by commas: {', '.join(POST_STEPS)}")
    return steps


def _entity(text: str) -> tuple[str, str]:
    key, dash, label = text.partition("-")
    if not (key and dash and label):
        raise argparse.ArgumentTypeError(f"{text}: give KEY-LABEL, e.g. ses-01")
    return key, label
