"""Predict new scans with a trained model: as `nnUNetv2_predict` does, or with a portable model and without nnU-Net."""

import argparse
import sys
from pathlib import Path

HELP = "predict new scans with a trained model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-i", dest="input", type=Path, required=True, help="a NIfTI file, or a folder of them")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="folder for the masks")
    parser.add_argument("-m", dest="model", type=Path, required=True, help="trained model folder, or an exported model")
    parser.add_argument("-f", dest="folds", nargs="+", help="folds to average (default: all that were trained)")
    parser.add_argument("-device", choices=["cuda", "cpu", "mps"], help="default: cuda where there is one, else cpu")
    parser.add_argument("-step_size", type=float, default=0.5, help="tile step; 0.75 is the authors' overlap")
    parser.add_argument("--disable_tta", action="store_true", help="no mirroring, for models trained with it")
    parser.add_argument("--overwrite", action="store_true", help="predict again what is there already")
    parser.add_argument(
        "--mode",
        choices=["tiles", "fast"],
        default="tiles",
        help="portable models: tiles gives nnU-Net's labels, fast lays fewer tiles, over the muscles (default: tiles)",
    )
    parser.add_argument(
        "--runtime",
        choices=["auto", "onnxruntime", "openvino"],
        default="auto",
        help="portable models: what runs the network (default: auto, openvino on a CPU where it is installed)",
    )
    parser.add_argument("--threads", type=int, help="portable models: processor threads (default: all)")
    parser.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="K/N", help="only the K-th of N equal shares of the scans"
    )


def run(args: argparse.Namespace) -> int:
    """Predict."""
    from paraspinal_nnunet.batch import failed
    from paraspinal_nnunet.prediction import PredictionRequest, failure_summary, predict_scans

    outcomes = predict_scans(
        PredictionRequest(
            scans=args.input,
            output=args.output,
            model=args.model,
            folds=args.folds,
            device=args.device,
            step_size=args.step_size,
            mirroring=not args.disable_tta,
            overwrite=args.overwrite,
            shard=args.shard,
            mode=args.mode,
            runtime=args.runtime,
            threads=args.threads,
        )
    )
    for outcome in outcomes:
        if outcome.status != "failed":
            print(args.output / outcome.name)
    if failed(outcomes):
        print(f"paraspinal predict: {failure_summary(outcomes)}", file=sys.stderr)
        return 1
    return 0


def _shard(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text}: give K/N with K from 1 to N, e.g. 2/5")
    return int(number), int(count)
