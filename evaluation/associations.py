"""How measures of muscles go with sex, age, body mass index and what else a table has of people, in one model each."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paraspinal_nnunet.errors import InputError, StatisticsError
from paraspinal_nnunet.evaluation.statistics.linear_model import linear_model
from paraspinal_nnunet.evaluation.statistics.posthoc import holm
from paraspinal_nnunet.evaluation.tables.dictionary import write_described
from paraspinal_nnunet.evaluation.tables.frames import ShownColumn, frame_table
from paraspinal_nnunet.evaluation.tables.table import escape_markdown, to_markdown
from paraspinal_nnunet.nnunet.people import RANGES, read_amount, read_sex
from paraspinal_nnunet.utils.files import write_text
from paraspinal_nnunet.utils.tables import number, read_table
from paraspinal_nnunet.utils.text import number_text, p_text

TERMS = ("sex", "age", "bmi", "race", "ethnicity")
"""Columns of people that enter the models where the table has them. Source: Discussion ('controlling for sex as a
biological variable, age, as well as race and ethnicity'); body mass index is ours."""

FACTORS = ("sex", "race", "ethnicity")
"""Terms that are groups even where numbers stand for them."""

FAT = "fat_fraction_"
"""The columns of measures.tsv that are modelled unless others are named begin so."""

TABLE_FILE, MARKDOWN_FILE = "associations.tsv", "associations.md"
_UNKNOWN = ("", "n/a", "na", "nan")


@dataclass(frozen=True)
class Associations:
    """Models of measures.

    Attributes:
        table: One row per outcome, muscle, side and coefficient; see `associate`.
        notes: What a reader must know: who and what was left out.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]


def associate(
    measures: Path,
    people: Path,
    *,
    outcomes: Sequence[str] = (),
    terms: Sequence[str] = (),
    average_cases: bool = False,
) -> Associations:
    """Fit one linear model per measure, muscle and side, with all terms in it.

    Args:
        measures: measures.tsv of `paraspinal measure` or `paraspinal predict`.
        people: A table with a column case (as cases.tsv) or participant_id (as BIDS), and columns of people.
        outcomes: Columns of the measures; none takes all fat fractions.
        terms: Columns of the people; none takes those of `TERMS` that differ between people.
        average_cases: Average the cases of one person; else they are an error.

    Returns:
        Columns outcome, muscle, side, n, and those of `linear_model.linear_model`, with p_holm over all muscles and
        sides of an outcome for each coefficient, r2, residual_sd and formula.

    Raises:
        InputError: Columns that are missing, or nobody in both tables.
        StatisticsError: Several cases of a person without `average_cases`, or terms that no model can use.
    """
    measured = read_table(measures, ("case", "muscle", "side"))
    known = _people(people)
    chosen = tuple(outcomes) or tuple(c for c in measured.columns if c.startswith(FAT))
    absent = [c for c in chosen if c not in measured.columns]
    if absent or not chosen:
        raise InputError(f"{measures}: has no column {' or '.join(absent) or FAT + '...'}; measure fat with --fat")
    table, notes = _joined(measured, chosen, known, measures, people, average_cases)
    used, left_out = _terms(table, terms, known, people)
    models = [
        _model(group, outcome, muscle, side, used)
        for outcome in chosen
        for (muscle, side), group in table.groupby(["muscle", "side"], sort=False)
    ]
    found = pd.concat(models, ignore_index=True)
    return Associations(_with_holm(found), (*notes, *left_out))


def write_associations(found: Associations, output: Path) -> list[Path]:
    """Write associations.tsv in full precision and associations.md to read.

    Returns:
        The files.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    written = write_described(found.table, output / TABLE_FILE)
    parts = ["# Muscles and people", "", *(f"{escape_markdown(note)}\n" for note in found.notes)]
    for (outcome, formula), rows in found.table.groupby(["outcome", "formula"], sort=False):
        shown = rows[rows["term"] != "(Intercept)"]
        parts.append(to_markdown(frame_table(shown, f"{outcome}: {formula}", _COLUMNS, *_REMARKS)))
    write_text(output / MARKDOWN_FILE, "\n".join(parts))
    return [*written, output / MARKDOWN_FILE]


def _people(path: Path) -> pd.DataFrame:
    """The table of people, indexed by the bare name of case or person; columns are numbers or text."""
    table = read_table(path, lower=True)
    key = next((name for name in ("case", "participant_id") if name in table.columns), None)
    if key is None:
        raise InputError(f"{path}: has neither a column case nor participant_id; found {', '.join(table.columns)}")
    names = table[key].map(_bare)
    if names.duplicated().any():
        raise InputError(f"{path}: {key} {names[names.duplicated()].iloc[0]} stands there twice")
    person = table["subject"] if key == "case" and "subject" in table.columns else names
    columns = {name: _typed(table[name], name, path) for name in table.columns if name not in (key, "subject")}
    return pd.DataFrame({**columns, "person": person}).set_index(names)


def _typed(cells: pd.Series, name: str, path: Path) -> pd.Series:
    """Numbers where all that is known is numbers, else text; sex, age and body mass index as all commands read them."""
    known = cells.where(~cells.str.lower().isin(_UNKNOWN), None)
    if name in RANGES:
        return known.map(lambda text: _read(text, partial(read_amount, column=name), name, path)).astype(float)
    if name == "sex" and not known.dropna().map(_is_number).all():
        return known.map(lambda text: _read(text, read_sex, name, path) or None)
    try:
        return known if name in FACTORS else known.map(number, na_action="ignore").astype(float)
    except ValueError:
        return known


def _read(text: str | None, read: Callable[[str], Any], name: str, path: Path) -> Any:
    try:
        return read(text or "")
    except ValueError as error:
        raise InputError(f"{path}: {name} '{text}': {error}") from error


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(number(text))
    except ValueError:
        return False


def _bare(name: str) -> str:
    return name.strip().removeprefix("sub-")


def _joined(
    measured: pd.DataFrame, outcomes: Sequence[str], people: pd.DataFrame, file: Path, table: Path, average: bool
) -> tuple[pd.DataFrame, list[str]]:
    """One row per person, muscle and side, with outcomes and columns of people; and who was left out."""
    cases = {case: _entry(case, people) for case in dict.fromkeys(measured["case"])}
    absent = [case for case, entry in cases.items() if entry is None]
    if len(absent) == len(cases):
        raise InputError(f"{table}: has none of the cases of {file} ({', '.join(absent[:3])} ...); check its names")
    rows, empty = _with_voxels(measured[~measured["case"].isin(absent)].copy())
    rows["entry"] = rows["case"].map(cases)
    rows["person"] = rows["entry"].map(people["person"])
    for outcome in outcomes:
        rows[outcome] = _numbers(rows[outcome], outcome, file)
    twice = rows.groupby(["person", "muscle", "side"])["case"].nunique()
    if (twice > 1).any() and not average:
        raise StatisticsError(
            f"{file}: {twice[twice > 1].index[0][0]} has {twice.max()} cases; a model needs one row per person: give "
            "--average-cases, or measure one case of each"
        )
    means = rows.groupby(["muscle", "side", "person"], sort=False)[list(outcomes)].mean().reset_index()
    described = _described(people.loc[list(dict.fromkeys(rows["entry"]))], table)
    notes = [f"Not in {table.name} and left out: {', '.join(absent)}."] if absent else []
    notes += (
        [f"Without voxels of a muscle that was looked for, and left out there: {', '.join(empty)}."] if empty else []
    )
    if (twice > 1).any():
        notes.append("The cases of one person are averaged.")
    return means.join(described, on="person"), notes


def _with_voxels(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without muscles that have no voxels, since a failed mask is no volume of 0; and whose these are."""
    if "voxels" not in rows.columns:
        return rows, []
    lacking = rows["voxels"] == "0"
    return rows[~lacking], sorted(set(rows["case"][lacking]))


def _described(people: pd.DataFrame, file: Path) -> pd.DataFrame:
    """One row per person: numbers averaged over the rows of the cases that were measured, words the same in all."""
    columns = {}
    for name in people.columns.drop("person"):
        of_person = people[name].groupby(people["person"])
        if pd.api.types.is_numeric_dtype(people[name]):
            columns[name] = of_person.mean()
            continue
        several = of_person.nunique()
        if (several > 1).any() and name in FACTORS:
            raise InputError(
                f"{file}: the cases of {several[several > 1].index[0]} differ in {name}; correct the table"
            )
        columns[name] = of_person.first()
    return pd.DataFrame(columns)


def _entry(case: str, people: pd.DataFrame) -> str | None:
    """The row of a case: its own name, or the longest name that it begins with before an underscore."""
    bare = _bare(case)
    parts = bare.split("_")
    heads = ["_".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in heads if name in people.index), None)


def _numbers(cells: pd.Series, name: str, file: Path) -> pd.Series:
    try:
        return cells.map(lambda text: number(text) if text.lower() not in _UNKNOWN else np.nan).astype(float)
    except ValueError as error:
        raise InputError(f"{file}: column {name}: {error}") from error


def _terms(
    table: pd.DataFrame, wanted: Sequence[str], people: pd.DataFrame, file: Path
) -> tuple[tuple[str, ...], list[str]]:
    """The terms of all models, and what was left out of those that nobody named."""
    if wanted:
        absent = [term for term in wanted if term not in people.columns]
        if absent:
            raise InputError(f"{file}: has no column {' or '.join(absent)}; found {', '.join(people.columns)}")
        for term in wanted:
            _check_groups(people[term], term, file)
        return tuple(wanted), []
    there = [term for term in TERMS if term in people.columns]
    used = tuple(term for term in there if table[term].nunique() > 1)
    if not used:
        raise InputError(f"{file}: has no {', '.join(TERMS)} that differs between people; name columns with --terms")
    same = [term for term in there if term not in used]
    return used, [f"Known of nobody or the same for all, and left out: {', '.join(same)}."] if same else []


def _check_groups(column: pd.Series, term: str, file: Path) -> None:
    """Refuse numbers among which one word would make a group of each."""
    known = column.dropna()
    if term in FACTORS or pd.api.types.is_numeric_dtype(column) or not known.map(_is_number).any():
        return
    word = next(text for text in known if not _is_number(text))
    raise InputError(
        f"{file}: {term} holds numbers and '{word}'; write n/a where it is not known, or words throughout for groups"
    )


def _model(group: pd.DataFrame, outcome: str, muscle: str, side: str, terms: Sequence[str]) -> pd.DataFrame:
    try:
        found = linear_model(group, outcome=outcome, terms=terms)
    except StatisticsError as error:
        raise StatisticsError(f"{outcome} of {muscle} {side}: {error}") from error
    known: Mapping[str, object] = {"outcome": outcome, "muscle": muscle, "side": side, "n": found.attrs["n"]}
    for place, (name, value) in enumerate(known.items()):
        found.insert(place, name, value)
    return found.assign(**{name: found.attrs[name] for name in ("r2", "residual_sd", "formula")})


def _with_holm(found: pd.DataFrame) -> pd.DataFrame:
    groups = found.groupby(["outcome", "term", "level"], sort=False)["p"]
    found.insert(found.columns.get_loc("p") + 1, "p_holm", groups.transform(lambda p: holm(p.to_numpy())))
    return found


def _term_text(term: str, level: str, reference: str) -> str:
    return f"{term}: {level} against {reference}" if level else f"{term}, per unit"


_REMARKS = (
    "Each effect with the other terms held equal (least squares, complete rows only). Holm's adjustment runs over the "
    "muscles and sides of a row's term; the last column tests a term with all its groups.",
)
_COLUMNS = (
    ShownColumn(("muscle", "side"), "muscle", lambda muscle, side: f"{muscle} {side}".replace("_", " ")),
    ShownColumn(("term", "level", "reference"), "term", _term_text),
    ShownColumn(("n",), "n", str),
    ShownColumn(("estimate",), "effect", lambda value: number_text(value, decimals=4)),
    ShownColumn(
        ("ci_low", "ci_high"), "95 % CI", lambda a, b: f"{number_text(a, decimals=4)} to {number_text(b, decimals=4)}"
    ),
    ShownColumn(("p",), "p", p_text),
    ShownColumn(("p_holm",), "p (Holm)", p_text),
    ShownColumn(("term_p",), "p of the term", p_text),
)
