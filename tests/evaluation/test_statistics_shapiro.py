"""The Shapiro-Wilk test against R 4.2: `shapiro.test(x)`, printed with %.17g."""

import math

import numpy as np
import pytest
from scipy import special

from paraspinal_nnunet.evaluation.statistics.shapiro import MOST, shapiro_wilk

VALUES = np.array([2.1, 3.4, 1.9, 5.6, 4.4, 8.8, 0.3, 7.1, 6.6, 2.2, 9.9, 12.5, 3.3, 4.1, 5.0])
FIRST = {  # the first n of VALUES
    3: (0.84798994974874398, 0.23508923424204678),
    4: (0.87603183393998441, 0.32196480117232057),
    5: (0.93208493960152361, 0.61065590505509537),
    6: (0.90989330130516788, 0.43569476547807262),
    7: (0.95681454537057065, 0.79098597900983703),
    10: (0.95940946368881896, 0.7791180406022693),
    11: (0.95565166543602942, 0.71654054069571427),
    12: (0.9571597732512428, 0.74264904284661526),
    15: (0.9522211480056324, 0.56009006462036204),
}


@pytest.mark.parametrize("n", FIRST)
def test_small_samples(n):
    assert shapiro_wilk(VALUES[:n]) == pytest.approx(FIRST[n], rel=1e-12)


def test_a_skewed_sample_of_400():
    """y <- (1:400)^1.5 %% 7.3"""
    found = shapiro_wilk(np.arange(1, 401) ** 1.5 % 7.3)
    assert found == pytest.approx((0.94075979205948745, 1.5397020413467859e-11), rel=1e-11, abs=0)


def test_the_largest_sample():
    """z <- ((1:5000) * 0.61803398875) %% 1; qnorm(pmin(pmax(z, 1e-6), 1 - 1e-6))"""
    uniform = np.clip(np.arange(1, MOST + 1) * 0.61803398875 % 1, 1e-6, 1 - 1e-6)
    found = shapiro_wilk(special.ndtri(uniform))
    assert found == pytest.approx((0.99996854455675688, 0.99999999994800515), rel=1e-12)
    assert all(math.isnan(value) for value in shapiro_wilk(np.arange(MOST + 1.0)))


def test_scale_place_and_order_change_nothing():
    expected = shapiro_wilk(VALUES)
    assert shapiro_wilk(VALUES[::-1] * 1e-6 + 3e-3) == pytest.approx(expected, rel=1e-9)
