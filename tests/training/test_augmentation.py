import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from multiprocessing import get_context

import numpy as np
import pytest
from scipy import ndimage, special, stats

torch = pytest.importorskip("torch")

from paraspinal_nnunet.errors import DatasetError, ProtocolError
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.training.augmentation import elastic
from paraspinal_nnunet.training.augmentation.deformation import PointMaps, Sources
from paraspinal_nnunet.training.augmentation.elastic import STEP, ElasticFields, kernel_rows, kernel_tail
from paraspinal_nnunet.training.augmentation.transform import (
    POOL_STREAM,
    AugmentedPool,
    ImageTransform,
    draw_transform,
    exchange_table,
)
from paraspinal_nnunet.training.sampling import STREAMS

SETTINGS = PAPER.augmentation
SPACING = (5.0, 0.39, 0.39)
SHAPE = (9, 21, 30)
"""Even and odd lengths, all different, so that no two axes can be confused."""


def volume(seed=0, shape=SHAPE):
    """Smooth grey values and blocks of labels."""
    generator = np.random.default_rng(seed)
    image = generator.normal(size=(2, *shape)).astype(np.float32)
    labels = np.kron(generator.integers(0, 7, [-(-n // 3) for n in shape]), np.ones((3, 3, 3), int))
    return image, labels[: shape[0], : shape[1], : shape[2]].astype(np.int16)


def cases(count=50):
    return tuple(f"case_{n:02d}" for n in range(count))


def one(transform, shape, spacing=SPACING):
    return PointMaps.of([transform], [shape], spacing)


def box(start, size):
    """Arguments of `on_boxes` for one image."""
    return torch.tensor([start]), size


def whole(image, labels, transform, spacing=SPACING, field=None):
    """The augmented image and labels, all voxels at once."""
    shape = labels.shape
    points = replace(one(transform, shape, spacing), fields=field).on_boxes(*box((0, 0, 0), shape))
    voxels, values = (torch.from_numpy(np.ascontiguousarray(a)) for a in (image, labels))
    sampled = Sources.one(shape).sample_image(voxels.flatten(1), points)[0]
    return sampled.numpy(), Sources.one(shape).sample_labels(values.flatten(), points)[0].numpy()


class ConstantField:
    """A given displacement at every voxel, shape (3, z, y, x)."""

    def __init__(self, displacement):
        self.displacement = torch.from_numpy(displacement)[None]

    def on_boxes(self, starts, size):
        return self.displacement


def monai_volume(array, transform, mode, offset=None):
    """What MONAI makes of a (channels, z, y, x) array: its arrays and parameters are in the order x, y, z.

    As in Rand3DElastic.__call__: grid = create_grid(size); grid[:3] += offset; AffineGrid(...)(grid=grid);
    Resample()(img, grid, mode=mode, padding_mode="border").
    """
    transforms = pytest.importorskip("monai.transforms")
    from monai.transforms.utils import create_grid

    xyz = torch.as_tensor(np.ascontiguousarray(array.transpose(0, 3, 2, 1)))
    grid = create_grid(xyz.shape[1:], backend="torch", dtype=torch.float64)
    if offset is not None:
        grid[:3] += torch.as_tensor(offset[::-1].transpose(0, 3, 2, 1).copy())
    affine_grid = transforms.AffineGrid(
        rotate_params=tuple(np.deg2rad(transform.rotation_deg[::-1])),
        translate_params=transform.translation_voxels[::-1],
        scale_params=transform.scaling[::-1],
        dtype=torch.float64,
    )
    grid, _ = affine_grid(grid=grid)
    out = transforms.Resample()(xyz, grid, mode=mode, padding_mode="border")
    return np.asarray(out).transpose(0, 3, 2, 1)


TRANSFORMS = {
    "all": ImageTransform("0", "c", False, (7.0, -4.0, 11.0), (1.1, 0.9, 1.05), (1.3, -3.4, 5.2)),
    "about z": ImageTransform("0", "c", rotation_deg=(25.0, 0.0, 0.0)),
    "about y": ImageTransform("0", "c", rotation_deg=(0.0, 25.0, 0.0)),
    "about x": ImageTransform("0", "c", rotation_deg=(0.0, 0.0, 25.0)),
    "scaling": ImageTransform("0", "c", scaling=(1.3, 1.13, 0.81)),
    "border": ImageTransform("0", "c", translation_voxels=(2.2, -6.4, 9.25)),
    "order of steps": ImageTransform("0", "c", False, (30.0, 0.0, 0.0), (1.0, 1.5, 1.0), (0.0, 4.0, 0.0)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_affine_part_equals_monai(name):
    image, labels = volume()
    ours, our_labels = whole(image, labels, TRANSFORMS[name])
    np.testing.assert_allclose(ours, monai_volume(image, TRANSFORMS[name], "bilinear"), atol=1e-4)
    theirs = monai_volume(labels[None].astype(np.float32), TRANSFORMS[name], "nearest")[0]
    assert np.array_equal(our_labels, theirs)


def test_elastic_offsets_are_added_before_the_affine_map_as_in_monai():
    image, labels = volume(1)
    offset = np.random.default_rng(2).normal(0, 2, (3, *SHAPE))
    field = ConstantField(offset)
    ours, our_labels = whole(image, labels, TRANSFORMS["all"], field=field)
    np.testing.assert_allclose(ours, monai_volume(image, TRANSFORMS["all"], "bilinear", offset), atol=1e-4)
    theirs = monai_volume(labels[None].astype(np.float32), TRANSFORMS["all"], "nearest", offset)[0]
    assert np.array_equal(our_labels, theirs)


def test_rand_3d_elastic_draws_the_same_parameters_from_the_same_ranges():
    """MONAI's own transform with the paper's numbers, for the meaning of its arguments: radians, shares, voxels."""
    transforms = pytest.importorskip("monai.transforms")
    image, labels = volume(3)
    transform = transforms.Rand3DElastic(
        sigma_range=SETTINGS.elastic_sigma,
        magnitude_range=(0, 0),
        prob=1.0,
        rotate_range=tuple(np.deg2rad(SETTINGS.rotation_deg[::-1])),
        translate_range=SETTINGS.translation_voxels[::-1],
        scale_range=tuple(s / 100 for s in SETTINGS.scaling_percent[::-1]),
        padding_mode=SETTINGS.padding,
    )
    transform.set_random_state(seed=4)
    theirs = np.asarray(transform(image.transpose(0, 3, 2, 1))).transpose(0, 3, 2, 1)
    drawn = transform.rand_affine_grid
    ours = ImageTransform(
        "0",
        "c",
        rotation_deg=tuple(np.rad2deg(drawn.rotate_params[::-1])),
        scaling=tuple(drawn.scale_params[::-1]),
        translation_voxels=tuple(drawn.translate_params[::-1]),
    )
    assert max(np.abs(ours.rotation_deg)) <= 2.5
    assert max(np.abs(np.array(ours.scaling) - 1)) <= 0.025
    np.testing.assert_allclose(whole(image, labels, ours)[0], theirs, atol=1e-4)


def test_identity_changes_nothing():
    image, labels = volume()
    same, same_labels = whole(image, labels, ImageTransform("0", "c"))
    assert np.array_equal(same, image)
    assert np.array_equal(same_labels, labels)


def test_flip_mirrors_along_x():
    image, labels = volume()
    flipped, flipped_labels = whole(image, labels, ImageTransform("0", "c", flip=True))
    assert np.array_equal(flipped, image[..., ::-1])
    assert np.array_equal(flipped_labels, labels[..., ::-1])


def test_flip_comes_first():
    image, labels = volume()
    transform = TRANSFORMS["all"]
    ours, our_labels = whole(image, labels, replace(transform, flip=True))
    mirrored, mirrored_labels = whole(image[..., ::-1], labels[..., ::-1], transform)
    np.testing.assert_allclose(ours, mirrored, atol=1e-5)
    assert np.array_equal(our_labels, mirrored_labels)


def test_rotation_about_x_shears_in_voxel_space_and_turns_in_physical_space():
    """At 80 voxels (31.2 mm) from the centre 2.5 degrees shift by 80 sin 2.5 deg = 3.49 slices, or by 0.27 slices."""
    voxel = ImageTransform("0", "c", rotation_deg=(0.0, 0.0, 2.5))
    physical = replace(voxel, space="physical")
    point = np.array([0.0, 80.0, 0.0, 1.0])
    angle = np.deg2rad(2.5)
    assert (voxel.matrix(SPACING) @ point)[0] == pytest.approx(80 * np.sin(angle))
    assert (physical.matrix(SPACING) @ point)[0] == pytest.approx(80 * 0.39 * np.sin(angle) / 5)
    mm = np.diag([*SPACING, 1.0])
    turned = mm @ physical.matrix(SPACING) @ np.linalg.inv(mm)
    np.testing.assert_allclose(turned[:3, :3] @ turned[:3, :3].T, np.eye(3), atol=1e-12)
    sheared = mm @ voxel.matrix(SPACING) @ np.linalg.inv(mm)
    assert np.abs(sheared[:3, :3] @ sheared[:3, :3].T - np.eye(3)).max() > 0.1


def test_physical_space_is_voxel_space_for_cubes_and_keeps_translations_in_voxels():
    transform = TRANSFORMS["all"]
    physical = replace(transform, space="physical")
    np.testing.assert_allclose(physical.matrix((2, 2, 2)), transform.matrix((2, 2, 2)), atol=1e-12)
    shift = ImageTransform("0", "c", translation_voxels=(2.0, 25.0, -25.0), space="physical")
    assert shift.matrix(SPACING)[:3, 3] == pytest.approx((2.0, 25.0, -25.0))


def rows_of(length, sigma):
    """The weights of all nodes at all voxels along an axis."""
    nodes, tail = torch.arange(-(-length // 4))[None, None], kernel_tail(sigma, 3.0)
    given = {"length": torch.tensor([[length]]), "sigma": torch.tensor([[sigma]]).double(), "reach": tail}
    return kernel_rows(torch.arange(length)[None], nodes, tail=torch.tensor([[tail]]), **given)[0].numpy()


@pytest.mark.parametrize(("length", "sigma"), [(50, 6.0), (50, 8.0), (512, 6.3), (16, 8.0), (5, 7.0)])
def test_kernel_has_monais_covariance(length, sigma):
    """C = G G^T with G MONAI's blur as a matrix, zeros beyond the image: variances exactly, correlations to 0.01."""
    layers = pytest.importorskip("monai.networks.layers")
    blur = layers.separable_filtering(
        torch.eye(length, dtype=torch.float64)[:, None],
        [layers.gaussian_1d(torch.as_tensor(sigma), truncated=3.0).double()],
    )[:, 0].numpy()
    theirs = blur.T @ blur
    kernel = rows_of(length, sigma)
    ours = kernel @ kernel.T
    np.testing.assert_allclose(np.diag(ours), np.diag(theirs), rtol=1e-5)
    sd = np.sqrt(np.diag(theirs))
    np.testing.assert_allclose(ours / np.outer(sd, sd), theirs / np.outer(sd, sd), atol=0.01)
    assert np.diag(theirs)[0] < 0.8 * np.diag(theirs)[length // 2] or length < 10  # the borders do move less


FIELD_SHAPE = (20, 40, 48)
FIELD_SEEDS = 40
SIGMA, MAGNITUDE = 7.0, 75.0


def monai_field(seed):
    """As in Rand3DElastic: GaussianFilter(3, sigma, 3.0) of uniform(-1, 1) noise, times the magnitude."""
    layers = pytest.importorskip("monai.networks.layers")
    noise = np.random.RandomState(seed).uniform(-1.0, 1.0, (1, 3, *FIELD_SHAPE)).astype(np.float32)
    return layers.GaussianFilter(3, SIGMA, 3.0)(torch.as_tensor(noise))[0].numpy() * MAGNITUDE


def field_of(seed, shape=FIELD_SHAPE, sigma=SIGMA, magnitude=MAGNITUDE):
    transform = ImageTransform("0", "c", sigma=sigma, magnitude=magnitude, truncation=3.0, entropy=(seed,))
    return ElasticFields.of([transform], [shape], torch.device("cpu"))


def our_field(seed):
    return field_of(seed).on_boxes(*box((0, 0, 0), FIELD_SHAPE))[0].numpy()


def field_statistics(make):
    """Per seed and component: mean square in the middle and in a corner, and products at lags along each axis."""
    rows = []
    for seed in range(FIELD_SEEDS):
        for component in make(seed):
            z, y, x = (n // 2 for n in FIELD_SHAPE)
            middle = component[z - 2 : z + 2, y - 9 : y + 9, x - 9 : x + 9]
            row = [component.mean(), (middle**2).mean(), (component[:3, :3, :3] ** 2).mean()]
            for axis in range(3):
                for lag in (3, 6, 9):
                    a = np.moveaxis(component, axis, 0)
                    row.append((a[:-lag] * a[lag:]).mean())
            rows.append(row)
    return np.array(rows)


@pytest.mark.slow
def test_field_has_monais_mean_variance_and_correlation_lengths():
    """Welch's t of each statistic over 120 independent components: below 4 but for chance of 1e-4 each."""
    theirs, ours = field_statistics(monai_field), field_statistics(our_field)
    t, _ = stats.ttest_ind(ours, theirs, equal_var=False)
    assert np.abs(t).max() < 4, t
    _, from_zero = stats.ttest_1samp(ours[:, 0], 0)
    assert from_zero > 1e-4


def test_noise_is_standard_normal():
    """3 x 25^3 numbers estimate their standard deviation to 1 / sqrt(2 x 46875) = 0.33 %; four times that."""
    noise = field_of(0, (100, 100, 100)).noise
    assert noise.numel() == 46_875
    assert float(noise.std()) == pytest.approx(1, rel=0.0131)
    assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-3


@pytest.mark.slow
def test_field_is_normal_with_the_variance_of_the_formula():
    """At the centre of a large image: magnitude^2 / 3 times the kernel's sum of squares to the power of three."""
    kernel = gaussian(np.arange(-21, 22), SIGMA)
    expected = MAGNITUDE**2 / 3 * (kernel**2).sum() ** 3
    point = torch.tensor([[[30, 30, 30]]])
    values = np.concatenate([field_of(seed, (60, 60, 60)).at(point)[0, 0].numpy() for seed in range(400)])
    assert stats.kstest(values / np.sqrt(expected), "norm").pvalue > 1e-3


def gaussian(distance, sigma):
    """The integral of the Gaussian over a voxel."""
    edges = (np.asarray(distance)[..., None] + (-0.5, 0.5)) / (np.sqrt(2) * sigma)
    return np.diff(special.erf(edges), axis=-1)[..., 0] / 2


def test_field_is_the_sum_over_all_nodes():
    """By hand: normal numbers at block centres, a Gaussian that ends at 3 sigma, each row scaled to the variance."""
    shape, sigma, magnitude, tail = (7, 42, 30), 6.0, 80.0, 18
    noise = np.random.default_rng((4,)).standard_normal((3, 2, 11, 8), dtype=np.float32).astype(float)
    kernels = []
    for length in shape:
        blocks = np.split(np.arange(length), range(4, length, 4))
        distance = np.arange(length)[:, None] - np.array([block.mean() for block in blocks])
        weights = gaussian(distance, sigma) * np.sqrt([len(block) for block in blocks]) * (abs(distance) <= tail + 0.5)
        voxels = np.subtract.outer(np.arange(length), np.arange(length))
        variance = (gaussian(voxels, sigma) ** 2 * (abs(voxels) <= tail)).sum(1)
        kernels.append(weights * np.sqrt(variance / (weights**2).sum(1))[:, None])
    expected = magnitude / np.sqrt(3) * np.einsum("cijk,zi,yj,xk->czyx", noise, *kernels)
    field = field_of(4, shape, sigma, magnitude).on_boxes(*box((0, 0, 0), shape))[0].numpy()
    np.testing.assert_allclose(field, expected, atol=STEP / 2 + 1e-9)


def test_field_is_the_same_at_single_voxels_in_boxes_and_in_slices(monkeypatch):
    field = field_of(5, sigma=6.4, magnitude=90.0)
    everything = field.on_boxes(*box((0, 0, 0), FIELD_SHAPE))
    assert torch.equal(field.on_boxes(*box((3, 7, 11), (5, 20, 30))), everything[:, :, 3:8, 7:27, 11:41])
    assert torch.equal(field.on_boxes(*box((19, 0, 0), (1, 40, 48))), everything[:, :, 19:])
    voxels = np.random.default_rng(6).integers(0, FIELD_SHAPE, (1, 200, 3))
    z, y, x = voxels[0].T
    for terms in (2**19, 1):
        monkeypatch.setitem(elastic.TERMS, "cpu", terms)
        assert torch.equal(field.at(torch.from_numpy(voxels)), everything[:, :, z, y, x].mT)
    assert torch.equal(everything / STEP, (everything / STEP).round())


def test_points_are_the_same_at_single_voxels_in_boxes_and_in_slices():
    points = one(AugmentedPool(cases(), 0, 0, SETTINGS).image("0003"), FIELD_SHAPE)
    everything = points.on_boxes(*box((0, 0, 0), FIELD_SHAPE))
    assert torch.equal(points.on_boxes(*box((3, 7, 11), (5, 20, 30))), everything[:, :, 3:8, 7:27, 11:41])
    voxels = np.random.default_rng(6).integers(0, FIELD_SHAPE, (1, 200, 3))
    z, y, x = voxels[0].T
    assert torch.equal(points.at(torch.from_numpy(voxels)), everything[:, :, z, y, x].mT)


def test_images_of_a_batch_do_not_bear_on_each_other():
    """Other shapes, kernels and none in the same batch, in any order: each has the points that it has alone."""
    pool = AugmentedPool(cases(), 0, 0, replace(SETTINGS, probability=0.6))
    images = [pool.image(i) for i in pool.ids[:6]]
    assert {t.sigma > 0 for t in images} == {True, False}
    shapes = [(9, 41, 30), (6, 22, 57), (20, 30, 30), (5, 41, 90), (9, 41, 30), (30, 26, 31)]
    together, order = PointMaps.of(images, shapes, SPACING), torch.tensor([4, 0, 3, 3, 1, 2, 5])
    starts = torch.tensor([[n % 2, 2 * n, 3] for n in range(7)])
    found = together.rows(order).on_boxes(starts, (4, 10, 25))
    for row, number in enumerate(order):
        alone = one(images[number], shapes[number]).on_boxes(starts[row : row + 1], (4, 10, 25))
        assert torch.equal(found[row], alone[0])


def test_values_are_scipys():
    """map_coordinates(order=1, mode='nearest') of each channel, and the voxel at the rounded point."""
    image, labels = volume(5)
    transform = replace(TRANSFORMS["all"], sigma=6.0, magnitude=70.0, entropy=(3,))
    field = one(transform, SHAPE).fields
    ours, our_labels = whole(image, labels, transform, field=field)
    points = one(transform, SHAPE).on_boxes(*box((0, 0, 0), SHAPE))[0].numpy()
    theirs = [ndimage.map_coordinates(channel, points, order=1, mode="nearest") for channel in image]
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    z, y, x = np.rint(points).astype(int)
    assert np.array_equal(our_labels, labels[z, y, x])


def test_labels_are_exchanged_in_pairs():
    labels = {"background": 0, "multifidus_right": 1, "multifidus_left": 2, "psoas_major_left": 6}
    labels |= {"psoas_major_right": 5, "vertebra": 7}
    assert exchange_table(labels) == {0: 0, 1: 2, 2: 1, 5: 6, 6: 5, 7: 7}


@pytest.mark.parametrize("name", ["multifidus_right", "kidney_left"])
def test_a_side_without_its_other_cannot_be_mirrored(name):
    with pytest.raises(DatasetError, match=name):
        exchange_table({"background": 0, name: 1})


def test_pool_gives_each_of_50_cases_20_images_and_no_other_case_any():
    pool = AugmentedPool(cases(), 0, 1, SETTINGS)
    assert len(pool.ids) == 1000
    names, counts = np.unique([pool.image(i).case for i in pool.ids], return_counts=True)
    assert set(names) == set(cases())
    assert set(counts) == {20}


def test_pool_counts_differ_by_one_at_most():
    pool = AugmentedPool(cases(51), 0, 1, SETTINGS)
    _, counts = np.unique([pool.image(i).case for i in pool.ids], return_counts=True)
    assert (counts.min(), counts.max(), counts.sum()) == (19, 20, 1000)


def test_originals_join_unchanged_where_asked():
    pool = AugmentedPool(cases(3), 0, 0, replace(SETTINGS, pool=10, originals=True))
    assert pool.ids == tuple(f"{n:04d}" for n in range(13))
    originals = [pool.image(i) for i in pool.ids[10:]]
    assert {t.case for t in originals} == set(cases(3))
    for transform in originals:
        assert np.array_equal(transform.matrix(SPACING), np.eye(4))
        assert not transform.flip
        assert one(transform, SHAPE).fields is None


def drawn(seed, fold, image):
    transform = AugmentedPool(cases(), seed, fold, SETTINGS).image(image)
    return transform, one(transform, SHAPE).fields.at(torch.tensor([[[4, 10, 15]]])).tolist()


@pytest.mark.slow
def test_the_same_image_in_other_processes_and_whatever_was_drawn_before():
    asked = [(0, 0, "0999"), (0, 0, "0000"), (0, 1, "0000"), (1, 0, "0000")]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        elsewhere = list(workers.map(drawn, *zip(*asked, strict=True)))
    assert elsewhere == [drawn(*a) for a in asked]
    assert len({t.rotation_deg for t, _ in elsewhere}) == 4


def test_order_of_cases_does_not_matter():
    backwards = AugmentedPool(cases()[::-1], 0, 0, SETTINGS)
    assert backwards.image("0007") == AugmentedPool(cases(), 0, 0, SETTINGS).image("0007")


def test_pool_draws_from_a_stream_of_its_own():
    assert POOL_STREAM not in STREAMS.values()


def test_parameters_fill_the_papers_ranges_uniformly():
    pool = AugmentedPool(cases(), 0, 0, SETTINGS)
    images = [pool.image(i) for i in pool.ids]
    ranges = {
        "rotation_deg": [(-2.5, 2.5)] * 3,
        "scaling": [(0.975, 1.025)] * 3,
        "translation_voxels": [(-2, 2), (-25, 25), (-25, 25)],
        "sigma": [(6, 8)],
        "magnitude": [(50, 100)],
    }
    for name, limits in ranges.items():
        values = np.array([np.atleast_1d(getattr(i, name)) for i in images]).T
        for column, (low, high) in zip(values, limits, strict=True):
            assert stats.kstest(column, "uniform", (low, high - low)).pvalue > 1e-3, name
    assert stats.binomtest(sum(i.flip for i in images), 1000, 0.5).pvalue > 1e-3
    assert {i.space for i in images} == {"voxel"}


def test_probability_leaves_images_undeformed_but_may_mirror_them():
    settings = replace(SETTINGS, probability=0.0, flip_probability=1.0)
    transform = draw_transform("0000", "c", settings, (0, 0, POOL_STREAM, 1))
    assert transform.flip
    assert np.array_equal(transform.matrix(SPACING), np.eye(4))
    assert one(transform, SHAPE).fields is None


@pytest.mark.parametrize(
    ("name", "value", "changes"),
    [
        ("rotation_deg", (0.0, 0.0, 0.0), "rotation_deg"),
        ("scaling_percent", (0.0, 0.0, 0.0), "scaling"),
        ("translation_voxels", (0.0, 0.0, 0.0), "translation_voxels"),
        ("elastic_sigma", (1.0, 1.0), "sigma"),
        ("elastic_magnitude", (0.0, 0.0), "magnitude"),
        ("elastic_truncation", 4.0, "truncation"),
        ("space", "physical", "space"),
    ],
)
def test_each_setting_changes_its_own_parameter_and_no_other(name, value, changes):
    before = AugmentedPool(cases(), 0, 0, SETTINGS).image("0000")
    after = AugmentedPool(cases(), 0, 0, replace(SETTINGS, **{name: value})).image("0000")
    assert {f.name for f in fields(before) if getattr(before, f.name) != getattr(after, f.name)} == {changes}


def test_reversed_range_and_empty_fold_are_refused():
    with pytest.raises(ProtocolError, match="smaller number first"):
        AugmentedPool(cases(), 0, 0, replace(SETTINGS, elastic_sigma=(8.0, 6.0)))
    with pytest.raises(DatasetError, match="no training cases"):
        AugmentedPool((), 0, 0, SETTINGS)


def test_pool_can_be_pickled():
    pool = AugmentedPool(cases(), 0, 0, SETTINGS)
    assert pickle.loads(pickle.dumps(pool)).image("0500") == pool.image("0500")
