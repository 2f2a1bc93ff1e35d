import numpy as np
import pytest

from paraspinal_nnunet.dataset_conversion.images.bias_field import correct_bias_field
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume


def uneven(strength):
    """Two tissues in equal stripes under a field that grows along the first axis."""
    rng = np.random.default_rng(0)
    tissue = np.where(np.arange(48)[None, :, None] // 6 % 2, 100.0, 300.0) + rng.normal(0, 3, (48, 48, 12))
    field = np.exp(strength * np.linspace(-1, 1, 48))[:, None, None]
    return Volume((tissue * field).astype(np.float32), np.diag([2.0, 2.0, 5.0, 1])), tissue


def spread(array):
    """Coefficient of variation over the bright tissue, which is 300 everywhere."""
    bright = array[:, np.arange(48) // 6 % 2 == 0]
    return bright.std() / bright.mean()


def test_a_field_is_taken_out():
    image, tissue = uneven(0.4)
    corrected = correct_bias_field(image, "scan")
    assert spread(image.array) > 0.2
    assert spread(corrected.array) < 0.05
    assert np.array_equal(corrected.affine, image.affine)
    assert corrected.array.dtype == np.float32
    assert np.corrcoef(corrected.array.ravel(), tissue.ravel())[0, 1] > 0.99


def test_zero_stays_zero():
    image, _ = uneven(0.4)
    image.array[:, :4] = 0
    assert not correct_bias_field(image, "scan").array[:, :4].any()


def test_negative_intensities_are_refused():
    image, _ = uneven(0.0)
    image.array[0, 0, 0] = -1
    with pytest.raises(InputError, match=r"scan: holds negative intensities \(-1\)"):
        correct_bias_field(image, "scan")
