"""A report's statistics: computed for it, or read from a folder that `paraspinal statistics` wrote."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.comparison.data import StudyData, load_study
from paraspinal_nnunet.evaluation.comparison.design import plan_analyses
from paraspinal_nnunet.evaluation.comparison.files import (
    JSON_FILE,
    as_json,
    metrics_sha256,
    source_places,
    write_statistics,
)
from paraspinal_nnunet.evaluation.comparison.markdown import analysis_title, main_tables
from paraspinal_nnunet.evaluation.comparison.run import Analysis, Omission, Options, StudyStatistics, study_statistics
from paraspinal_nnunet.evaluation.record import METRICS_FILE
from paraspinal_nnunet.evaluation.tables.frames import anova_table, study_tables
from paraspinal_nnunet.evaluation.tables.table import Table
from paraspinal_nnunet.utils.files import atomic_path, write_json
from paraspinal_nnunet.utils.forms import ANY, read_form
from paraspinal_nnunet.utils.guards import guarded
from paraspinal_nnunet.utils.text import some

STATISTICS_FOLDER = "statistics"

SHOWN: tuple[str, ...] = ("post_hoc", "other_models", "agreement", "inter_rater", "anchors")
"""Tables of the report after Table 1, the supplementary table and the analyses of variance, by the frame's name."""

FURTHER: tuple[str, ...] = (
    *("compare_with_paper", "human_level", "equivalence", "bootstrap_means", "bootstrap_differences", "power"),
    *("mixed_model", "normality", "post_hoc_normality", "reference_volumes", "reference_volume_tests"),
    *("by_sex", "by_age_and_bmi"),
)
"""Tables that the reader opens."""

_ADVICE = "run paraspinal statistics again"
_ANALYSIS = {"key": str, "factors": [str], "models": [str], "is_papers": bool, "subjects": int, "dropped": list}
_SETTINGS = {"missing": str, "alpha": float, "seed": int, "mixed_models": bool}
_FORM = {
    "settings": _SETTINGS,
    **{"sources": {ANY: str}, "models": {ANY: str}, "subjects": int, "best": str, "published": {ANY: str}},
    **{"analyses": [_ANALYSIS], "not_computed": [{"what": str, "why": str}], "files": [str]},
    "metrics_sha256?": (str, None),
    "tables": {ANY: [{ANY: (float, str, bool, None, list)}]},
}


def computed_statistics(evaluation: Path, output: Path) -> tuple[StudyStatistics, list[Path]]:
    """Compute an evaluation's statistics and write them below the report.

    Subjects who lack a value are left out of the tests that need it, and the cases of a subject are averaged; both are
    said in the tables.

    Args:
        evaluation: Folder that `paraspinal evaluate` wrote.
        output: The report's folder.

    Returns:
        The statistics and their files.
    """
    study = study_statistics(load_study(evaluation, average_cases=True), Options(missing="complete-case"))
    return study, write_statistics(study, output / STATISTICS_FOLDER)


def read_statistics(folder: Path, evaluation: Path, output: Path) -> tuple[StudyStatistics, list[Path]]:
    """Take the statistics that `paraspinal statistics` computed, and copy their files below the report.

    Args:
        folder: What it wrote.
        evaluation: The evaluation that it was made from.
        output: The report's folder.

    Raises:
        InputError: Not such a folder, a file that has gone, or statistics of another evaluation.
    """
    path = statistics_file(folder)
    content = read_form(path, _FORM, advice=_ADVICE)
    with guarded(path, _ADVICE):  # tables that do not belong together
        study = _rebuilt(content, Path(folder), evaluation)
        names = [name for name in content["files"] if Path(name).name == name != JSON_FILE]
    _check_same(content, study.data, path)
    target = Path(output) / STATISTICS_FOLDER
    copied = [_copied(Path(folder) / name, target / name) for name in names]
    write_json(target / JSON_FILE, as_json({**content, "sources": source_places(study, target)}))
    return study, [*copied, target / JSON_FILE]


def statistics_file(folder: Path) -> Path:
    """The file of a folder that `paraspinal statistics` wrote.

    Raises:
        InputError: Not such a folder.
    """
    path = Path(folder) / JSON_FILE
    if not path.is_file():
        raise InputError(f"{path} does not exist; run paraspinal statistics first")
    return path


def report_tables(study: StudyStatistics) -> list[Table]:
    """The tables of the report: Table 1 beside the published one where a model stands for a published arm."""
    main = main_tables(study)
    first = main.get("table1_beside_published", main["table1"])
    tables = [first, *([main["table1"]] if _partly_published(study) else [])]
    if "supplementary_table1" in main:
        tables.append(main["supplementary_table1"])
    tables += [
        anova_table(analysis.anova, analysis_title(analysis), alpha=study.options.alpha) for analysis in study.analyses
    ]
    return [*tables, *(study_tables(study.frames, name) for name in SHOWN if name in study.frames)]


def further_tables(study: StudyStatistics) -> list[Table]:
    """The tables that come after those of `report_tables`."""
    return [study_tables(study.frames, name) for name in FURTHER if name in study.frames]


def _partly_published(study: StudyStatistics) -> bool:
    return "table1_beside_published" in study.frames and set(study.published) != set(study.data.models)


def _rebuilt(content: Mapping[str, Any], folder: Path, evaluation: Path) -> StudyStatistics:
    sources, settings = content["sources"], content["settings"]
    given = {name: (folder / sources[name]).resolve() for name in ("design", "cases") if name in sources}
    given = {name: path for name, path in given.items() if path.is_file()}
    data = load_study(evaluation, average_cases=True, **given)
    frames = {name: _frame(rows) for name, rows in content["tables"].items()}
    analyses = tuple(_analysis(entry, frames) for entry in content["analyses"])
    return StudyStatistics(
        data=data,
        options=Options(**{name: settings[name] for name in _SETTINGS}),
        plan=plan_analyses(data.design),
        best=content["best"],
        published=content["published"],
        analyses=analyses,
        frames=frames,
        omissions=tuple(Omission(entry["what"], entry["why"]) for entry in content["not_computed"]),
    )


def _analysis(entry: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Analysis:
    anova = frames[entry["key"]]
    anova.attrs.update(subjects=entry["subjects"], dropped=entry["dropped"])
    quoted = frames[f"{entry['key']}_quoted"]
    return Analysis(entry["key"], tuple(entry["factors"]), tuple(entry["models"]), entry["is_papers"], anova, quoted)


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table from JSON: null is NaN, and numbers stay numbers where a column has nothing but them and gaps."""
    table = pd.DataFrame(list(rows))
    for column in table.columns:
        values = table[column].replace({"Infinity": float("inf"), "-Infinity": float("-inf")})
        known = values.dropna()
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
            table[column] = pd.to_numeric(values)
    return table


def _check_same(content: Mapping[str, Any], data: StudyData, path: Path) -> None:
    models, subjects = list(content["models"]), int(data.table["subject"].nunique())
    if models != list(data.models) or content["subjects"] != subjects:
        raise InputError(
            f"{path} was made from another {METRICS_FILE}: models {some(models)} and {content['subjects']} subjects "
            f"there, {some(data.models)} and {subjects} here; run paraspinal statistics again"
        )
    known = content.get("metrics_sha256")  # version 0.1 did not tell
    if known is not None and known != metrics_sha256(data):
        raise InputError(
            f"{path} was made from another {METRICS_FILE} than {data.sources['metrics']}, of the same models and "
            "subjects; run paraspinal statistics again"
        )


def _copied(source: Path, target: Path) -> Path:
    if not source.is_file():
        raise InputError(f"{source} has gone; run paraspinal statistics again")
    if source.resolve() != target.resolve():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return target
