"""Train one fold with nnU-Net: `nnUNetv2_train` with our trainers found, and independent of torchvision."""

import argparse
from pathlib import Path

HELP = "train one fold (nnUNetv2_train with our trainers)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-d", dest="dataset", required=True, help="data set number or name")
    parser.add_argument("-c", dest="configuration", required=True, help="2d or 3d_fullres")
    parser.add_argument("-f", dest="fold", required=True, help="fold, or 'all'")
    parser.add_argument("-tr", dest="trainer", default="nnUNetTrainerParaspinal", help="trainer (default: %(default)s)")
    parser.add_argument("-p", dest="plans", default="ParaspinalPlans", help="plans (default: %(default)s)")
    parser.add_argument("-device", choices=["cuda", "cpu", "mps"], help="default: cuda where there is one, else cpu")
    parser.add_argument("-num_gpus", type=int, default=1, help="GPUs for one training (default: 1)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    parser.add_argument(
        "--accept-changes", action="store_true",
        help="with --resume: go on although settings or data changed since; both stand in the record",
    )  # fmt: skip
    parser.add_argument(
        "-pretrained_weights", dest="pretrained", type=Path, metavar="FILE",
        help="begin with the weights of a checkpoint, or with 'default', the 2D model that comes with the program; "
        "where the labels are others, with the last layer of the classes of the same name",
    )  # fmt: skip
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument(
        "--val", action="store_true", help="only predict the fold's test cases with the final weights"
    )
    validation.add_argument("--no-val", action="store_true", help="only train")
    parser.add_argument("--npz", action="store_true", help="keep the test cases' probabilities")


def run(args: argparse.Namespace) -> int:
    """Train."""
    from paraspinal_nnunet.training.run import TrainingRequest, train

    train(
        TrainingRequest(
            dataset=args.dataset,
            configuration=args.configuration,
            fold=args.fold,
            trainer=args.trainer,
            plans_name=args.plans,
            device=args.device,
            gpus=args.num_gpus,
            resume=args.resume,
            only_validate=args.val,
            keep_probabilities=args.npz,
            validate=not args.no_val,
            accept_changes=args.accept_changes,
            pretrained=args.pretrained,
        )
    )
    return 0
