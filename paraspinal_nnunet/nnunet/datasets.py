"""nnU-Net's folders and data sets on disk: where they are, which cases they hold, and whom each case belongs to."""

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from paraspinal_nnunet.errors import DatasetError, InputError, SetupError
from paraspinal_nnunet.nnunet.people import read_amount, read_sex, subject_of
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.utils.forms import ANY
from paraspinal_nnunet.utils.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

FolderName = Literal["raw", "preprocessed", "results"]

SECOND_LABELS = "labels_rater2"
"""Folder of a raw data set, beside labelsTr, with the label maps of a second rater, who may have drawn a part only."""

CASES_FILE = "cases.tsv"
CASE_COLUMNS = ("case", "subject", "sex", "age", "bmi", "source", "label_source")
"""Columns of cases.tsv: age in years, bmi in kg/m2, sources as paths relative to the folder that was converted."""

MISSING = "n/a"
"""How a table on disk writes a value that is not known, as BIDS does."""

DATASET_IDS = range(1, 1000)
"""nnU-Net writes data set numbers with three digits; 0 is no data set."""

_CHANNEL_SUFFIX = re.compile(r"_\d{4}$")


DATASET_FORM = {"labels": {ANY: (int, [int])}, "channel_names?": {ANY: str}, "file_ending": str}
"""What every dataset.json has; a label of several values is a region."""


def nnunet_folder(name: FolderName, *, instead: Path | None = None) -> Path:
    """One of nnU-Net's three folders, from the environment.

    Args:
        name: ``'raw'``, ``'preprocessed'`` or ``'results'``, for the variable ``nnUNet_<name>``.
        instead: A folder that a flag gave; the variable is not looked at.

    Raises:
        SetupError: When the variable is not set, or there is no such folder.
    """
    variable = f"nnUNet_{name}"
    if instead is not None:
        if not instead.is_dir():
            raise SetupError(f"{instead}: no such folder for {variable}; create it")
        return instead
    value = os.environ.get(variable, "")
    if not value:
        raise SetupError(f"{variable} is not set; run: export {variable}=/path/to/{variable}")
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise SetupError(f"{variable} names {value}, which is no folder; create it or correct the variable")
    return folder


def dataset_name(number: int, name: str) -> str:
    """The folder name of a data set.

    >>> dataset_name(501, "Paraspinal")
    'Dataset501_Paraspinal'

    Raises:
        DatasetError: When the number lies outside 1..999, or the name holds anything but letters, digits, - and _.
    """
    if number not in DATASET_IDS:
        raise DatasetError(f"data set number {number}: choose one from {DATASET_IDS[0]} to {DATASET_IDS[-1]}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise DatasetError(f"data set name '{name}': use letters, digits, - and _ only")
    return f"Dataset{number:03d}_{name}"


def datasets_with_number(raw: Path, number: int) -> list[Path]:
    """All folders in `raw` that carry a data set number; more than one confuses nnU-Net."""
    return sorted(p for p in raw.glob(f"Dataset{number:03d}_*") if p.is_dir())


def find_dataset(id_or_name: int | str, *, raw: Path | None = None) -> Path:
    """The folder of a data set in nnUNet_raw.

    Args:
        id_or_name: ``501``, ``'501'`` or ``'Dataset501_Paraspinal'``.
        raw: Where to look; nnUNet_raw when None.

    Raises:
        SetupError: nnUNet_raw is missing.
        DatasetError: No such data set, or several of that number.
    """
    raw = nnunet_folder("raw") if raw is None else raw
    text = str(id_or_name)
    found = (
        datasets_with_number(raw, int(text))
        if text.isdecimal() and len(text) < 10
        else [p for p in [raw / text] if p.is_dir()]
    )
    if not found:
        known = ", ".join(sorted(p.name for p in raw.glob("Dataset[0-9][0-9][0-9]_*"))) or "none"
        raise DatasetError(f"no data set {text} in {raw}; there are: {known}")
    if len(found) > 1:
        raise DatasetError(f"data set {text} is there more than once in {raw}: {', '.join(p.name for p in found)}")
    return found[0]


def read_dataset_json(dataset_folder: Path) -> dict[str, Any]:
    """dataset.json of a data set.

    Raises:
        DatasetError: Missing or not a JSON object.
    """
    path = Path(dataset_folder) / "dataset.json"
    try:
        return read_json(path)
    except InputError as error:
        advice = "" if path.is_file() else "; is this an nnU-Net data set?"
        raise DatasetError(f"{error}{advice}") from error


def case_ids(dataset_folder: Path) -> list[str]:
    """Ids of the training cases, sorted; found by their images, as nnU-Net finds them.

    Raises:
        DatasetError: No case, or an image without label, or a label without image.
    """
    folder = Path(dataset_folder)
    ending = str(read_dataset_json(folder).get("file_ending", ".nii.gz"))
    images = {_CHANNEL_SUFFIX.sub("", stem) for stem in _stems(folder / "imagesTr", ending)}
    labels = set(_stems(folder / "labelsTr", ending))
    if images != labels:
        raise DatasetError(
            f"{folder.name}: images and labels do not pair up "
            f"(without label: {_some(images - labels)}; without image: {_some(labels - images)})"
        )
    if not images:
        raise DatasetError(f"{folder.name}: imagesTr holds no *{ending} file")
    return sorted(images)


def read_cases(dataset_folder: Path) -> "pd.DataFrame":
    """Who each training case is.

    Args:
        dataset_folder: An nnU-Net raw data set, converted by this package or by other means.

    Returns:
        One row per case of `case_ids`, in that order, with `CASE_COLUMNS`: age and bmi as floats (NaN where unknown),
        the others as text ('' where unknown). Without a cases.tsv a case is the subject's that its name tells as BIDS
        writes it (``sub-07_ses-2``), else its own.

    Raises:
        DatasetError: cases.tsv lacks a column or a case, names a case twice, leaves a subject empty, or has an age or
            bmi that is no number.
    """
    folder = Path(dataset_folder)
    ids = case_ids(folder)
    path = folder / CASES_FILE
    return read_case_table(path if path.exists() else None, ids)


def read_case_table(path: Path | None, ids: list[str]) -> "pd.DataFrame":
    """Who the cases with these ids are.

    Args:
        path: A table in the form of cases.tsv, which may know more cases; with None names of BIDS tell the
            subject, and each other case is its own.
        ids: The cases that must be in it.

    Returns:
        As `read_cases`, one row per id in the order of `ids`.

    Raises:
        DatasetError: As `read_cases`.
    """
    import pandas as pd  # takes longer to import than most data sets to look at

    if path is None:
        table = pd.DataFrame({"case": ids, "subject": [subject_of(name) or name for name in ids]})
    else:
        table = _read_tsv(path)
        _check_cases(table, ids, path)
    table = table.reindex(columns=list(CASE_COLUMNS)).set_index("case", drop=False).loc[ids].reset_index(drop=True)
    for column in ("age", "bmi"):
        table[column] = _understood(table[column], partial(read_amount, column=column), path).astype(float)
    table["sex"] = _understood(table["sex"], read_sex, path)
    for column in ("sex", "source", "label_source"):
        table[column] = table[column].astype(object).fillna("")
    return table


def _stems(folder: Path, ending: str) -> list[str]:
    if not folder.is_dir():
        raise DatasetError(f"{folder.parent.name}: has no {folder.name} folder")
    return [p.name[: -len(ending)] for p in folder.iterdir() if p.name.endswith(ending) and not p.name.startswith(".")]


def _read_tsv(path: Path) -> "pd.DataFrame":
    table = read_table(path, kind=DatasetError).reset_index(drop=True)
    return table.mask(table.isin([MISSING, ""]))


def _check_cases(table: "pd.DataFrame", ids: list[str], path: Path) -> None:
    lacking = [column for column in ("case", "subject") if column not in table]
    if lacking:
        raise DatasetError(f"{path}: has no column {' or '.join(lacking)}")
    twice = table["case"][table["case"].duplicated()]
    if len(twice):
        raise DatasetError(f"{path}: names a case twice: {_some(twice)}")
    if set(ids) - set(table["case"]):
        raise DatasetError(f"{path}: has no row for {_some(set(ids) - set(table['case']))}; add their subjects")
    nameless = table["case"][table["subject"].isna()]
    if len(nameless):
        raise DatasetError(f"{path}: gives no subject for {_some(nameless)}")


def _understood(column: "pd.Series", read: Callable[[str], object], path: Path | None) -> "pd.Series":
    """The cells as `read` has them; those of unknown content stay empty."""
    found = column.astype(object)
    for place, text in column.dropna().items():
        try:
            found[place] = read(str(text))
        except ValueError as error:
            raise DatasetError(f"{path}: {column.name} '{text}': {error}") from error
    return found


def _some(names: Iterable[str], most: int = 5) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "") or "none"
