"""Suspected copies among the cases: the same voxels, shared slices, the same labels, and nearly the same texture."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np

from paraspinal_nnunet.inspection.facts import CaseFacts
from paraspinal_nnunet.inspection.findings import Finding, Severity

NEAR_CORRELATION = 0.85
"""Thumbnails that correlate at least so well are suspected copies.

Source: measured by ``benchmarks/near_duplicates.py``; docs of its `main` give the table. Scans of different phantoms,
which share one anatomy and so are more alike than people, stay below 0.76 in any of the eight mirrorings; copies that
were rescaled, shaded by 40 %, clipped to 8 bit, noised by 5 %, resampled to half the matrix or shortened by a slice
stay above 0.89.
"""

LEAST_SHARED_SLICES = 2
"""One equal slice may be chance only where it is nearly empty, but two are a copy."""

_BLOCK = 256
_MIRRORINGS = tuple(product((1, -1), repeat=3))

Pair = tuple[int, int]


def duplicate_findings(cases: Sequence[CaseFacts]) -> list[Finding]:
    """Suspected copies, each pair of cases once and by its strongest evidence.

    Copies across subjects are problems, since both sides of a fold may hold them; within a subject they are notes.

    Args:
        cases: Of the whole data set.
    """
    seen: set[Pair] = set()
    found = []
    for kind, evidence in (
        ("duplicate", _same_voxels(cases)),
        ("duplicate", _shared_slices(cases)),
        ("near-duplicate", _near(cases)),
    ):
        for pair, text, weight in evidence:
            if pair not in seen:
                seen.add(pair)
                found.append(_finding(cases, pair, kind, text, weight))
    return found + [_finding(cases, pair, "same-labels", text, w) for pair, text, w in _same_labels(cases)]


def mirrored_correlations(thumbnails: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of rows of the matrix of correlations, each the largest over the eight mirrorings of one of the two.

    Args:
        thumbnails: float32 (cases, x, y, z), each of mean 0 and norm 1.

    Yields:
        The rows, and float32 (rows, cases).
    """
    flat = thumbnails.reshape(len(thumbnails), -1)
    for start in range(0, len(thumbnails), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(thumbnails)))
        best = np.full((rows.stop - rows.start, len(flat)), -1, np.float32)
        for x, y, z in _MIRRORINGS:
            mirrored = np.ascontiguousarray(thumbnails[rows, ::x, ::y, ::z])
            np.maximum(best, mirrored.reshape(len(best), -1) @ flat.T, out=best)
        yield rows, best


def _finding(cases: Sequence[CaseFacts], pair: Pair, kind: str, text: str, weight: float) -> Finding:
    first, second = (cases[i] for i in pair)
    same = first.subject == second.subject
    whose = f"both of subject {first.subject}" if same else f"subjects {first.subject} and {second.subject}"
    severity = Severity.NOTE if same else Severity.PROBLEM
    return Finding(severity, kind, f"{first.case}, {second.case}", f"{text} ({whose})", weight)


def _same_voxels(cases: Sequence[CaseFacts]) -> Iterator[tuple[Pair, str, float]]:
    owners: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        for digest in {channel.sha256 for channel in case.channels}:
            owners[digest].append(index)
    for group in owners.values():
        yield from ((pair, "images hold the same voxels", 2.0) for pair in combinations(group, 2))


def _shared_slices(cases: Sequence[CaseFacts]) -> Iterator[tuple[Pair, str, float]]:
    owners: dict[bytes, set[int]] = defaultdict(set)
    for index, case in enumerate(cases):
        for digest in {d for fingerprint in case.prints for d in fingerprint.slices}:
            owners[digest].add(index)
    shared = Counter(pair for group in owners.values() if len(group) > 1 for pair in combinations(sorted(group), 2))
    for pair, count in shared.items():
        if count >= LEAST_SHARED_SLICES:
            total = min(len({d for p in cases[i].prints for d in p.slices}) for i in pair)
            text = f"images share {count} of {total} slices, mirrored or not, voxel by voxel"
            yield pair, text, 1 + count / total


def _near(cases: Sequence[CaseFacts]) -> Iterator[tuple[Pair, str, float]]:
    known = [(i, case.prints[0].thumbnail) for i, case in enumerate(cases) if case.prints]
    indices = [i for i, thumbnail in known if thumbnail is not None]
    thumbnails = [thumbnail for _, thumbnail in known if thumbnail is not None]
    if len(thumbnails) < 2:
        return
    for rows, correlations in mirrored_correlations(np.stack(thumbnails)):
        for row, column in np.argwhere(correlations >= NEAR_CORRELATION):
            first, second = indices[rows.start + int(row)], indices[int(column)]
            if first < second:
                value = float(correlations[row, column])
                text = f"images look alike, perhaps rescaled, resampled or mirrored (texture correlates by {value:.2f})"
                yield (first, second), text, value


def _same_labels(cases: Sequence[CaseFacts]) -> Iterator[tuple[Pair, str, float]]:
    owners: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        if case.labels is not None and any(c.voxels for c in case.labels.classes.values()):
            owners[case.labels.sha256].append(index)
    for group in owners.values():
        yield from ((pair, "label maps hold the same voxels", 1.0) for pair in combinations(group, 2))
