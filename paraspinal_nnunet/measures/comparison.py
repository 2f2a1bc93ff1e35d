"""Comparing: one side of a muscle with the other, and a volume with the paper's people."""

from collections.abc import Sequence
from statistics import NormalDist

from paraspinal_nnunet.anatomy import Side, Structure, side_pairs
from paraspinal_nnunet.measures.result import Asymmetry, CohortPlace, StructureMeasures
from paraspinal_nnunet.protocol.paper import PAPER

COMPARABLE_SHARE = 0.75
"""A stack of at least this share of the paper's field of view may be compared with its volumes. Source: ours; 240 mm
hold L1 to S1 with the muscles' ends."""

SIZES = ("volume_ml", "csa_mean_mm2", "csa_max_mm2")
FAT = ("fat_fraction", "functional_csa_mean_mm2")


def difference_percent(right: float, left: float) -> float:
    """Signed difference of the sides relative to their mean.

    Source: ours; the paper defines no asymmetry. 'Larger minus smaller, relative to the larger' of other studies loses
    which side it is and depends on the choice of the denominator.

    Returns:
        100 (right - left) / mean in percent, from -200 to 200 for positive values; NaN where the mean is 0 or unknown.

    >>> round(difference_percent(110.0, 90.0), 1)
    20.0
    """
    mean = (right + left) / 2
    return 100 * (right - left) / mean if mean else float("nan")


def asymmetries(structures: Sequence[StructureMeasures], methods: Sequence[str]) -> tuple[Asymmetry, ...]:
    """Every muscle's sides compared, in size and in fat by each method.

    Args:
        structures: Of one case.
        methods: Ways in which fat was measured.
    """
    by_key = {each.structure.key: each for each in structures}
    found = []
    for pair in side_pairs(tuple(each.structure for each in structures)):
        right, left = (by_key[s.key] for s in pair)
        for name in SIZES:
            found.append(_compared(pair[0], name, "", getattr(right, name), getattr(left, name)))
        for method in methods:
            for name in FAT:
                values = [getattr(side.fat_by(method), name) for side in (right, left)]
                found.append(_compared(pair[0], name, method, *values))
    return tuple(found)


def cohort_place(structure: Structure, volume_ml: float, stack_mm: float) -> CohortPlace:
    """Where a volume stands among the paper's people, by normal theory from the printed mean and SD.

    Args:
        structure: Muscle and side.
        volume_ml: Its volume.
        stack_mm: Length of the stack, for the note.

    Source: Results (volumes of the reference segmentations).
    """
    nan = float("nan")
    printed = getattr(PAPER.cohort, f"{structure.muscle.value}_ml", None)
    if printed is None:
        return CohortPlace(nan, nan, nan, nan, "the paper has no volume of this muscle")
    mean, sd = printed[:2] if structure.side is Side.RIGHT else printed[2:]
    if not volume_ml:
        return CohortPlace(mean, sd, nan, nan, "no voxels")
    z = (volume_ml - mean) / sd
    return CohortPlace(mean, sd, z, 100 * NormalDist().cdf(z), field_of_view_note(stack_mm))


def is_comparable(stack_mm: float) -> bool:
    """Whether a stack is long enough for its volumes to be compared with the paper's."""
    return stack_mm >= COMPARABLE_SHARE * PAPER.cohort.field_of_view_mm


def field_of_view_note(stack_mm: float) -> str:
    """What the length of a stack means for the comparison of volumes; empty where it is like the paper's."""
    if is_comparable(stack_mm):
        return ""
    return (
        f"the stack is {stack_mm:.0f} mm long, the paper's about {PAPER.cohort.field_of_view_mm:.0f} mm: volumes are "
        "smaller for that alone"
    )


def _compared(structure: Structure, measure: str, method: str, right: float, left: float) -> Asymmetry:
    return Asymmetry(structure.muscle, measure, method, right, left, difference_percent(right, left))
