"""Volume errors: how much larger or smaller a predicted muscle is than its reference."""

import pandas as pd

from paraspinal_nnunet.evaluation.record import ID_COLUMNS, VOLUME_COLUMNS


def volume_errors(metrics: pd.DataFrame) -> pd.DataFrame:
    """Errors of the predicted volumes.

    Args:
        metrics: What `evaluate` returned.

    Returns:
        One row per row of `metrics`: who and what, both volumes in ml, signed_error_ml (prediction - reference),
        absolute_error_ml, and relative_error_percent (signed, of the reference's volume; NaN where both are empty,
        infinite where only the reference is).
    """
    errors = metrics[[*ID_COLUMNS, *VOLUME_COLUMNS]].copy()
    signed = errors["prediction_ml"] - errors["reference_ml"]
    return errors.assign(
        signed_error_ml=signed,
        absolute_error_ml=signed.abs(),
        relative_error_percent=100 * signed / errors["reference_ml"],
    )
