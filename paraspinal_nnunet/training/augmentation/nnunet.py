"""nnU-Net's own augmentation without its mirroring, on our crops: a variant named in the protocol."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from paraspinal_nnunet.training.loading import CropReader
from paraspinal_nnunet.training.sampling import Crop


class NnunetAugmentedReader(CropReader):
    """Reads crops with nnU-Net's margin and puts them through nnU-Net's training transforms.

    Args:
        reader: Reads the plain crops.
        margin_size: Size of the crop that the spatial transform starts from.
        transforms: nnU-Net's training transforms; their random numbers are seeded by the crop.
    """

    def __init__(self, reader: CropReader, margin_size: tuple[int, ...], transforms: Any) -> None:
        super().__init__(
            reader.folder,
            margin_size,
            reader.foreground_ratio,
            in_memory=reader.in_memory,
            ignore_label=reader.ignore_label,
            by_muscle=reader.by_muscle,
        )
        self.transforms = transforms

    def read(self, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """Augmented image and labels, of the protocol's patch size."""
        image, labels = super().read(crop)
        with _global_seed((*crop.entropy, 1)):
            augmented = self.transforms(image=torch.from_numpy(image), segmentation=torch.from_numpy(labels))
        return augmented["image"].numpy(), augmented["segmentation"].numpy().astype(np.int16, copy=False)


def nnunet_augmented(trainer: nnUNetTrainer, reader: CropReader) -> NnunetAugmentedReader:
    """The reader of a trainer whose protocol asks for nnU-Net's augmentation.

    Args:
        trainer: For the patch size of its configuration.
        reader: Reads the plain crops.
    """
    rotation, dummy_2d, margin_size, _ = nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size(
        trainer
    )
    trainer.inference_allowed_mirroring_axes = None
    transforms = nnUNetTrainer.get_training_transforms(
        np.array(trainer.configuration_manager.patch_size), rotation, None, None, dummy_2d
    )
    return NnunetAugmentedReader(reader, tuple(int(edge) for edge in margin_size), transforms)


@contextmanager
def _global_seed(entropy: tuple[int, ...]) -> Iterator[None]:
    """nnU-Net's transforms draw from numpy's and torch's global generators: seed them, and leave them as they were."""
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
    first, second = np.random.SeedSequence(entropy).generate_state(2)
    np.random.seed(first)
    torch.manual_seed(int(second))
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
