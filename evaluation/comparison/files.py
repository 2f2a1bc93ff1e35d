"""Writing a study's statistics: one TSV per table, statistics.json with everything, statistics.md for reading."""

import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.comparison.data import StudyData
from paraspinal_nnunet.evaluation.comparison.design import DESIGN_FILE
from paraspinal_nnunet.evaluation.comparison.markdown import main_tables, statistics_markdown
from paraspinal_nnunet.evaluation.comparison.results import StudyStatistics
from paraspinal_nnunet.evaluation.record import METRICS_FILE
from paraspinal_nnunet.evaluation.tables.dictionary import write_tables
from paraspinal_nnunet.evaluation.tables.table import write_table
from paraspinal_nnunet.utils.files import relative_path, write_json, write_text
from paraspinal_nnunet.utils.fingerprint import file_sha256
from paraspinal_nnunet.utils.forms import read_form
from paraspinal_nnunet.utils.tables import table_path

JSON_FILE = "statistics.json"
MARKDOWN_FILE = "statistics.md"
PACKAGES = ("numpy", "scipy", "pandas", "statsmodels")
_WRITTEN_AS_TABLES = ("table1", "table1_beside_published", "supplementary_table1")
_NUMBERS = "_numbers"
"""Added to the name of a table of full-precision numbers whose printed form has the plain name."""


def write_statistics(study: StudyStatistics, output: Path) -> list[Path]:
    """Write everything; files that an earlier run left and this one does not write are removed.

    Returns:
        The files: statistics.md and statistics.json, one TSV per frame with a dictionary of
        their columns, and Table 1, Table 1 beside the published one
        and Supplementary Table 1 as TSV, Markdown, HTML and LaTeX.

    Raises:
        InputError: The output is a file, or the folder of an evaluation.
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give a folder")
    if table_path(output, METRICS_FILE).exists():
        raise InputError(
            f"output {output} is the folder of an evaluation, whose {DESIGN_FILE} would be overwritten; give another, "
            f"e.g. {output / 'statistics'}"
        )
    before = _written_before(output)
    stems = {name: name + _NUMBERS if name in _WRITTEN_AS_TABLES else name for name in study.frames}
    written = write_tables([(stems[name], frame) for name, frame in study.frames.items()], output)
    for name, table in main_tables(study).items():
        written += write_table(table, output, name)
    write_text(output / MARKDOWN_FILE, statistics_markdown(study))
    written += [output / MARKDOWN_FILE, output / JSON_FILE]
    names = [path.name for path in written]
    write_json(output / JSON_FILE, as_json(statistics_record(study, output) | {"files": names}))
    for name in before - set(names):
        (output / name).unlink(missing_ok=True)
    return written


def statistics_record(study: StudyStatistics, folder: Path) -> dict[str, Any]:
    """All numbers at full precision, the settings and the versions; places are as seen from a folder."""
    options = study.options
    return {
        "version": __version__,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "settings": {
            "missing": options.missing,
            "alpha": options.alpha,
            "seed": options.seed,
            "mixed_models": options.mixed_models,
        },
        "sources": source_places(study, folder),
        "metrics_sha256": metrics_sha256(study.data),
        "notes": list(study.data.notes),
        "models": {model: study.data.kinds.get(model, "") for model in study.data.models},
        "muscles": list(study.data.muscles),
        "subjects": int(study.data.table["subject"].nunique()),
        "best": study.best,
        "published": dict(study.published),
        "analyses": [
            {
                "key": analysis.key,
                "factors": list(analysis.factors),
                "models": list(analysis.models),
                "is_papers": analysis.is_papers,
                "subjects": analysis.anova.attrs["subjects"],
                "dropped": analysis.anova.attrs["dropped"],
            }
            for analysis in study.analyses
        ],
        "not_computed": [{"what": omission.what, "why": omission.why} for omission in study.omissions],
        "tables": {name: frame.to_dict("records") for name, frame in study.frames.items()},
    }


def metrics_sha256(data: StudyData) -> str | None:
    """Fingerprint of the metrics that the numbers come from; None for those that came from no file."""
    metrics = data.sources.get("metrics")
    return file_sha256(metrics) if isinstance(metrics, Path) else None


def source_places(study: StudyStatistics, folder: Path) -> dict[str, str]:
    """What was read, and where it lies as seen from a folder."""
    return {
        name: relative_path(each, folder) if isinstance(each, Path) else each
        for name, each in study.data.sources.items()
    }


def as_json(value: Any) -> Any:
    """A value as strict JSON has it: NaN and unknown become null, infinities the texts 'Infinity' and '-Infinity'."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if value is None or value is pd.NA:
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    return _number(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _number(number: float) -> float | str | None:
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _written_before(output: Path) -> set[str]:
    """Plain file names that the statistics.json of an earlier run lists."""
    try:
        names = read_form(output / JSON_FILE, {"files": [str]})["files"]
    except InputError:
        return set()
    return {name for name in names if Path(name).name == name and name not in (".", "..")}
