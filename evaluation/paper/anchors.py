"""Published accuracy on such muscles, of other people's data, beside one's own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pandas as pd

from paraspinal_nnunet.evaluation.paper.published import SOURCE, published_statements
from paraspinal_nnunet.utils.text import number_text

FILE = "anchors.json"
NAMES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "volume_icc": "ICC(2,1) of volumes",
    "inter-rater dice": "Dice of two raters",
    "inter-rater icc": "ICC(2,1) of two raters' volumes",
}
"""Quantity -> its name in the table."""
_NONE = "–"


@dataclass(frozen=True)
class Anchor:
    """A published number.

    Attributes:
        key: Short name, unique.
        quantity: A key of `NAMES`.
        printed: The number as printed.
        data: Whose scans, and what the number is of.
        source: Where it is printed.
    """

    key: str
    quantity: str
    printed: str
    data: str
    source: str


@cache
def anchors() -> tuple[Anchor, ...]:
    """All anchors, the paper's first; those of the paper are its own statements."""
    text = resources.files(__package__).joinpath("data").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(_anchor(entry) for entry in json.loads(text))


def anchor_table(frames: Mapping[str, pd.DataFrame], best: str) -> pd.DataFrame:
    """The anchors beside the numbers of one model, or of one's own raters.

    Args:
        frames: Tables of the study: table1, and where they exist inter_rater and agreement.
        best: The model.

    Returns:
        One row per anchor: quantity, printed, ours (lowest and highest muscle, ``'–'`` where there is none), data,
        source.
    """
    ours = {quantity: _range(values) for quantity, values in _own(frames, best).items()}
    rows = [[NAMES[a.quantity], a.printed, ours.get(a.quantity, _NONE), a.data, a.source] for a in anchors()]
    return pd.DataFrame(rows, columns=["quantity", "printed", "ours", "data", "source"])


def _anchor(entry: Mapping[str, str]) -> Anchor:
    statement = published_statements().get(entry.get("statement", ""))
    printed = f"{statement.relation} {number_text(statement.values[0])}" if statement else entry["printed"]
    return Anchor(entry["key"], entry["quantity"], printed, entry["data"], SOURCE if statement else entry["source"])


def _own(frames: Mapping[str, pd.DataFrame], best: str) -> dict[str, pd.Series]:
    table = frames["table1"]
    own = table[table["model"] == best]
    found = {metric: own.loc[own["metric"] == metric, "mean"] for metric in ("dice", "jaccard", "volume_icc")}
    if "inter_rater" in frames:
        raters = frames["inter_rater"]
        found |= {"inter-rater dice": raters["dice_mean"], "inter-rater icc": raters["icc"]}
    return found


def _range(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return _NONE
    low, high = number_text(float(known.min())), number_text(float(known.max()))
    return low if low == high else f"{low} to {high}"
