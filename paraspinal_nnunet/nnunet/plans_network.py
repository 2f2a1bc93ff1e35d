"""Networks built from plans as nnU-Net builds them for a prediction."""

from typing import Any

import torch


def build_from_plans(
    trainer: Any, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
) -> torch.nn.Module:
    """The network as nnU-Net builds it for a prediction.

    Args:
        trainer: The trainer's class.
        plans: The plans.
        configuration: The configuration.
        dataset_json: Labels and channels.
    """
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    chosen = manager.get_configuration(configuration)
    network: torch.nn.Module = trainer.build_network_architecture(
        manager,
        chosen,
        determine_num_input_channels(manager, chosen, dataset_json),
        manager.get_label_manager(dataset_json).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    return network
