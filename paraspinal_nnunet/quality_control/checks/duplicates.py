"""Suspected copies among the cases: the same voxels, shared slices, the same labels, and nearly the same texture."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np

from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.quality_control.measurements import CaseMeasurements
from paraspinal_nnunet.utils.text import some

NEAR_CORRELATION = 0.85
"""Thumbnails that correlate at least so well are suspected copies.

Source: measured by ``benchmarks/near_duplicates.py``. Scans of 60 different phantoms, which share one computed anatomy
and so are more alike than people, reach 0.72 in the best of eight mirrorings, those of the two persons among the real
scans 0.12. Copies that were rescaled, shaded by 40 %, cut to 8 bit, noised by 5 %, resampled to half the matrix,
turned by 2 degrees or shortened by one slice stay above 0.85. Copies cropped on one side or by many slices may fall
below it; unaltered slices are found by their hashes even then.
"""

LEAST_SHARED_SLICES = 2
"""One equal slice may be chance only where it is nearly empty, but two are a copy."""

_MOST_OWNERS = 30  # a slice in more cases than these shows nothing of a person
_BLOCK = 128
_ROOT_HALF = np.float32(0.5**0.5)

Pair = tuple[int, int]
Evidence = tuple[Pair, str, float]


def duplicate_findings(cases: Sequence[CaseMeasurements]) -> list[Finding]:
    """Suspected copies, each group of them once and by its strongest evidence.

    Copies across subjects are problems, since both sides of a fold may hold them; within a subject they are notes.

    Args:
        cases: Of the whole data set.
    """
    told: dict[int, int] = {}
    found = []
    for kind, evidence in (
        ("duplicate", _same_voxels(cases)),
        ("duplicate", _shared_slices(cases)),
        ("near-duplicate", _near(cases)),
    ):
        fresh = (e for e in evidence if told.get(e[0][0], -1) != told.get(e[0][1], -2))
        for group, text, weight in _grouped(fresh):
            found.append(_finding(cases, group, kind, text, weight))
            told |= {index: len(found) for index in group if index not in told}
    labels = _grouped(_same_labels(cases))
    return found + [_finding(cases, group, "same-labels", text, weight) for group, text, weight in labels]


def mirrored_correlations(thumbnails: Sequence[np.ndarray]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Blocks of the upper triangle of the matrix of correlations, each the largest over the eight mirrorings.

    Along each axis a thumbnail is taken apart into what its mirror image shares with it and what is the opposite there.
    The parts of one kind alone have products with each other, and a mirroring changes their signs alone, so that all
    eight cost no more than one.

    Args:
        thumbnails: Of one shape and mean 0, of whatever scale.

    Yields:
        First row and first column of the block, and float32 (rows, columns); entries below the diagonal are mirrored
        ones.
    """
    starts = range(0, len(thumbnails), _BLOCK)
    for row in starts:
        rows = _parts(thumbnails[row : row + _BLOCK])
        for column in starts[row // _BLOCK :]:
            columns = rows if column == row else _parts(thumbnails[column : column + _BLOCK])
            products = [one @ other.T for one, other in zip(rows, columns, strict=True)]
            yield row, column, _largest_of_mirrorings(products)


def _parts(thumbnails: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The eight parts of thumbnails of norm 1, even or odd along each axis, float32 (n, cells)."""
    parts = [np.stack(thumbnails).astype(np.float32)]
    parts[0] /= np.sqrt(np.einsum("nxyz,nxyz->n", parts[0], parts[0]))[:, None, None, None]
    for axis in (1, 2, 3):
        halves = []
        for part in parts:
            half = part.shape[axis] // 2
            near = part.take(range(half), axis)
            far = np.flip(part, axis).take(range(half), axis)
            middle = part.take(range(half, part.shape[axis] - half), axis)  # of an odd number
            halves += [np.concatenate([(near + far) * _ROOT_HALF, middle], axis), (near - far) * _ROOT_HALF]
        parts = halves
    return [np.ascontiguousarray(part).reshape(len(part), -1) for part in parts]


def _largest_of_mirrorings(products: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of the parts' products with all combinations of signs that a mirroring gives them; the largest of them."""
    sums = list(products)
    for step in (1, 2, 4):
        for place in range(8):
            if not place & step:
                one, other = sums[place], sums[place | step]
                sums[place], sums[place | step] = one + other, one - other
    return np.maximum.reduce(sums)


def _grouped(evidence: Iterable[Evidence]) -> list[tuple[tuple[int, ...], str, float]]:
    """Pairs that hang together as groups, each with the text and weight of its strongest pair; the strongest first.

    Pairs are taken one by one: a thousand scans of one person make half a million of them.
    """
    group_of: dict[int, list[int]] = {}
    strongest: dict[int, tuple[float, int, str]] = {}  # of the group at this address: weight, minus place, text
    for place, ((first, second), text, weight) in enumerate(evidence):
        one, other = group_of.setdefault(first, [first]), group_of.setdefault(second, [second])
        best = (weight, -place, text)
        if one is not other:
            if len(one) < len(other):
                one, other = other, one
            one += other
            group_of |= dict.fromkeys(other, one)
            best = max(best, strongest.pop(id(other), best))
        strongest[id(one)] = max(best, strongest.get(id(one), best))
    groups = {id(group): tuple(sorted(group)) for group in group_of.values()}
    ordered = sorted(strongest.items(), key=lambda item: item[1][:2], reverse=True)
    return [(groups[key], text, weight) for key, (weight, _, text) in ordered]


def _finding(cases: Sequence[CaseMeasurements], group: Sequence[int], kind: str, text: str, weight: float) -> Finding:
    own = [cases[index] for index in group]
    subjects = list(dict.fromkeys(case.subject for case in own))
    number = f"; {len(own)} cases" if len(own) > 2 else ""
    whose = f"of subject {subjects[0]} alone" if len(subjects) == 1 else f"of subjects {some(subjects)}"
    severity = Severity.NOTE if len(subjects) == 1 else Severity.PROBLEM
    return Finding(severity, kind, ", ".join(case.case for case in own), f"{text}{number or ';'} {whose}", weight)


def _same_voxels(cases: Sequence[CaseMeasurements]) -> Iterator[Evidence]:
    owners: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        for digest in {channel.sha256 for channel in case.channels}:
            owners[digest].append(index)
    for group in owners.values():
        yield from ((pair, "images hold the same voxels", 2.0) for pair in pairwise(group))


def _shared_slices(cases: Sequence[CaseMeasurements]) -> Iterator[Evidence]:
    owners: dict[bytes, set[int]] = defaultdict(set)
    for index, case in enumerate(cases):
        for digest in {d for fingerprint in case.fingerprints for d in fingerprint.slices}:
            owners[digest].add(index)
    few = [sorted(group) for group in owners.values() if 1 < len(group) <= _MOST_OWNERS]
    shared = Counter(pair for group in few for pair in combinations(group, 2))
    for pair, count in shared.items():
        if count >= LEAST_SHARED_SLICES:
            total = min(len({d for p in cases[i].fingerprints for d in p.slices}) for i in pair)
            text = f"images share {count} of {total} slices, mirrored or not, voxel by voxel"
            yield pair, text, 1 + count / total


def _near(cases: Sequence[CaseMeasurements]) -> Iterator[Evidence]:
    known = [(i, case.fingerprints[0].thumbnail) for i, case in enumerate(cases) if case.fingerprints]
    indices = [i for i, thumbnail in known if thumbnail is not None]
    thumbnails = [thumbnail for _, thumbnail in known if thumbnail is not None]
    if len(thumbnails) < 2:
        return
    for rows, columns, correlations in mirrored_correlations(thumbnails):
        for row, column in np.argwhere(correlations >= NEAR_CORRELATION):
            first, second = indices[rows + int(row)], indices[columns + int(column)]
            if first < second:
                value = float(correlations[row, column])
                text = f"images look alike, perhaps rescaled, resampled or mirrored (texture correlates by {value:.2f})"
                yield (first, second), text, value


def _same_labels(cases: Sequence[CaseMeasurements]) -> Iterator[Evidence]:
    owners: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        if case.labels is not None and any(c.voxels for c in case.labels.classes.values()):
            owners[case.labels.sha256].append(index)
    for group in owners.values():
        yield from ((pair, "label maps hold the same voxels", 1.0) for pair in pairwise(group))
