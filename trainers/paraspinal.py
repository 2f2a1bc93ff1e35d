"""The paper's arms by name, and two variants that ask what its augmentation did."""

from dataclasses import replace
from typing import ClassVar

from paraspinal_nnunet.protocol.paper import PAPER, Protocol
from paraspinal_nnunet.trainers.base import ParaspinalTrainer

AUGMENTED = replace(PAPER, training=replace(PAPER.training, augmentation="paper"))


class nnUNetTrainerParaspinal(ParaspinalTrainer):
    """The paper's protocol without augmentation; 2D or 3D by the configuration, 2d or 3d_fullres."""

    settings: ClassVar[Protocol] = PAPER


class nnUNetTrainerParaspinalDeep(ParaspinalTrainer):
    """The paper's deeper network: one extra level of 512 filters. Source: Methods, Training; Results, Depth."""

    settings: ClassVar[Protocol] = replace(
        PAPER, network=replace(PAPER.network, channels=(16, 32, 64, 128, 256, 512), strides=(1, 2, 2, 2, 2))
    )


class nnUNetTrainerParaspinalDA(ParaspinalTrainer):
    """The paper's protocol with augmentation. Source: Methods, Data augmentation."""

    settings: ClassVar[Protocol] = AUGMENTED


class nnUNetTrainerParaspinalDANoLabelExchange(ParaspinalTrainer):
    """The paper's augmentation with left and right labels left as they are in mirrored images."""

    settings: ClassVar[Protocol] = replace(
        AUGMENTED, augmentation=replace(AUGMENTED.augmentation, exchange_labels=False)
    )


class nnUNetTrainerParaspinalDAPhysical(ParaspinalTrainer):
    """The paper's augmentation with rotations and scalings in mm, which shear no voxels."""

    settings: ClassVar[Protocol] = replace(AUGMENTED, augmentation=replace(AUGMENTED.augmentation, space="physical"))
