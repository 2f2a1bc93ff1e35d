"""Thresholds that part a muscle's dark lean voxels from its bright fatty ones: Otsu, two means, Gaussian mixtures.

One convention everywhere, in numbers and in maps: a voxel is fat where its intensity is above the threshold, and lean
where it is below or equal to it.

All are deterministic. They work on distinct values with their counts, so that a muscle of a million voxels costs
what its few thousand grey values cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from scipy.special import logsumexp

LEAST_VOXELS = 50
"""Fewer voxels give no threshold: two classes cannot be told from noise. Source: ours."""

BINS = 256
"""Histogram bins of values that are no whole numbers. Source: the default of scikit-image's threshold_otsu."""

MOST_EXACT_BINS = 1 << 20
"""Whole numbers that span more than this are binned like other values."""

EM_TOLERANCE, EM_ITERATIONS, EM_REGULARISATION = 1e-3, 1000, 1e-6
"""Of the Gaussian mixture. Source: scikit-learn's GaussianMixture (tol, reg_covar) with the 1000 iterations that
MuscleMap's mm_extract_metrics allows. Where an image's values vary by less than 1, the regularisation is this share of
their variance: in images of values around 1e-5 it would be wider than muscle and fat are apart."""

START_BINS = 256
"""Bins of the histogram in which the best three clusters are sought, to start from. Source: ours."""

_SMALLEST_WEIGHT = 10 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class Threshold:
    """A threshold, or why there is none.

    Attributes:
        value: In the image's units; NaN where there is none.
        reason: Empty where there is one.
    """

    value: float
    reason: str = ""


@dataclass(frozen=True)
class _Histogram:
    """Distinct values in rising order, with how often each occurs."""

    values: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class _Mixture:
    """Gaussians in rising order of their means: shares, means and variances, (k,) each."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def log_densities(self, values: np.ndarray) -> np.ndarray:
        """(n, k) logarithms of share times density."""
        distance = (values[:, None] - self.means) ** 2 / self.variances
        return np.log(self.weights) - 0.5 * (np.log(2 * np.pi * self.variances) + distance)


def otsu(values: np.ndarray) -> float:
    """Otsu's threshold: the split with the largest variance between the two classes.

    Whole numbers, of whatever dtype, get a bin each; other values get `BINS` bins between their extremes, whose
    centres are the candidates. The result is that of scikit-image's ``threshold_otsu``.

    Args:
        values: One-dimensional, at least two distinct ones.

    Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076.

    >>> otsu(np.array([1, 1, 2, 2, 8, 9, 9]))
    2.0
    """
    histogram = _otsu_bins(values)
    lower = np.cumsum(histogram.counts, dtype=np.float64)
    sums = np.cumsum(histogram.counts * histogram.values)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = sums[:-1] / lower[:-1] - (sums[-1] - sums[:-1]) / (lower[-1] - lower[:-1])
    between = lower[:-1] * (lower[-1] - lower[:-1]) * distance**2
    return float(histogram.values[int(np.argmax(between))])


def two_means(values: np.ndarray) -> float:
    """The middle between the means of the two clusters of 2-means.

    In one dimension the best of all splits is found exactly, by trying each; scikit-learn's KMeans comes to it with
    enough starts. Its criterion is Otsu's, so that on whole numbers both find the same fat.

    Args:
        values: One-dimensional, at least two distinct ones.

    Source: Lloyd 1982, doi:10.1109/TIT.1982.1056489; the exact optimum by prefix sums.

    >>> two_means(np.array([1, 1, 2, 2, 8, 9, 10]))
    5.25
    """
    histogram = _distinct(values)
    below, above = _best_split(histogram)
    return float((below + above) / 2)


def gaussian_mixture(values: np.ndarray, components: int = 2) -> float:
    """The intensity from which on the brightest of some fitted Gaussians, that of fat, is the most probable.

    Expectation maximisation from the clusters of k-means, as in scikit-learn's GaussianMixture. With three components
    the middle one holds what muscle and fat share, which is not counted as fat. Far below the mean of the lean voxels
    a wide fat component may become the more probable one again; such voxels are lean here, since nothing is darker
    than lean muscle but air and vessels.

    Args:
        values: One-dimensional, at least as many distinct ones as components.
        components: 2 or 3.

    Returns:
        NaN where the brightest component does not win at its own mean, or wins at that of the next: they lie within one
        another.

    Source: Dempster et al. 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; three components: Wesselink et al. 2024,
    doi:10.1016/j.xnsj.2024.100313.
    """
    histogram = _distinct(values)
    mixture = _fit(histogram, components)
    low, high = mixture.means[-2:]
    if _is_fat(mixture, low) or not _is_fat(mixture, high):
        return float("nan")
    return _crossing(mixture, low, high)


def three_gaussians(values: np.ndarray) -> float:
    """`gaussian_mixture` with three components; two where there are only two distinct values, with nothing between."""
    return gaussian_mixture(values, min(np.unique(values).size, 3))


METHODS: Mapping[str, Callable[[np.ndarray], float]] = MappingProxyType(
    {"gmm3": three_gaussians, "otsu": otsu, "kmeans": two_means, "gmm": gaussian_mixture}
)
"""By the names that ``--fat`` takes; the first is the default, since its agreement with Dixon is the best published."""

AGREEMENT: Mapping[str, str] = MappingProxyType(
    {
        "gmm3": "ICC(3,1) of 0.77 and more (three-component Gaussian mixture)",
        "otsu": "not studied by itself; its criterion is that of two-component k-means",
        "kmeans": "ICC(3,1) of 0.38 and less (two-component k-means)",
        "gmm": "ICC(3,1) of 0.63 and more (two-component Gaussian mixture)",
    }
)
"""Published agreement with Dixon of multifidus and erector spinae on T2-weighted scans of 30 people; for psoas major no
method exceeded 0.01. Source: Wesselink et al. 2024, N Am Spine Soc J 17:100313, doi:10.1016/j.xnsj.2024.100313."""


def find_threshold(values: np.ndarray, method: str) -> Threshold:
    """The threshold of a muscle's voxels by a named method, or why there is none.

    Args:
        values: Intensities of the muscle's voxels, one-dimensional.
        method: A name in `METHODS`.
    """
    if values.size < LEAST_VOXELS:
        return Threshold(float("nan"), f"{values.size} voxels, fewer than {LEAST_VOXELS}")
    if values.min() == values.max():
        return Threshold(float("nan"), f"all {values.size} voxels have the intensity {values.flat[0]:g}")
    value = METHODS[method](values)
    return Threshold(value, "" if np.isfinite(value) else _NO_CROSSING[method])


_NO_CROSSING = {
    "gmm": "the two Gaussians lie within one another",
    "gmm3": "the brightest two of the three Gaussians lie within one another",
}


def _distinct(values: np.ndarray) -> _Histogram:
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    return _Histogram(distinct, counts)


def _otsu_bins(values: np.ndarray) -> _Histogram:
    values = np.asarray(values, dtype=np.float64)
    low, high = values.min(), values.max()
    if high - low < MOST_EXACT_BINS and np.array_equal(values, np.rint(values)):
        return _distinct(values)  # empty bins in between cannot win against the bin below them
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    return _Histogram((edges[:-1] + edges[1:]) / 2, counts)


def _best_split(histogram: _Histogram) -> tuple[float, float]:
    """Means of the two clusters with the smallest sum of squares within them."""
    lower = np.cumsum(histogram.counts, dtype=np.float64)[:-1]
    upper = histogram.counts.sum() - lower
    origin = histogram.values.mean()  # large offsets would cost digits
    sums = np.cumsum(histogram.counts * (histogram.values - origin))
    below, above = sums[:-1] / lower, (sums[-1] - sums[:-1]) / upper
    best = int(np.argmax(lower * upper * (above - below) ** 2))
    return float(below[best] + origin), float(above[best] + origin)


def _best_triple(histogram: _Histogram) -> np.ndarray:
    """Means of the three clusters of k-means: the best of all pairs of splits of a binned histogram, then Lloyd's steps
    on the values themselves.
    """
    values, counts = histogram.values, histogram.counts.astype(np.float64)
    place = np.searchsorted(np.linspace(values[0], values[-1], START_BINS + 1)[1:-1], values, side="right")
    total = np.bincount(place, counts, START_BINS)
    sums = np.bincount(place, counts * (values - values[0]), START_BINS)
    number, amount = (np.concatenate([[0.0], np.cumsum(each)]) for each in (total, sums))
    first, second = np.triu_indices(START_BINS + 1, 1)
    ends = ((0, first), (first, second), (second, START_BINS))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = sum((amount[b] - amount[a]) ** 2 / (number[b] - number[a]) for a, b in ends)
    best = int(np.nanargmax(between))
    cuts = [0, int(first[best]), int(second[best]), START_BINS]
    means = np.array([(amount[b] - amount[a]) / (number[b] - number[a]) for a, b in pairwise(cuts)]) + values[0]
    for _ in range(EM_ITERATIONS):
        cluster = np.searchsorted((means[:-1] + means[1:]) / 2, values)
        moved = np.bincount(cluster, counts * values, 3) / np.bincount(cluster, counts, 3)
        if np.array_equal(moved, means):
            break
        means = moved
    return means


def _fit(histogram: _Histogram, components: int) -> _Mixture:
    means = np.array(_best_split(histogram)) if components == 2 else _best_triple(histogram)
    cluster = np.searchsorted((means[:-1] + means[1:]) / 2, histogram.values)
    mean = np.average(histogram.values, weights=histogram.counts)
    variance = float(np.average((histogram.values - mean) ** 2, weights=histogram.counts))
    least = EM_REGULARISATION * min(1.0, variance)
    mixture = _maximise(histogram, np.eye(components)[cluster], least)
    before = -np.inf
    for _ in range(EM_ITERATIONS):
        joint = mixture.log_densities(histogram.values)
        total = logsumexp(joint, axis=1)
        mixture = _maximise(histogram, np.exp(joint - total[:, None]), least)
        bound = float(histogram.counts @ total / histogram.counts.sum())
        if abs(bound - before) < EM_TOLERANCE:
            break
        before = bound
    order = np.argsort(mixture.means)
    return _Mixture(mixture.weights[order], mixture.means[order], mixture.variances[order])


def _maximise(histogram: _Histogram, shares: np.ndarray, least: float) -> _Mixture:
    """The Gaussians of the shares; `least` is added to their variances."""
    weighted = shares * histogram.counts[:, None]
    sizes = weighted.sum(axis=0) + _SMALLEST_WEIGHT
    means = histogram.values @ weighted / sizes
    squares = ((histogram.values[:, None] - means) ** 2 * weighted).sum(axis=0)
    return _Mixture(sizes / sizes.sum(), means, squares / sizes + least)


def _is_fat(mixture: _Mixture, value: float) -> bool:
    """Whether the brightest component is the most probable; equal ones are lean."""
    joint = mixture.log_densities(np.array([value]))[0]
    return bool(joint[-1] > joint[:-1].max())


def _crossing(mixture: _Mixture, low: float, high: float) -> float:
    """The last value between two means at which fat is not the most probable, by halving."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _is_fat(mixture, middle):
            high = middle
        else:
            low = middle
    return low
