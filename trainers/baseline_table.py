"""nnU-Net's own configuration in the protocol's words, for the table that a baseline prints at its start."""

from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.protocol.paper import PAPER, SECTION_OF_CONFIGURATION
from paraspinal_nnunet.protocol.table import Row, comparison

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

GRADIENT_CLIPPING = 12.0
"""Source: nnU-Net 2.8, `nnUNetTrainer.train_step`."""


def baseline_rows(trainer: "nnUNetTrainer") -> list[Row]:
    """Every protocol number with nnU-Net's value in force and the paper's beside it.

    Args:
        trainer: A baseline before its training; its length is read from it.
    """
    name = trainer.configuration_name
    rows = comparison(PAPER, name if name in SECTION_OF_CONFIGURATION else "3d_fullres")
    in_force = _values(trainer)
    return [Row(row.key, in_force.get(row.key, row.value), row.paper, row.source) for row in rows]


def _values(trainer: "nnUNetTrainer") -> dict[str, Any]:
    numbers = trainer.configuration_manager
    resampling = numbers.configuration["resampling_fn_data_kwargs"]
    network = numbers.network_arch_init_kwargs
    return {
        "spacing": tuple(round(float(mm), 4) for mm in numbers.spacing),
        "normalization": ", ".join(numbers.normalization_schemes),
        "interpolation_order": resampling["order"],
        "interpolation_order_z": resampling["order_z"],
        "channels": tuple(network["features_per_stage"]),
        "strides": tuple(max(stride) for stride in network["strides"][1:]),
        "num_res_units": network.get("n_blocks_per_stage", 0),
        "kernel_size": max(max(kernel) for kernel in network["kernel_sizes"]),
        "patch_size": tuple(numbers.patch_size),
        "batch_size": numbers.batch_size,
        "crops_per_case": 1,
        "loss": "Dice without background + ce, deep supervision",
        "optimizer": "sgd",
        "schedule": "polynomial",
        "learning_rate": trainer.initial_lr,
        "weight_decay": trainer.weight_decay,
        "iterations": trainer.iterations,
        "foreground_ratio": trainer.oversample_foreground_percent,
        "augmentation": "nnunet",
        "seed": "none",
        "precision": "amp" if trainer.device.type == "cuda" else "fp32",
        "gradient_clipping": GRADIENT_CLIPPING,
        "iterations_per_epoch": trainer.iterations_per_epoch,
        "val_iterations": trainer.num_val_iterations_per_epoch,
        "threads": trainer.threads,
        "mirroring": bool(trainer.inference_allowed_mirroring_axes),
    }
