"""Measure segmented muscles: volume, length, area, fat, levels, asymmetry, and flags of what to look at."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.cli.flags import add_max_voxels
from paraspinal_nnunet.errors import InputError

if TYPE_CHECKING:
    from paraspinal_nnunet.measures.case import MeasureOptions

LEVEL_SCHEMES = (
    *("totalspineseg", "totalsegmentator", "totalsegmentator-v1", "totalsegmentator-mr", "verse", "spineps", "spider"),
    "mrspineseg",
)

HELP = "measure volume, area, fat and asymmetry of segmented muscles"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "-l",
        "--labels",
        required=True,
        type=Path,
        metavar="MASKS",
        help="a label map, or a folder of them: one per case",
    )
    parser.add_argument(
        "-i", "--input", type=Path, metavar="SCANS",
        help="the scan, or the folder of scans, whose names begin with the cases' (default: sizes alone)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument(
        "--levels", type=Path, metavar="PATH",
        help="vertebrae and discs: a table with the columns case, level and slice (from 1 at the feet), a levels label "
        "map, or a folder of these maps",
    )  # fmt: skip
    parser.add_argument(
        "--level-names", type=Path, metavar="FILE",
        help="JSON or YAML file of value: level for levels label maps of other schemes",
    )  # fmt: skip
    parser.add_argument(
        "--levels-scheme", choices=LEVEL_SCHEMES,
        help="whose values levels label maps have (default: the one known scheme that fits)",
    )  # fmt: skip
    parser.add_argument(
        "--fat", nargs="*", choices=("gmm3", "otsu", "kmeans", "gmm"), default=["gmm3"], metavar="METHOD",
        help="thresholds that part fat from muscle in the scan: gmm3, otsu, kmeans, gmm; none without a name (default: "
        "gmm3)",
    )  # fmt: skip
    parser.add_argument(
        "--fat-per", choices=("muscle", "side"), default="muscle",
        help="one threshold for both sides of a muscle, or one for each side (default: muscle)",
    )  # fmt: skip
    parser.add_argument(
        "--dixon", nargs=2, type=Path, metavar=("WATER", "FAT"),
        help="water and fat images, or folders of them: adds the Dixon fat fraction",
    )  # fmt: skip
    parser.add_argument("--fat-maps", action="store_true", help="write where fat is, as NIfTI on the label map's grid")
    parser.add_argument(
        "--muscles", nargs="+", metavar="NAME", choices=[muscle.value for muscle in Muscle],
        help="what is looked for, e.g. multifidus (default: the paper's three, and what else a map has)",
    )  # fmt: skip
    parser.add_argument(
        "--scheme", metavar="NAME|FILE",
        help="label values of the maps: lpm, musclemap..., or a file (default: as nnU-Net's dataset.json beside them "
        "says, else ours)",
    )  # fmt: skip
    parser.add_argument(
        "--regrid", choices=("refuse", "resample", "by-voxel"), default="refuse",
        help="images that are not on the label map's grid are refused, interpolated there, or taken voxel by voxel "
        "where only the headers of one acquisition differ (default: refuse)",
    )  # fmt: skip
    parser.add_argument(
        "-m", "--model", type=Path, metavar="MODEL",
        help="the model that made the maps (folder or archive): flags scans unlike those that it was trained on",
    )  # fmt: skip
    parser.add_argument("--xlsx", action="store_true", help="write all tables as a workbook, too: measures.xlsx")
    parser.add_argument("--overwrite", action="store_true", help="measure again what is there already")
    parser.add_argument("-np", "--workers", type=int, metavar="N", help="cases at a time (default: one per core)")
    add_max_voxels(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, and say what was written; 1 where a case failed."""
    import sys

    from paraspinal_nnunet.measures.batch import BatchRequest, measure_batch, summary_lines

    water, fat = args.dixon or (None, None)
    result = measure_batch(
        BatchRequest(
            labels=args.labels,
            output=args.output,
            scans=args.input,
            levels=args.levels,
            water=water,
            fat=fat,
            options=_options(args),
            fat_maps=args.fat_maps,
            xlsx=args.xlsx,
            overwrite=args.overwrite,
            workers=args.workers,
        )
    )
    for line in summary_lines(result):
        print(line)
    for case, reason in result.failed.items():
        print(f"case {case}: not measured: {' '.join(reason.split())}", file=sys.stderr)
    return 1 if result.failed else 0


def _options(args: argparse.Namespace) -> "MeasureOptions":
    from paraspinal_nnunet.measures.case import MeasureOptions
    from paraspinal_nnunet.measures.level_names import read_level_names
    from paraspinal_nnunet.measures.quality import TrainingDescription

    training = None
    if args.model is not None:
        from paraspinal_nnunet.models.description import describe_model

        entry = describe_model(args.model).training
        if not entry:
            raise InputError(f"{args.model}: does not say what it was trained on; give a trained or an exported model")
        training = TrainingDescription.from_entry(entry)
    return MeasureOptions(
        fat_methods=tuple(args.fat),
        fat_per=args.fat_per,
        muscles=tuple(Muscle(name) for name in args.muscles) if args.muscles else None,
        regrid=args.regrid,
        label_values=_label_values(args.scheme, args.labels),
        level_names=read_level_names(args.level_names) if args.level_names else None,
        levels_scheme=args.levels_scheme,
        training=training,
    )


def _label_values(scheme: str | None, masks: Path) -> dict[int, int] | None:
    """Source value -> canonical value, None where they are the same; what a scheme drops becomes background."""
    from paraspinal_nnunet.anatomy import BACKGROUND, BY_KEY
    from paraspinal_nnunet.dataset_conversion.labels.translation import beside_masks, label_map

    beside = None if scheme else beside_masks(masks.absolute() if masks.is_dir() else masks.absolute().parent)
    if scheme is None and beside is None:
        return None
    found = label_map(scheme or str(beside), quadratus=True)
    values = {value: BY_KEY[key].label for value, key in found.values.items()}
    values |= dict.fromkeys(found.dropped, BACKGROUND)
    if beside is not None:
        if all(value == canonical for value, canonical in values.items()):
            return None
        print(f"label values as {beside} names them")
    return values
