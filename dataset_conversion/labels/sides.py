"""Labels whose sides contradict the geometry: refused with the evidence, or corrected as the user says."""

from collections.abc import Sequence

import numpy as np

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, Structure, opposite
from paraspinal_nnunet.dataset_conversion.case import SidePolicy
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.geometry import SideEvidence, check_sides, lone_side_evidence, side_evidence

CORRECTED: dict[SidePolicy, str] = {
    "swap-sides": "right and left labels exchanged",
    "trust-labels": "header mirrored left to right",
}

NOT_CHECKED = "sides not checked, since one side only is labelled: look at the preview"


class SidesError(LabelError):
    """Labels that contradict the scanner's left and right.

    Attributes:
        fixable: Every muscle contradicts, so that one of the two flags can settle it.
    """

    def __init__(self, message: str, *, fixable: bool) -> None:
        super().__init__(message)
        self.fixable = fixable

    def __reduce__(self) -> "tuple[object, ...]":
        return _rebuilt, (str(self), self.fixable)


def settle_sides(
    maps: Sequence[np.ndarray],
    affine: np.ndarray,
    classes: tuple[Structure, ...],
    names: Sequence[str],
    *,
    policy: SidePolicy,
) -> tuple[list[np.ndarray], np.ndarray, str | None]:
    """Make sure that right labels lie to the patient's right.

    Args:
        maps: Canonical (i, j, k) label maps of one scan, one per rater.
        affine: The grid's.
        classes: The classes of the data set.
        names: Label files, for messages.
        policy: What is done where every muscle of every map contradicts the geometry; mixed evidence is always refused.

    Returns:
        The maps, the affine, and what was done (see `CORRECTED`), `NOT_CHECKED`, or None.

    Raises:
        SidesError: Contradictions that `policy` does not settle.
    """
    evidence = [_evidence(labels, affine, classes) for labels in maps]
    wrong = [[e for e in found if not e.agrees] for found in evidence]
    if not any(wrong):
        return list(maps), affine, None if any(evidence) else NOT_CHECKED
    for found, contradicting, name in zip(evidence, wrong, names, strict=True):
        if contradicting and len(contradicting) < len(found):
            raise SidesError(_mixed(found, contradicting, name), fixable=False)
    agreeing = [name for found, name in zip(wrong, names, strict=True) if not found]
    place = next(n for n, found in enumerate(wrong) if found)
    if agreeing:
        text = f"{names[place]}: {_sides(wrong[place])}, but {agreeing[0]} does not; correct one rater's label map"
        raise SidesError(text, fixable=False)
    if policy == "refuse":
        raise SidesError(
            f"{names[place]}: {_sides(wrong[place])}; look at the scan, then give --swap-sides if the header is right "
            "and the labels' names are exchanged, or --trust-labels if the header's left and right are wrong",
            fixable=True,
        )
    if policy == "swap-sides":
        corrected = [_EXCHANGED[labels] for labels in maps]
    else:
        corrected, affine = list(maps), mirrored(affine, maps[0].shape)
    for labels, name in zip(corrected, names, strict=True):
        check_sides(labels, affine, classes, name)
    return corrected, affine, CORRECTED[policy]


def mirrored(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The affine mirrored in x about the volume's centre: every voxel keeps its y and z.

    >>> mirrored(np.eye(4), (3, 3, 3))[0].tolist()  # 0, 1, 2 mm become 2, 1, 0 mm
    [-1.0, 0.0, 0.0, 2.0]
    """
    centre = affine @ np.array([*((n - 1) / 2 for n in shape), 1.0])
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 2 * centre[0]
    return np.asarray(mirror @ affine)


def _evidence(labels: np.ndarray, affine: np.ndarray, classes: tuple[Structure, ...]) -> list[SideEvidence]:
    return [*side_evidence(labels, affine, classes), *lone_side_evidence(labels, affine, classes)]


def _rebuilt(message: str, fixable: bool) -> SidesError:
    return SidesError(message, fixable=fixable)


def _exchanged() -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    for structure in ALL_STRUCTURES:
        table[structure.label] = opposite(structure).label
    return table


_EXCHANGED = _exchanged()


def _sides(evidence: Sequence[SideEvidence]) -> str:
    return (
        f"labels contradict the scanner's left and right ({'; '.join(map(str, evidence))}; x grows to the patient's "
        "right)"
    )


def _mixed(found: Sequence[SideEvidence], contradicting: Sequence[SideEvidence], name: str) -> str:
    return (
        f"{name}: {_sides(contradicting)} in {len(contradicting)} of {len(found)} muscles only, which neither "
        "--swap-sides nor --trust-labels can help; correct the label map"
    )
