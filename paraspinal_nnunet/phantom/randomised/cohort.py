"""A cohort of randomly drawn trunks to look at: whole stacks with labels, each of its own contrast and grid."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError, ProtocolError, advice_on
from paraspinal_nnunet.image_io.nibabel_alone import nib
from paraspinal_nnunet.image_io.nifti import write_image, write_labels
from paraspinal_nnunet.phantom.randomised.body import Body, draw_body
from paraspinal_nnunet.phantom.randomised.examples import EXCHANGED, taken
from paraspinal_nnunet.phantom.randomised.painting import paint, scan
from paraspinal_nnunet.phantom.randomised.sampling import FINER, Frame, Pose
from paraspinal_nnunet.phantom.randomised.slices import draw_slice
from paraspinal_nnunet.phantom.randomised.tissues import LABELLED
from paraspinal_nnunet.utils.files import atomic_folder, write_json

REVISION = 2
"""Grows whenever the same seed gives other data."""

SUMMARY_FILE = "phantom.json"
PITCH_MM = 34.5
"""Distance between the middles of two vertebrae of an average body."""


@dataclass(frozen=True)
class Stack:
    """One drawn scan in RAS order.

    Attributes:
        image: Int16 (nx, ny, nz).
        labels: Uint8 (nx, ny, nz), canonical values.
        affine: (4, 4) voxel to mm.
    """

    image: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


def draw_stack(seed: int, case: int, ovals: float = 0.0) -> Stack:
    """Draw a whole scan: a function of its arguments alone.

    Args:
        seed: 0 or greater.
        case: From 0.
        ovals: Share of persons with an oval multifidus.

    Raises:
        ProtocolError: A negative number.
    """
    if seed < 0 or case < 0:
        raise ProtocolError(f"seed {seed}, case {case}: give numbers of 0 or greater")
    rng = np.random.default_rng([seed, case, 1])
    body, pose = draw_body(rng, ovals), Pose.draw(rng)
    middle = (float(np.clip(pose.middle[0], -30, 30)), float(np.clip(pose.middle[1], -30, 30)))
    pose = replace(pose, elastic=(0.0, 0.0), patch=(0.0, 0.0), middle=middle)
    spacing = float(rng.uniform(0.5, 1.2))
    size = [16 * round(2 * half / spacing / 16) for half in pose.half]
    frame = Frame((size[1], size[0]), spacing)
    distance, count = float(rng.uniform(3, 8)), int(rng.integers(18, 34))
    level = rng.uniform(1.5, 3.5)
    contrast = int(rng.integers(1 << 31))
    levels = [level + (count / 2 - k) * distance / (PITCH_MM * body.size) for k in range(count)]  # from the feet up
    slices = [_draw(body, pose, frame, float(level), contrast, rng) for level in levels]
    signal = np.stack([image for image, _ in slices]).transpose(2, 1, 0)
    labels = np.stack([found for _, found in slices]).transpose(2, 1, 0)
    affine = np.diag([spacing, spacing, distance, 1.0])
    affine[:3, 3] = -np.array(signal.shape) * np.diag(affine)[:3] / 2
    scale = float(np.exp(rng.uniform(np.log(300), np.log(2500))))
    return Stack(np.rint(signal * scale).astype(np.int16), labels.astype(np.uint8), affine)


def write_cohort(folder: Path, *, cases: int, seed: int) -> None:
    """Write sub-001_img.nii.gz, sub-001_GT.nii.gz, ... and phantom.json, whole or not at all.

    Args:
        folder: New or empty.
        cases: How many.
        seed: 0 or greater.

    Raises:
        ProtocolError: A number that cannot be used.
        InputError: The folder holds something already or cannot be written.
    """
    if cases < 1 or seed < 0:
        raise ProtocolError(f"{cases} cases, seed {seed}: give at least 1 case and a seed of 0 or greater")
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    elif folder.exists():
        raise InputError(f"{folder}: exists already; name a new or empty folder, or remove it")
    try:
        with atomic_folder(folder) as temporary:
            for case in tqdm(range(cases), "drawing", unit="case"):
                stack, name = draw_stack(seed, case), f"sub-{case + 1:03d}"
                write_image(temporary / f"{name}_img.nii.gz", stack.image, stack.affine)
                write_labels(temporary / f"{name}_GT.nii.gz", stack.labels, stack.affine)
            content = {"version": __version__, "revision": REVISION, "domain_randomised": True}
            write_json(temporary / SUMMARY_FILE, {**content, "seed": seed, "cases": cases, "writer": nib.__version__})
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}){advice_on(error)}") from error


def _draw(
    body: Body, pose: Pose, frame: Frame, level: float, contrast: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One slice of a scan: its contrast and scanner are those of the others, its noise is not."""
    drawn = draw_slice(body, level, rng)
    same, generator = np.random.default_rng(contrast), torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    places = pose.places(frame, generator)
    labels = taken(drawn.tissue.ravel(), places)
    labels = torch.where(labels <= LABELLED, labels, 0)
    if pose.mirrored:
        labels = EXCHANGED[labels]
    fine = functional.interpolate(places, scale_factor=FINER, mode="bilinear")
    signal = paint(
        taken(drawn.tissue.ravel(), fine), taken(drawn.fat.ravel(), fine).float() / 255, frame, same, generator
    )
    coils = torch.Generator().manual_seed(contrast)
    return scan(signal, frame, same, generator, coils=coils, peak=1.3).numpy(), labels.numpy()
