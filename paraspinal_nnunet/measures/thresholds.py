"""Thresholds that part a muscle's dark lean voxels from its bright fatty ones: Otsu, two means, two Gaussians.

One convention everywhere, in numbers and in maps: a voxel is fat where its intensity is above the threshold, and lean
where it is below or equal to it.

All three are deterministic. They work on distinct values with their counts, so that a muscle of a million voxels costs
what its few thousand grey values cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

LEAST_VOXELS = 50
"""Fewer voxels give no threshold: two classes cannot be told from noise. Source: ours."""

BINS = 256
"""Histogram bins of values that are no whole numbers. Source: the default of scikit-image's threshold_otsu."""

MOST_EXACT_BINS = 1 << 20
"""Whole numbers that span more than this are binned like other values."""

EM_TOLERANCE, EM_ITERATIONS, EM_REGULARISATION = 1e-3, 1000, 1e-6
"""Of the Gaussian mixture. Source: scikit-learn's GaussianMixture (tol, reg_covar) with the 1000 iterations that
MuscleMap's mm_extract_metrics allows."""

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
    """Two Gaussians: shares, means and variances."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def log_densities(self, values: np.ndarray) -> np.ndarray:
        """(n, 2) logarithms of share times density."""
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


def gaussian_mixture(values: np.ndarray) -> float:
    """Where two fitted Gaussians are equally probable, between their means.

    Expectation maximisation from the clusters of `two_means`, as scikit-learn's GaussianMixture does from KMeans. Far
    below the mean of the lean voxels a wide fat component may become the more probable one again; such voxels are
    lean here, since nothing is darker than lean muscle but air and vessels.

    Args:
        values: One-dimensional, at least two distinct ones.

    Returns:
        NaN where neither component wins on its own side: they lie within one another.

    Source: Dempster et al. 1977, doi:10.1111/j.2517-6161.1977.tb01600.x.
    """
    histogram = _distinct(values)
    mixture = _fit(histogram)
    order = np.argsort(mixture.means)
    low, high = mixture.means[order]
    if mixture.log_densities(np.array([low]))[0] @ _sign(order) < 0:
        return float("nan")
    if mixture.log_densities(np.array([high]))[0] @ _sign(order) > 0:
        return float("nan")
    return _crossing(mixture, order, low, high)


METHODS: Mapping[str, Callable[[np.ndarray], float]] = MappingProxyType(
    {"otsu": otsu, "kmeans": two_means, "gmm": gaussian_mixture}
)
"""By the names that ``--fat`` takes."""


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
    return Threshold(value, "" if np.isfinite(value) else "the two Gaussians lie within one another")


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


def _fit(histogram: _Histogram) -> _Mixture:
    below, above = _best_split(histogram)
    is_upper = histogram.values > (below + above) / 2
    mixture = _maximise(histogram, np.stack([~is_upper, is_upper], axis=1).astype(np.float64))
    before = -np.inf
    for _ in range(EM_ITERATIONS):
        joint = mixture.log_densities(histogram.values)
        total = np.logaddexp(joint[:, 0], joint[:, 1])
        mixture = _maximise(histogram, np.exp(joint - total[:, None]))
        bound = float(histogram.counts @ total / histogram.counts.sum())
        if abs(bound - before) < EM_TOLERANCE:
            break
        before = bound
    return mixture


def _maximise(histogram: _Histogram, shares: np.ndarray) -> _Mixture:
    weighted = shares * histogram.counts[:, None]
    sizes = weighted.sum(axis=0) + _SMALLEST_WEIGHT
    means = histogram.values @ weighted / sizes
    squares = ((histogram.values[:, None] - means) ** 2 * weighted).sum(axis=0)
    return _Mixture(sizes / sizes.sum(), means, squares / sizes + EM_REGULARISATION)


def _sign(order: np.ndarray) -> np.ndarray:
    """Weights of the two log densities whose sum is positive where the component with the lower mean wins."""
    sign = np.empty(2)
    sign[order] = 1.0, -1.0
    return sign


def _crossing(mixture: _Mixture, order: np.ndarray, low: float, high: float) -> float:
    """The root of the difference of the log densities between the means, by halving."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if mixture.log_densities(np.array([middle]))[0] @ _sign(order) >= 0:
            low = middle
        else:
            high = middle
    return low
