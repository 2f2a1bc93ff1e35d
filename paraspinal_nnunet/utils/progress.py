"""The progress bar of everything that may take a while."""

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

BAR_DELAY_S = 2.0
"""A bar shows after this time, so that quick work stays quiet."""


def progress(
    items: Iterable[Any] | None = None, *, what: str, unit: str = "case", total: int | None = None, **options: Any
) -> "tqdm[Any]":
    """A progress bar that shows after `BAR_DELAY_S`.

    Args:
        items: What is gone through; None where the bar is moved by hand.
        what: Its name.
        unit: What is counted.
        total: How many; found out where the items have a length.
        options: Of `tqdm`.
    """
    return tqdm(items, desc=what, unit=unit, total=total, delay=BAR_DELAY_S, **options)
