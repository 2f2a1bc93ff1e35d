"""Make a trained model ready to travel: slim, safe to load, with a manifest, for nnU-Net's commands or without them."""

import argparse
from pathlib import Path

HELP = "export a trained model, slim and safe to load"
FORMAT_HELP = "nnunet: for nnU-Net's own commands; onnx: portable, predicts without torch and nnU-Net (default: nnunet)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-m", dest="model", type=Path, required=True, help="trained model folder (with plans.json)")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="a folder, or a name that ends in .zip")
    parser.add_argument("-f", dest="folds", nargs="+", help="folds to export (default: all that were trained)")
    parser.add_argument("--format", choices=["nnunet", "onnx"], default="nnunet", help=FORMAT_HELP)
    parser.add_argument("--licence", default="not stated", help="under which the model may be used")
    parser.add_argument("--citation", nargs="+", default=[], help="what to cite beside the method and nnU-Net")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it is there already")


def run(args: argparse.Namespace) -> int:
    """Export, and say what came of it."""
    from paraspinal_nnunet.export.run import ExportRequest, export

    print(
        export(
            ExportRequest(
                model=args.model,
                output=args.output,
                folds=args.folds,
                format=args.format,
                licence=args.licence,
                citation=args.citation,
                overwrite=args.overwrite,
            )
        )
    )
    return 0
