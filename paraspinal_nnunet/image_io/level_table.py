"""The table that says in which slices of a scan vertebrae and discs lie."""

from pathlib import Path

import pandas as pd

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.tables import read_table

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
    table = read_table(path, LEVEL_COLUMNS, lower=True)
    wrong = table[~table["slice"].str.fullmatch(r"[1-9][0-9]{0,8}")]
    if len(wrong):
        case, level, number = wrong[list(LEVEL_COLUMNS)].iloc[0]
        raise InputError(f"{path}: line {wrong.index[0]}, {case}, {level}: slice '{number}' is no number from 1")
    twice = table[table.duplicated(["case", "level"])]
    if len(twice):
        case, level, _ = twice[list(LEVEL_COLUMNS)].iloc[0]
        raise InputError(f"{path}: line {twice.index[0]}: case {case} has the level {level} twice")
    return table[list(LEVEL_COLUMNS)].reset_index(drop=True).astype({"slice": int})
