"""What the paper's discussion names as future research, one leaf each; 2.5D is a configuration of its own."""

from dataclasses import replace
from typing import ClassVar

from paraspinal_nnunet.protocol.paper import PAPER, Protocol
from paraspinal_nnunet.trainers.base import ParaspinalTrainer


class nnUNetTrainerParaspinalBatchNorm(ParaspinalTrainer):
    """Batch normalisation in place of instance normalisation."""

    settings: ClassVar[Protocol] = replace(PAPER, network=replace(PAPER.network, norm="batch"))


class nnUNetTrainerParaspinalGroupNorm(ParaspinalTrainer):
    """Group normalisation in place of instance normalisation."""

    settings: ClassVar[Protocol] = replace(PAPER, network=replace(PAPER.network, norm="group"))


class nnUNetTrainerParaspinalQuarterBatch(ParaspinalTrainer):
    """A quarter of the paper's batch."""

    settings: ClassVar[Protocol] = replace(PAPER, training=replace(PAPER.training, batch_factor=0.25))


class nnUNetTrainerParaspinalDoubleBatch(ParaspinalTrainer):
    """Twice the paper's batch."""

    settings: ClassVar[Protocol] = replace(PAPER, training=replace(PAPER.training, batch_factor=2.0))


class nnUNetTrainerParaspinalMixedPrecision(ParaspinalTrainer):
    """Automatic mixed precision, on CUDA devices; others stay in single precision."""

    settings: ClassVar[Protocol] = replace(PAPER, training=replace(PAPER.training, precision="amp"))


class nnUNetTrainerParaspinalLR1e4(ParaspinalTrainer):
    """Learning rate and weight decay of the authors' later public script."""

    settings: ClassVar[Protocol] = replace(
        PAPER, training=replace(PAPER.training, learning_rate=1e-4, weight_decay=1e-5)
    )


class nnUNetTrainerParaspinalSGDPoly(ParaspinalTrainer):
    """nnU-Net's optimiser and schedule: stochastic gradient descent with a polynomially falling rate."""

    settings: ClassVar[Protocol] = replace(
        PAPER,
        training=replace(PAPER.training, optimizer="sgd", schedule="polynomial", learning_rate=1e-2, weight_decay=3e-5),
    )


class nnUNetTrainerParaspinalDiceLoss(ParaspinalTrainer):
    """The Dice loss alone."""

    settings: ClassVar[Protocol] = replace(PAPER, training=replace(PAPER.training, loss="dice"))


class nnUNetTrainerParaspinalCELoss(ParaspinalTrainer):
    """The cross-entropy alone."""

    settings: ClassVar[Protocol] = replace(PAPER, training=replace(PAPER.training, loss="ce"))


class nnUNetTrainerParaspinalSmallMuscles(ParaspinalTrainer):
    """Crops centred on each muscle equally often, so that small muscles are seen as often as large ones."""

    settings: ClassVar[Protocol] = replace(PAPER, training=replace(PAPER.training, foreground_centers="muscle"))


class nnUNetTrainerParaspinalWide(ParaspinalTrainer):
    """Twice the filters on every level."""

    settings: ClassVar[Protocol] = replace(PAPER, network=replace(PAPER.network, channels=(32, 64, 128, 256, 512)))


class nnUNetTrainerParaspinalShallow(ParaspinalTrainer):
    """One level less."""

    settings: ClassVar[Protocol] = replace(
        PAPER, network=replace(PAPER.network, channels=(16, 32, 64, 128), strides=(1, 2, 2))
    )


class nnUNetTrainerParaspinalStride2(ParaspinalTrainer):
    """The authors' released script: the first layer has stride 2 as well."""

    settings: ClassVar[Protocol] = replace(PAPER, network=replace(PAPER.network, strides=(2, 2, 2, 2)))


class nnUNetTrainerParaspinalNnunetDA(ParaspinalTrainer):
    """nnU-Net's own augmentation without its mirroring."""

    settings: ClassVar[Protocol] = replace(PAPER, training=replace(PAPER.training, augmentation="nnunet"))
