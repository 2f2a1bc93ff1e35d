"""Thresholds against scikit-image and scikit-learn, and what has no threshold."""

import numpy as np
import pytest
from scipy import ndimage

from paraspinal_nnunet.measures.thresholds import (
    AGREEMENT,
    METHODS,
    find_threshold,
    gaussian_mixture,
    otsu,
    three_gaussians,
    two_means,
)

SEEDS = range(4)


def muscle(seed, *, whole):
    """Lean and fatty voxels, rather mixed."""
    rng = np.random.default_rng(seed)
    fatty = rng.random(4000) < rng.uniform(0.05, 0.5)
    values = np.where(fatty, rng.normal(400, 90, 4000), rng.normal(150, 40, 4000)).clip(0)
    return np.rint(values) if whole else values


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("whole", [True, False])
def test_otsu_is_scikit_images(seed, whole):
    filters = pytest.importorskip("skimage.filters", reason="scikit-image comes with the extra 'report'")
    values = muscle(seed, whole=whole)
    expected = filters.threshold_otsu(values.astype(int) if whole else values)
    assert otsu(values) == pytest.approx(expected, rel=1e-12)


def test_otsu_of_whole_numbers_does_not_depend_on_how_they_are_stored():
    values = muscle(0, whole=True)
    assert otsu(values.astype(np.float32)) == otsu(values.astype(np.int16)) == otsu(values)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_means_are_scikit_learns(seed):
    cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn comes with nnunetv2")
    values = muscle(seed, whole=False)
    found = cluster.KMeans(2, n_init=5, random_state=0, tol=0).fit(values[:, None])
    is_fat = found.labels_ == np.argmax(found.cluster_centers_)
    threshold = two_means(values)
    assert threshold == pytest.approx(found.cluster_centers_.mean(), rel=1e-9)
    np.testing.assert_array_equal(values > threshold, is_fat)


def test_two_means_find_the_best_of_all_splits():
    """By trying each of them; a start at the extremes would end at another split here."""
    values = np.array([0.0] * 10 + [10.0] * 10 + [11.0] * 3 + [40.0])

    def within(cut):
        return sum(((part - part.mean()) ** 2).sum() for part in (values[values <= cut], values[values > cut]))

    best = min((0.0, 10.0, 11.0), key=within)
    np.testing.assert_array_equal(values > two_means(values), values > best)


def test_otsu_and_two_means_find_the_same_fat_in_whole_numbers():
    for seed in SEEDS:
        values = muscle(seed, whole=True)
        np.testing.assert_array_equal(values > otsu(values), values > two_means(values))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("whole", [True, False])
def test_gaussian_mixture_is_scikit_learns(seed, whole):
    mixture = pytest.importorskip("sklearn.mixture", reason="scikit-learn comes with nnunetv2")
    values = muscle(seed, whole=whole)
    found = mixture.GaussianMixture(2, max_iter=1000, random_state=0).fit(values[:, None])
    is_fat = found.predict(values[:, None]) == np.argmax(found.means_)
    low = values < found.means_.min()  # where a wide fat component may win again; lean by our convention
    np.testing.assert_array_equal((values > gaussian_mixture(values))[~low], is_fat[~low])
    assert not (values > gaussian_mixture(values))[low].any()


def test_threshold_of_the_mixture_is_where_both_are_equally_probable():
    """Two Gaussians of one variance and equal shares meet in the middle between their means."""
    quantiles = (np.arange(20000) + 0.5) / 20000
    from scipy.stats import norm

    bell = norm.ppf(quantiles)
    assert gaussian_mixture(np.concatenate([100 + 10 * bell, 200 + 10 * bell])) == pytest.approx(150, abs=0.1)


def test_large_offsets_change_nothing():
    values = muscle(1, whole=True)
    assert two_means(values + 1e9) - 1e9 == pytest.approx(two_means(values), abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-3, 1e-5, 1e-9, 1e5])
def test_fat_does_not_depend_on_the_unit_of_the_image(method, scale):
    """Reconstructions outside the scanner give images of values around 1e-5."""
    values = muscle(2, whole=False)
    plain = find_threshold(values, method)
    scaled = find_threshold(values * scale, method)
    assert scaled.value / scale == pytest.approx(plain.value, rel=1e-3)
    assert np.mean(values * scale > scaled.value) == pytest.approx(np.mean(values > plain.value), abs=2 / len(values))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.arange(49.0), "49 voxels, fewer than 50"),
        (np.full(60, 7.0), "all 60 voxels have the intensity 7"),
        (np.zeros(0), "0 voxels, fewer than 50"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_no_threshold_has_a_reason(values, reason, method):
    found = find_threshold(values, method)
    assert np.isnan(found.value)
    assert found.reason == reason


def test_components_within_one_another_have_no_threshold():
    """A narrow heap inside a wide one with nearly the same mean."""
    bell = np.random.default_rng(0).normal(size=(2, 5000))
    found = find_threshold(np.concatenate([100 + 0.5 * bell[0], 101 + 30 * bell[1]]), "gmm")
    assert np.isnan(found.value)
    assert found.reason == "the two Gaussians lie within one another"


def mixed_muscle(seed, fatty):
    """Grey values and true share of fat of a muscle whose fat lies in streaks of some voxels' width.

    A texture of 4 x 4 cells per voxel is fat where it is brightest; a voxel's signal is that of its cells' mean, with
    the contrast, the lean muscle's own variation and the noise of a T2-weighted scan.
    """
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.standard_normal((320, 320, 6)), (8, 8, 0.5))
    cells = texture > np.quantile(texture, 1 - fatty)
    share = cells.reshape(80, 4, 80, 4, 6).mean(axis=(1, 3))
    lean = 100 * (1 + 0.12 * ndimage.gaussian_filter(rng.standard_normal(share.shape), 1) * 4)
    signal = lean + share * (400 - lean) + rng.normal(0, 12, share.shape)
    return np.rint(signal).clip(0).ravel(), float(share.mean())


@pytest.mark.parametrize("fatty", [0.08, 0.15, 0.25, 0.4])
def test_known_fat_that_voxels_share_with_muscle(fatty):
    """Three components leave out what voxels share, two count it as fat; half-way both happens alike."""
    found = {method: [] for method in METHODS}
    for seed in SEEDS:
        values, true = mixed_muscle(seed, fatty)
        for method in METHODS:
            threshold = find_threshold(values, method).value
            found[method].append((values > threshold).mean() - true)
    errors = {method: np.mean(values) for method, values in found.items()}
    assert -0.07 < errors["gmm3"] < 0
    assert 0.01 < errors["gmm"] < 0.06
    assert abs(errors["otsu"]) < 0.01
    assert errors["kmeans"] == errors["otsu"]


@pytest.mark.parametrize("seed", SEEDS)
def test_three_gaussians_are_scikit_learns(seed):
    mixture = pytest.importorskip("sklearn.mixture", reason="scikit-learn comes with nnunetv2")
    values, _ = mixed_muscle(seed, 0.25)
    found = mixture.GaussianMixture(3, max_iter=1000, n_init=5, random_state=0).fit(values[:, None])
    is_fat = found.predict(values[:, None]) == np.argmax(found.means_)
    above = values > np.sort(found.means_.ravel())[1]  # below, a wide component may win again; lean by our convention
    mine = values > three_gaussians(values)
    assert (mine[above] != is_fat[above]).mean() < 0.01
    assert not mine[~above].any()


def test_three_gaussians_meet_half_way_between_the_upper_two():
    """Three Gaussians of one variance and equal shares: the upper two meet in the middle between their means."""
    from scipy.stats import norm

    bell = norm.ppf((np.arange(20000) + 0.5) / 20000)
    values = np.concatenate([100 + 10 * bell, 200 + 10 * bell, 300 + 10 * bell])
    assert three_gaussians(values) == pytest.approx(250, abs=0.1)
    assert three_gaussians(values + 1e6) == pytest.approx(250 + 1e6, abs=0.1)


def test_two_values_have_nothing_between():
    values = np.repeat([1.0, 2.0], 60)
    assert 1 < three_gaussians(values) < 2


def test_the_default_has_the_best_published_agreement():
    assert next(iter(METHODS)) == "gmm3"
    assert tuple(AGREEMENT) == tuple(METHODS)
