"""A phantom cohort in a few lines, its volumes beside the paper's."""

import numpy as np

from paraspinal_nnunet.anatomy import PARASPINAL, Side
from paraspinal_nnunet.image_io.geometry import by_text
from paraspinal_nnunet.phantom.cohort import PhantomCohort
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.utils.text import pluralize


def format_cohort(cohort: PhantomCohort) -> str:
    """The lines that ``paraspinal phantom`` prints: who, which grid, mean volumes (SD) beside the paper's."""
    female = sum(record.sex == "F" for record in cohort.cases)
    twice = sum(record.rater2_volumes_ml is not None for record in cohort.cases)
    ages = [record.age for record in cohort.cases]
    grid = " x ".join(map(str, cohort.shape)) + " voxels of " + by_text(cohort.spacing_mm)
    lines = [
        f"{cohort.folder}: {pluralize(len(cohort.cases), 'case')} ({female} female), age {min(ages)} to {max(ages)}, "
        f"seed {cohort.seed}, {twice} outlined by a second rater",
        f"{grid} mm",
        f"{'volume, ml: mean (SD)':24}{'phantom':>16}{'the paper':>16}",
    ]
    for structure in PARASPINAL:
        volumes = [record.volumes_ml[structure.key] for record in cohort.cases]
        right_left = getattr(PAPER.cohort, f"{structure.muscle.value}_ml")
        paper = right_left[:2] if structure.side is Side.RIGHT else right_left[2:]
        lines.append(f"{structure.display_name:24}{_mean_sd(volumes):>16}{f'{paper[0]:.1f} ({paper[1]:.1f})':>16}")
    return "\n".join(lines)


def _mean_sd(values: list[float]) -> str:
    spread = f" ({np.std(values, ddof=1):.1f})" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"
