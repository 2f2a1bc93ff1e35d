"""How the preprocessed volume differs from MONAI's Spacing and NormalizeIntensity on the same scan, in SD.

nnU-Net normalises before it resamples and resamples by sizes in voxels; MONAI, as in the authors' script, resamples by
coordinates and normalises afterwards.

    python benchmarks/preprocessing_against_monai.py SCAN.nii.gz [--spacing 5 0.39 0.39]
"""

import argparse
import logging
from pathlib import Path

import nibabel
import numpy as np
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensity, Spacing
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape
from scipy.ndimage import map_coordinates

from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.protocol.paper import PAPER


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--spacing", type=float, nargs=3, default=PAPER.preprocessing.spacing, metavar=("Z", "Y", "X"))
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    stored = nibabel.load(args.scan)
    array, affine = to_ras(stored.get_fdata(dtype=np.float32), stored.affine)
    monai, monai_affine = monai_volume(array, affine, args.spacing)
    print(f"{args.scan.name}: {array.shape} voxels (x, y, z) -> MONAI {monai.shape}")
    for name, ours in variants(array, affine, args.spacing).items():
        difference = on_monai_grid(ours, affine, array.shape, monai_affine, monai.shape) - monai
        inside = monai != 0
        print(
            f"{name:58s} mean {difference[inside].mean():+.4f}  RMS {np.sqrt((difference[inside] ** 2).mean()):.4f}  "
            f"95th percentile {np.percentile(np.abs(difference[inside]), 95):.4f} SD"
        )


def monai_volume(array: np.ndarray, affine: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, z) by MONAI with its affine: linear Spacing, then z-score over nonzero voxels."""
    image = MetaTensor(np.ascontiguousarray(array)[None], affine=affine)
    resampled = Spacing(pixdim=spacing[::-1], mode="bilinear", padding_mode="border")(image)
    return np.asarray(NormalizeIntensity(nonzero=True)(resampled))[0], np.asarray(resampled.affine, dtype=float)


def variants(array: np.ndarray, affine: np.ndarray, spacing: tuple[float, ...]) -> dict[str, np.ndarray]:
    """(x, y, z) by nnU-Net's functions: as preprocessed, and with one difference undone at a time."""
    normalised = zscore(array)
    own = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))[::-1]
    shape = compute_new_shape(array.shape[::-1], own, spacing)

    def resample(volume: np.ndarray, order: int, order_z: int) -> np.ndarray:
        data = volume.T[None].copy()
        out = resample_data_or_seg_to_shape(data, shape, own, spacing, order=order, order_z=order_z)
        return np.asarray(out)[0].T

    ours = PAPER.preprocessing
    return {
        "as preprocessed (z-score, then linear resampling)": resample(
            normalised, ours.interpolation_order, ours.interpolation_order_z
        ),
        "z-score after resampling": zscore(resample(array, ours.interpolation_order, ours.interpolation_order_z)),
        "nnU-Net's default resampling (cubic, nearest along z)": resample(normalised, 3, 0),
    }


def zscore(volume: np.ndarray) -> np.ndarray:
    """Over nonzero voxels; zero stays zero."""
    inside = volume != 0
    return np.where(inside, (volume - volume[inside].mean()) / volume[inside].std(), 0).astype(np.float32)


def on_monai_grid(
    ours: np.ndarray, affine: np.ndarray, stored: tuple[int, ...], monai_affine: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Ours at MONAI's voxel centres, linearly: nnU-Net keeps the image's edges in place, MONAI the first voxel."""
    zoom = np.array(stored) / np.array(ours.shape)
    ours_affine = affine @ np.diag([*zoom, 1.0])
    ours_affine[:3, 3] = (affine @ [*(zoom / 2 - 0.5), 1.0])[:3]
    to_ours = np.linalg.inv(ours_affine) @ monai_affine
    grid = np.indices(shape).reshape(3, -1)
    return map_coordinates(ours, to_ours[:3, :3] @ grid + to_ours[:3, 3:], order=1, mode="nearest").reshape(shape)


if __name__ == "__main__":
    main()
