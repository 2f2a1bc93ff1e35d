"""The tissues of a drawn slice, and what they look like in known sequences."""

from collections.abc import Mapping
from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Values of a slice's tissue map; 1 to 8 are the labels of `anatomy.STRUCTURES`."""

    AIR = 0
    MF_RIGHT = 1
    MF_LEFT = 2
    ES_RIGHT = 3
    ES_LEFT = 4
    PM_RIGHT = 5
    PM_LEFT = 6
    QL_RIGHT = 7
    QL_LEFT = 8
    SUBCUTANEOUS = 9
    FAT = 10
    SKIN = 11
    MUSCLE = 12
    GLUTEAL = 13
    LATISSIMUS = 14
    CORTEX = 15
    MARROW = 16
    ANNULUS = 17
    NUCLEUS = 18
    CSF = 19
    NERVE = 20
    LIGAMENT = 21
    FLOW_VOID = 22
    SLOW_FLOW = 23
    LIVER = 24
    SPLEEN = 25
    KIDNEY = 26
    MEDULLA = 27
    BOWEL_WALL = 28
    BOWEL = 29
    GAS = 30
    STOOL = 31
    FLUID = 32
    VOID = 33
    PAD = 34
    BRAIN = 35
    BLOB_1 = 36
    BLOB_2 = 37
    BLOB_3 = 38


COUNT = len(Tissue)
LABELLED = 6
"""The tissues 1 to 6 are the model's labels."""

MUSCULAR = (*range(1, 9), Tissue.MUSCLE, Tissue.GLUTEAL, Tissue.LATISSIMUS)
"""Tissues of which all are skeletal muscle: one signal with small differences."""

FATTY = (Tissue.SUBCUTANEOUS, Tissue.FAT)

NEIGHBOURS = (Tissue.MARROW, Tissue.FLOW_VOID, Tissue.SLOW_FLOW, Tissue.KIDNEY, Tissue.BOWEL_WALL)
"""What lies beside the muscles and now and then looks like them."""

_COLUMNS = ("t2", "t1", "water", "fat", "in_phase", "opposed")
_TABLE: Mapping[str, tuple[float, float, float, float, float, float]] = {
    "AIR": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "SUBCUTANEOUS": (0.85, 0.95, 0.08, 1.0, 0.9, -0.75),
    "FAT": (0.8, 0.9, 0.08, 0.95, 0.85, -0.7),
    "SKIN": (0.35, 0.4, 0.5, 0.25, 0.5, 0.35),
    "MUSCLE": (0.16, 0.35, 0.75, 0.03, 0.6, 0.58),
    "CORTEX": (0.05, 0.08, 0.1, 0.06, 0.12, 0.08),
    "MARROW": (0.42, 0.55, 0.4, 0.35, 0.6, 0.12),
    "ANNULUS": (0.14, 0.3, 0.5, 0.05, 0.45, 0.42),
    "NUCLEUS": (0.5, 0.3, 0.65, 0.04, 0.5, 0.48),
    "CSF": (1.0, 0.15, 0.95, 0.03, 0.5, 0.48),
    "NERVE": (0.4, 0.35, 0.6, 0.06, 0.5, 0.45),
    "LIGAMENT": (0.08, 0.12, 0.2, 0.06, 0.2, 0.15),
    "FLOW_VOID": (0.05, 0.1, 0.7, 0.05, 0.7, 0.6),
    "SLOW_FLOW": (0.35, 0.2, 0.7, 0.05, 0.6, 0.55),
    "LIVER": (0.22, 0.5, 0.8, 0.07, 0.75, 0.6),
    "SPLEEN": (0.5, 0.32, 0.75, 0.03, 0.6, 0.58),
    "KIDNEY": (0.55, 0.42, 0.85, 0.04, 0.65, 0.6),
    "MEDULLA": (0.7, 0.3, 0.75, 0.04, 0.6, 0.55),
    "BOWEL_WALL": (0.28, 0.38, 0.65, 0.08, 0.55, 0.45),
    "BOWEL": (0.6, 0.35, 0.6, 0.1, 0.5, 0.4),
    "GAS": (0.0, 0.0, 0.02, 0.01, 0.0, 0.0),
    "STOOL": (0.35, 0.5, 0.6, 0.15, 0.55, 0.4),
    "FLUID": (1.0, 0.15, 0.95, 0.03, 0.5, 0.48),
    "VOID": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "PAD": (0.0, 0.02, 0.01, 0.01, 0.02, 0.01),
    "BRAIN": (0.5, 0.5, 0.7, 0.03, 0.6, 0.58),
}
FAMILIES = _COLUMNS
"""Known sequences; 'opposed' holds fat below zero, so that mixed voxels vanish in the magnitude."""


def known_signal(family: str) -> np.ndarray:
    """Signal of every tissue in a sequence, (COUNT,) float32; blobs get that of muscle."""
    column = _COLUMNS.index(family)
    values = np.full(COUNT, _TABLE["MUSCLE"][column], np.float32)
    for name, row in _TABLE.items():
        values[Tissue[name]] = row[column]
    return values


def draw_signals(rng: np.random.Generator) -> np.ndarray:
    """Signal of every tissue for one image, half near a known sequence and half at random.

    Returns:
        (COUNT,) float32; may hold values below zero, of which the magnitude is seen.
    """
    if rng.random() < 0.6:
        values = known_signal(FAMILIES[int(rng.choice(len(FAMILIES), p=(0.32, 0.17, 0.2, 0.15, 0.08, 0.08)))])
        values = values * np.exp(rng.normal(0, 0.32, COUNT)) + np.abs(rng.normal(0, 0.02, COUNT))
        values[Tissue.BLOB_1 :] = rng.random(3)
    else:
        values = rng.random(COUNT)
        if rng.random() < 0.7:  # bone's cortex is dark in nearly all sequences
            values[Tissue.CORTEX] = 0.15 * rng.random()
            values[Tissue.LIGAMENT] = 0.3 * rng.random()
    muscle = values[Tissue.MUSCLE]
    values[list(MUSCULAR)] = muscle * np.exp(rng.normal(0, 0.04, len(MUSCULAR)))
    values[[Tissue.PM_LEFT, Tissue.MF_LEFT, Tissue.ES_LEFT]] = values[
        [Tissue.PM_RIGHT, Tissue.MF_RIGHT, Tissue.ES_RIGHT]
    ]
    for alike in NEIGHBOURS:
        if rng.random() < 0.15:
            values[alike] = muscle * np.exp(rng.normal(0, 0.08))
    values[Tissue.FAT] = values[Tissue.SUBCUTANEOUS] * np.exp(rng.normal(0, 0.08))
    if rng.random() < 0.9:
        values[[Tissue.AIR, Tissue.GAS, Tissue.VOID]] = np.abs(rng.normal(0, 0.01, 3))
        values[Tissue.PAD] = values[Tissue.AIR] if rng.random() < 0.7 else rng.random() * 0.5
    return values.astype(np.float32)
