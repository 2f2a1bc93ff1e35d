"""The table that says in which slices of a scan vertebrae and discs lie."""

import csv
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.errors import InputError

LEVEL_COLUMNS = ("case", "level", "slice")


def read_levels(path: Path) -> pd.DataFrame:
    """Read where levels lie: a CSV or TSV table with the columns case, level and slice.

    `slice` counts from 1 at the feet, as the viewer shows it.

    Raises:
        InputError: Missing, no table, other columns, slices that are no whole numbers from 1 on, or a level given
            twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"table of levels {path} does not exist")
    try:
        table = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: is no table ({' '.join(str(error).split())})") from error
    if not set(LEVEL_COLUMNS) <= set(table.columns):
        raise InputError(f"{path} has the columns {', '.join(table.columns)}; needed are {', '.join(LEVEL_COLUMNS)}")
    wrong = table[~table["slice"].str.fullmatch(r"[1-9]\d*")]
    if len(wrong):
        first = wrong.iloc[0]
        raise InputError(
            f"{path}: case {first['case']}, {first['level']}: slice '{first['slice']}' is no number from 1"
        )
    twice = table[table.duplicated(["case", "level"])]
    if len(twice):
        raise InputError(f"{path}: case {twice.iloc[0]['case']} has the level {twice.iloc[0]['level']} twice")
    return table[list(LEVEL_COLUMNS)].astype({"slice": int})
