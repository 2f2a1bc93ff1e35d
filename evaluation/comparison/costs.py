"""What models cost, as a workflow writes it beside their metrics."""

from pathlib import Path

import pandas as pd

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.guards import guarded
from paraspinal_nnunet.utils.tables import table_path

COSTS_FILE = "costs.tsv"
COST_COLUMNS = (
    *("model", "role", "trainer", "configuration", "folds", "device", "training_hours", "inference_s", "parameters"),
    *("peak_memory_mb", "inference_sd_s", "inference_scans"),
)
"""Columns of costs.tsv: hours of all folds together; mean seconds per scan, their SD and the number of scans."""
_TEXTS = COST_COLUMNS[:6]
_ADDED = COST_COLUMNS[-2:]  # files of version 0.1 lack them


def read_costs(evaluation: Path) -> pd.DataFrame | None:
    """costs.tsv of an evaluation, one row per model, which is the index; None where there is none.

    Raises:
        InputError: Other columns, or a model that stands there twice.
    """
    path = table_path(evaluation, COSTS_FILE)
    if not path.is_file():
        return None
    with guarded(path, "write the table again"):
        table = pd.read_csv(
            path, sep="\t" if path.suffix == ".tsv" else ",", dtype=dict.fromkeys(_TEXTS, str), keep_default_na=True
        )
    lacking = set(COST_COLUMNS) - set(table.columns)
    if not lacking <= set(_ADDED) or table["model"].duplicated().any():
        raise InputError(f"{path}: expected one row per model with the columns {', '.join(COST_COLUMNS)}")
    return table.reindex(columns=list(COST_COLUMNS)).set_index("model")
