"""What the statistics read: one row per model, subject and muscle, the design, the people and the second rater."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.errors import DatasetError, InputError, StatisticsError
from paraspinal_nnunet.evaluation.comparison.costs import read_costs
from paraspinal_nnunet.evaluation.comparison.design import DESIGN_FILE, infer_design, read_design
from paraspinal_nnunet.evaluation.metrics.overlap import METRICS
from paraspinal_nnunet.evaluation.predictions import ALL, describe
from paraspinal_nnunet.evaluation.record import (
    METRICS_FILE,
    RECORD_FILE,
    VOLUME_COLUMNS,
    EvaluationRecord,
    read_metrics_file,
    read_record,
)
from paraspinal_nnunet.evaluation.run import evaluate
from paraspinal_nnunet.nnunet.datasets import CASES_FILE, SECOND_LABELS, read_case_table
from paraspinal_nnunet.utils.tables import read_table, table_path
from paraspinal_nnunet.utils.text import some

MEASURES = (*METRICS, *VOLUME_COLUMNS)
_MUSCLE_ORDER = [muscle.value for muscle in Muscle]
_SIDE_ORDER = ["left", "right", ""]


@dataclass(frozen=True)
class StudyData:
    """A study, ready for its statistics.

    Attributes:
        table: One row per model, subject and muscle: model and muscle (categories in the order of the tables; a muscle
            with its side counts as one level, e.g. ``'Multifidus left'``), subject, fold, muscle_name, side, cases
            (how many were averaged), `MEASURES`.
        design: See `design.infer_design`.
        people: One row per subject: subject, sex, age in years, bmi in kg/m2; None where nothing is known.
        rater2: One row per subject and muscle: subject, muscle, dice, rater1_ml, rater2_ml; None without second rater.
        kinds: Model -> what its numbers stand for.
        costs: From `costs.read_costs`; None where nothing is known.
        sources: What was read: name -> path, or words where it is no file.
        notes: What a reader must know about the data.
        unread_rater2: Folder of a second rater's label maps that nobody asked for.
    """

    table: pd.DataFrame
    design: pd.DataFrame
    people: pd.DataFrame | None = None
    rater2: pd.DataFrame | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    costs: pd.DataFrame | None = None
    sources: Mapping[str, Path | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unread_rater2: Path | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """All models, in the order of the metrics."""
        return tuple(self.table["model"].cat.categories)

    @property
    def muscles(self) -> tuple[str, ...]:
        """All muscles with their sides, left before right as in Table 1."""
        return tuple(self.table["muscle"].cat.categories)

    def of(self, models: Sequence[str]) -> pd.DataFrame:
        """The rows of some models."""
        return self.table[self.table["model"].isin(list(models))]


def load_study(
    source: Path,
    *,
    design: Path | None = None,
    rater2: Path | None = None,
    cases: Path | None = None,
    average_cases: bool = False,
) -> StudyData:
    """Read everything that the statistics of a study need.

    Args:
        source: A folder that `paraspinal evaluate` wrote, or a file in the form of metrics.tsv.
        design: See `design.read_design`; None takes design.tsv beside the metrics, or else what the models tell.
        rater2: The second rater: a folder of label maps (then evaluation.json must tell where the first rater's are),
            or an evaluation of them (a folder or a metrics.tsv with one model).
        cases: A table in the form of cases.tsv; None looks beside the references.
        average_cases: Average the cases of one subject before anything else.

    Raises:
        InputError: Missing or unreadable files.
        DatasetError: A table of cases that does not fit.
        StatisticsError: Several cases of one subject without `average_cases`.
    """
    source = Path(source)
    path = table_path(source, METRICS_FILE) if source.is_dir() else source
    metrics = read_metrics_file(path)
    if metrics.empty:
        raise InputError(f"{path} has no rows; run paraspinal evaluate again")
    record = read_record(path.parent) if (path.parent / RECORD_FILE).is_file() else None
    models = list(dict.fromkeys(metrics["model"]))
    beside = table_path(path.parent, DESIGN_FILE)
    design = design or (beside if beside.is_file() else None)
    cases = _cases_file(cases, record)
    data = replace(
        study_data(metrics, design=read_design(design, models) if design else infer_design(models, record),
                   average_cases=average_cases),
        people=None if cases is None else _people(cases, sorted(set(metrics["case"]))),
        kinds=_kinds(metrics, record),
        costs=read_costs(path.parent),
        sources={
            "metrics": path,
            "design": Path(design) if design else "the models' own folders",
            **({"cases": Path(cases)} if cases else {}),
            **({"rater 2": Path(rater2)} if rater2 else {}),
        },
    )  # fmt: skip
    if rater2 is None:
        unread = record.reference.parent / SECOND_LABELS if record else None
        return replace(data, unread_rater2=unread if unread and unread.is_dir() else None)
    second = _rater2_metrics(Path(rater2), record, cases)
    return replace(data, rater2=_rater2(second, data, average_cases))


def study_data(metrics: pd.DataFrame, *, design: pd.DataFrame | None = None, average_cases: bool = False) -> StudyData:
    """A study from a table of metrics alone.

    Args:
        metrics: Columns as in metrics.tsv.
        design: See `design.infer_design`; None leaves it unknown.
        average_cases: See `load_study`.

    Raises:
        StatisticsError: Several cases of one subject without `average_cases`.
    """
    models = list(dict.fromkeys(metrics["model"]))
    metrics, notes = _present(metrics)
    table, averaged = _per_subject(metrics, average_cases)
    structures = metrics[["muscle", "side"]].drop_duplicates().itertuples(index=False)
    ordered = sorted(structures, key=lambda s: (_place(s.muscle, _MUSCLE_ORDER), _place(s.side, _SIDE_ORDER)))
    names = [muscle_name(s.muscle, s.side) for s in ordered]
    table["muscle"] = pd.Categorical(map(muscle_name, table["muscle_name"], table["side"]), categories=names)
    table["model"] = pd.Categorical(table["model"], categories=models)
    table = table.sort_values(["model", "subject", "muscle"], kind="stable").reset_index(drop=True)
    chosen = infer_design(models, None) if design is None else design
    return StudyData(table, chosen, kinds=_kinds(metrics, None), notes=(*notes, *averaged))


def _present(metrics: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Without muscles that no reference and no model has in any case: nothing can be tested of them; and their names.

    Raises:
        StatisticsError: No muscle is left.
    """
    columns = ["reference_ml", "prediction_ml"]
    found = (metrics[columns] > 0).any(axis=1) | metrics["dice"].notna()
    groups = found.groupby([metrics["muscle"], metrics["side"]], sort=False).transform("any")
    absent = metrics.loc[~groups, ["muscle", "side"]].drop_duplicates()
    if absent.empty:
        return metrics, ()
    names = ", ".join(muscle_name(row.muscle, row.side) for row in absent.itertuples())
    if not groups.any():
        raise StatisticsError(f"no case has any of the muscles ({names}); nothing can be compared")
    note = f"Left out, since neither a reference nor a model has it in any case: {names}."
    logging.getLogger(__name__).warning(note)
    return metrics[groups], (note,)


def muscle_name(muscle: str, side: str) -> str:
    """A muscle with its side for tables.

    >>> muscle_name("erector_spinae", "left")
    'Erector spinae left'
    """
    return f"{muscle} {side}".replace("_", " ").strip().capitalize()


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _per_subject(metrics: pd.DataFrame, average_cases: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    keys = ["model", "subject", "muscle", "side"]
    groups = metrics.groupby(keys, sort=False, dropna=False)
    counts = groups.size()
    repeated = sorted({key[1] for key in counts.index[counts > 1]})
    if repeated and not average_cases:
        raise StatisticsError(
            f"subject {some(repeated)} has several cases of one model, and the statistics need one value per subject: "
            "give --average-cases, or evaluate one case of each"
        )
    values = groups[list(MEASURES)]
    table = values.mean().where(values.count().eq(counts, axis=0))  # one undefined case leaves the mean undefined
    table["fold"] = groups["fold"].agg(lambda folds: ",".join(dict.fromkeys(folds)))
    table["cases"] = counts
    table = table.reset_index().rename(columns={"muscle": "muscle_name"})
    if not repeated:
        return table, ()
    return table, (f"The cases of {len(repeated)} subjects with several cases were averaged: {some(repeated)}.",)


def _kinds(metrics: pd.DataFrame, record: EvaluationRecord | None) -> dict[str, str]:
    kinds = {}
    for model, rows in metrics.groupby("model", sort=False):
        folds = list(dict.fromkeys(rows["fold"]))
        kind = "training" if ALL in folds else "out-of-fold" if any(folds) else "folder"
        if record is not None and model in record.models:
            kind, folds = record.models[model].kind, list(record.models[model].folds)
        kinds[str(model)] = describe(kind, folds)
    return kinds


def _cases_file(given: Path | None, record: EvaluationRecord | None) -> Path | None:
    if given is not None:
        if not given.is_file():
            raise InputError(f"table of cases {given} does not exist")
        return given
    folders = [] if record is None else [record.reference, record.reference.parent]
    return next((f / CASES_FILE for f in folders if (f / CASES_FILE).is_file()), None)


def _people(path: Path, cases: list[str]) -> pd.DataFrame:
    table = read_case_table(path, cases)  # checks that it fits the metrics
    every = read_table(path, ("case",), kind=DatasetError)["case"].tolist()
    table = read_case_table(path, every)
    people = table[["subject", "sex", "age", "bmi"]].drop_duplicates()
    twice = people["subject"][people["subject"].duplicated()]
    if len(twice):
        raise DatasetError(f"{path}: the cases of subject {some(twice)} differ in sex, age or bmi; correct the table")
    return people.reset_index(drop=True)


def _rater2_metrics(path: Path, record: EvaluationRecord | None, cases: Path | None) -> pd.DataFrame:
    if path.is_file() or (path / METRICS_FILE).is_file():
        metrics = read_metrics_file(path if path.is_file() else path / METRICS_FILE)
        if metrics["model"].nunique() != 1:
            raise InputError(f"{path}: the second rater's metrics must hold one 'model', the rater's label maps")
        return metrics
    if record is None:
        raise InputError(
            f"second rater {path}: label maps can be compared only beside an evaluation folder, whose {RECORD_FILE} "
            "tells where the first rater's are"
        )
    return evaluate(record.reference, {"rater 2": path}, cases=cases, subset=True)


def _rater2(metrics: pd.DataFrame, data: StudyData, average_cases: bool) -> pd.DataFrame:
    table, _ = _per_subject(metrics, average_cases)
    names = list(map(muscle_name, table["muscle_name"], table["side"]))
    volumes = table.groupby(pd.Series(names, table.index))[list(VOLUME_COLUMNS)].max()
    undrawn = volumes.index[(volumes["prediction_ml"] == 0) & (volumes["reference_ml"] > 0)]
    absent = [name for name in data.muscles if name not in names or name in undrawn]
    if absent:
        raise StatisticsError(f"the second rater has no {some(absent)}; compare the muscles that both have")
    table["muscle"] = pd.Categorical(names, categories=list(data.muscles))
    table = table.dropna(subset=["muscle"]).sort_values(["subject", "muscle"], kind="stable")
    renamed = table.rename(columns={"reference_ml": "rater1_ml", "prediction_ml": "rater2_ml"})
    return renamed[["subject", "muscle", "dice", "rater1_ml", "rater2_ml"]].reset_index(drop=True)
