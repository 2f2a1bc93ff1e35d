"""Numbers as the reports of the statistics show them; they are rounded here and nowhere before."""

import math


def p_text(p: float) -> str:
    """A p value with three decimals, ``'<0.001'`` below that, ``'-'`` where it is undefined.

    >>> p_text(0.0123), p_text(5.8e-20), p_text(float("nan"))
    ('0.012', '<0.001', '-')
    """
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def number_text(number: float, *, decimals: int = 3) -> str:
    """A number with fixed decimals, ``'-'`` where it is undefined."""
    return "-" if math.isnan(number) else f"{number:.{decimals}f}"
