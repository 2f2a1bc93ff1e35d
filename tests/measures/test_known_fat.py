"""Fat by threshold where the truth is known, because it was painted."""

import numpy as np
import pytest

from paraspinal_nnunet.measures import measure
from paraspinal_nnunet.measures.thresholds import METHODS
from paraspinal_nnunet.phantom.cohort import generate_case


@pytest.fixture(scope="module")
def errors():
    """Method -> measured minus painted fat of each muscle of two phantoms."""
    found = {method: [] for method in METHODS}
    for index in range(2):
        case = generate_case(0, index, (128, 128, 16))
        result = measure((case.image, case.affine), (case.labels, case.affine), fat_methods=tuple(METHODS))
        for key, truth in case.fat_fraction.items():
            for method, values in found.items():
                values.append(result.structure(key).fat_by(method).fat_fraction - truth)
    return {method: np.array(values) for method, values in found.items()}


@pytest.mark.parametrize("method", ["gmm3", "otsu", "kmeans"])
def test_methods_read_within_a_few_hundredths(errors, method):
    assert abs(errors[method].mean()) < 0.04
    assert np.abs(errors[method]).max() < 0.07


def test_two_gaussians_count_what_is_shared_as_fat(errors):
    assert 0.05 < errors["gmm"].mean() < 0.15


def test_the_default_is_the_only_one_that_does_not_count_it(errors):
    assert errors["gmm3"].mean() < 0 < errors["otsu"].mean() < errors["gmm"].mean()
