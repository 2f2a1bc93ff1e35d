"""The Shapiro-Wilk test in double precision throughout, so that it is R's; SciPy's takes normal quantiles in single."""

import math

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray
from scipy import special

MOST = 5000
"""The largest sample for which the approximations were fitted; R refuses larger ones."""

# Coefficients of Royston's approximations, in rising powers.
_LARGEST = (0.0, 0.221157, -0.147981, -2.07119, 4.434685, -2.706056)  # of 1 / sqrt(n)
_SECOND = (0.0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633)
_SMALL_GAMMA = (-2.273, 0.459)  # of n, for 4 to 11 values
_SMALL_MEAN = (0.544, -0.39978, 0.025054, -6.714e-4)
_SMALL_LOG_SD = (1.3822, -0.77857, 0.062767, -0.0020322)
_LARGE_MEAN = (-1.5861, -0.31082, -0.083751, 0.0038915)  # of log n, for 12 values and more
_LARGE_LOG_SD = (-0.4803, -0.082676, 0.0030302)


def shapiro_wilk(sample: NDArray[np.float64]) -> tuple[float, float]:
    """W and p of one sample.

    Args:
        sample: 3 to `MOST` finite values, not all equal, float64 (n,).

    Returns:
        W and p, each 0 to 1; NaN for more than `MOST` values.

    Source: Royston 1995, Applied Statistics 44, algorithm AS R94, doi:10.2307/2986146; R 4.2: ``shapiro.test(x)``.
    """
    n = len(sample)
    if n > MOST:
        return math.nan, math.nan
    values = np.sort(sample)
    values = values / (values[-1] - values[0])
    values -= values.mean()
    weights = _weights(n)
    spread = math.sqrt((weights @ weights) * (values @ values))
    covered = float(weights @ values)
    remainder = (spread - covered) * (spread + covered) / spread**2  # 1 - W, exact also where W is close to 1
    return 1 - remainder, _p(remainder, n)


def _weights(n: int) -> NDArray[np.float64]:
    """What each ordered value weighs in W, shape (n,), antisymmetric."""
    if n == 3:
        return np.array([-math.sqrt(0.5), 0, math.sqrt(0.5)])
    lower = special.ndtri((np.arange(1, n // 2 + 1) - 0.375) / (n + 0.25))
    total = 2 * float(lower @ lower)
    corrected = 1 if n <= 5 else 2
    ends = -lower[:corrected] / math.sqrt(total)
    ends += [polyval(1 / math.sqrt(n), terms) for terms in (_LARGEST, _SECOND)[:corrected]]
    kept, rest = 1 - 2 * float(ends @ ends), total - 2 * float(lower[:corrected] @ lower[:corrected])
    upper = np.concatenate([ends, -lower[corrected:] / math.sqrt(rest / kept)])
    return np.concatenate([-upper, np.zeros(n % 2), upper[::-1]])


def _p(remainder: float, n: int) -> float:
    if n == 3:
        return max(0.0, 6 / math.pi * (math.asin(math.sqrt(1 - remainder)) - math.asin(math.sqrt(0.75))))
    if remainder <= 0:
        return 1.0
    y = math.log(remainder)
    if n <= 11:
        gamma = polyval(n, _SMALL_GAMMA)
        if y >= gamma:
            return 1e-99  # as R prints it
        y, mean, log_sd = -math.log(gamma - y), polyval(n, _SMALL_MEAN), polyval(n, _SMALL_LOG_SD)
    else:
        mean, log_sd = polyval(math.log(n), _LARGE_MEAN), polyval(math.log(n), _LARGE_LOG_SD)
    return float(special.ndtr(-(y - mean) / math.exp(log_sd)))
