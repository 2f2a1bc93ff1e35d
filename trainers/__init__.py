"""nnU-Net trainers, each of which enforces one choice of the protocol by name."""

from paraspinal_nnunet.trainers.baseline import nnUNetTrainerBaseline, nnUNetTrainerBaselineNoMirroring
from paraspinal_nnunet.trainers.paraspinal import nnUNetTrainerParaspinal, nnUNetTrainerParaspinalDeep

__all__ = [
    "nnUNetTrainerBaseline",
    "nnUNetTrainerBaselineNoMirroring",
    "nnUNetTrainerParaspinal",
    "nnUNetTrainerParaspinalDeep",
]
