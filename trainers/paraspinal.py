"""The paper's arms by name."""

from dataclasses import replace
from typing import ClassVar

from paraspinal_nnunet.protocol.paper import PAPER, Protocol
from paraspinal_nnunet.trainers.base import ParaspinalTrainer


class nnUNetTrainerParaspinal(ParaspinalTrainer):
    """The paper's protocol without augmentation; 2D or 3D by the configuration, 2d or 3d_fullres."""

    settings: ClassVar[Protocol] = PAPER


class nnUNetTrainerParaspinalDeep(ParaspinalTrainer):
    """The paper's deeper network: one extra level of 512 filters. Source: Methods, Training; Results, Depth."""

    settings: ClassVar[Protocol] = replace(
        PAPER, network=replace(PAPER.network, channels=(16, 32, 64, 128, 256, 512), strides=(1, 2, 2, 2, 2))
    )
