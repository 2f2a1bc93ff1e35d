"""nnU-Net trainers, each of which enforces one choice of the protocol by name."""

from paraspinal_nnunet.trainers.ablations import (
    nnUNetTrainerParaspinalBatchNorm,
    nnUNetTrainerParaspinalCELoss,
    nnUNetTrainerParaspinalDiceLoss,
    nnUNetTrainerParaspinalDoubleBatch,
    nnUNetTrainerParaspinalGroupNorm,
    nnUNetTrainerParaspinalLR1e4,
    nnUNetTrainerParaspinalMixedPrecision,
    nnUNetTrainerParaspinalNnunetDA,
    nnUNetTrainerParaspinalQuarterBatch,
    nnUNetTrainerParaspinalSGDPoly,
    nnUNetTrainerParaspinalShallow,
    nnUNetTrainerParaspinalSmallMuscles,
    nnUNetTrainerParaspinalStride2,
    nnUNetTrainerParaspinalWide,
)
from paraspinal_nnunet.trainers.baseline import nnUNetTrainerBaseline, nnUNetTrainerBaselineNoMirroring
from paraspinal_nnunet.trainers.paraspinal import (
    nnUNetTrainerParaspinal,
    nnUNetTrainerParaspinalDA,
    nnUNetTrainerParaspinalDANoLabelExchange,
    nnUNetTrainerParaspinalDAPhysical,
    nnUNetTrainerParaspinalDeep,
)

__all__ = [
    "nnUNetTrainerBaseline",
    "nnUNetTrainerBaselineNoMirroring",
    "nnUNetTrainerParaspinal",
    "nnUNetTrainerParaspinalBatchNorm",
    "nnUNetTrainerParaspinalCELoss",
    "nnUNetTrainerParaspinalDA",
    "nnUNetTrainerParaspinalDANoLabelExchange",
    "nnUNetTrainerParaspinalDAPhysical",
    "nnUNetTrainerParaspinalDeep",
    "nnUNetTrainerParaspinalDiceLoss",
    "nnUNetTrainerParaspinalDoubleBatch",
    "nnUNetTrainerParaspinalGroupNorm",
    "nnUNetTrainerParaspinalLR1e4",
    "nnUNetTrainerParaspinalMixedPrecision",
    "nnUNetTrainerParaspinalNnunetDA",
    "nnUNetTrainerParaspinalQuarterBatch",
    "nnUNetTrainerParaspinalSGDPoly",
    "nnUNetTrainerParaspinalShallow",
    "nnUNetTrainerParaspinalSmallMuscles",
    "nnUNetTrainerParaspinalStride2",
    "nnUNetTrainerParaspinalWide",
]
