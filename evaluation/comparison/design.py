"""The design of a study: which model stands for which arm, and which analyses of variance follow from that."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.paper.published import MODEL_OF_ARM
from paraspinal_nnunet.evaluation.record import EvaluationRecord, ModelRecord
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.utils.forms import read_form
from paraspinal_nnunet.utils.tables import read_table
from paraspinal_nnunet.utils.text import some

DESIGN_FILE = "design.tsv"
COLUMNS = ("model", "dimension", "augmentation", "depth", "is_baseline")
FACTORS = ("dimension", "augmentation")
"""Factors of the models that the paper crosses; it calls the first one 'model'."""

DIMENSIONS = {
    "2d": "2D",
    "2.5d": "2.5D",
    "2.5d_orthogonal": "2.5D",
    "3d_fullres": "3D",
    "3d_lowres": "3D",
    "3d_cascade_fullres": "3D",
}
NONE, PAPERS = "none", "paper"
"""Augmentation without and with the paper's transforms, as the protocol names them."""
PAPERS_DEPTH = len(PAPER.network.channels)

_OWN, _BASELINE = "nnUNetTrainerParaspinal", "nnUNetTrainerBaseline"
_SUFFIXES = {
    "": (NONE, PAPERS_DEPTH),
    "DA": (PAPERS, PAPERS_DEPTH),
    "Deep": (NONE, PAPERS_DEPTH + 1),
    "DADeep": (PAPERS, PAPERS_DEPTH + 1),
    "DeepDA": (PAPERS, PAPERS_DEPTH + 1),
}
_ALIASES = {"no": NONE, "without da": NONE, "yes": PAPERS, "with da": PAPERS}
_TRUE = ("true", "t", "yes", "y", "1", "1.0", "x", "on")
_FALSE = ("false", "f", "no", "n", "0", "0.0", "-", "off", "")
"""As people and spreadsheets write them."""
_TRAIN_AGAIN = "copy it from the training again"


@dataclass(frozen=True)
class Factorial:
    """Arms that cross one or both factors completely.

    Attributes:
        factors: Those of `FACTORS` with more than one level.
        models: One model per cell.
        is_papers: Whether these are the paper's four arms.
    """

    factors: tuple[str, ...]
    models: tuple[str, ...]
    is_papers: bool


@dataclass(frozen=True)
class Plan:
    """What a design allows.

    Attributes:
        arms: Models among which the best one is sought: the study's arms of the paper's depth; all models where no
            design is known.
        factorials: Analyses of variance to run, the paper's first.
        reasons: What cannot be run, and why.
    """

    arms: tuple[str, ...]
    factorials: tuple[Factorial, ...]
    reasons: tuple[str, ...]


def infer_design(models: Sequence[str], record: EvaluationRecord | None) -> pd.DataFrame:
    """The design that the models' own folders tell.

    The dimension follows from nnU-Net's configuration. Augmentation and depth are those of protocol.json in the
    model's folds, or else what the trainer's name stands for. nnU-Net's baselines, and trainers that are no arm of the
    paper, have `is_baseline` set: they are compared pair by pair and stay out of the factorial.

    Args:
        models: Names, in the order of the metrics.
        record: evaluation.json; None leaves everything unknown.

    Returns:
        One row per model with `COLUMNS`; text is ``''`` and depth NA where unknown.

    Raises:
        InputError: The folds of one model were trained with different settings.
    """
    known = {} if record is None else record.models
    return _frame(_infer(name, known.get(name)) for name in models)


def read_design(path: Path, models: Sequence[str]) -> pd.DataFrame:
    """A design that the user wrote.

    Args:
        path: A table with the columns `COLUMNS`, whatever their order: model as in the metrics; dimension 2D, 2.5D or
            3D, or nnU-Net's configuration; augmentation ``none``, ``paper`` or another name (``no`` and ``yes`` stand
            for the first two); depth, the number of the network's levels; is_baseline, whether the model stays out of
            the factorial (yes, no, TRUE, 0, x, ...). An empty field is unknown, an empty is_baseline no.
        models: The models that must stand in it.

    Raises:
        InputError: Unreadable, other columns, a model missing or twice, or values that cannot be understood.
    """
    table = read_table(path, COLUMNS, lower=True)[list(COLUMNS)]
    if table["model"].duplicated().any():
        raise InputError(f"{path} names the model {table['model'][table['model'].duplicated()].iloc[0]} twice")
    absent = [model for model in models if model not in set(table["model"])]
    if absent:
        raise InputError(f"{path} has no row for model {some(absent)}; add it")
    rows = table.set_index("model", drop=False).loc[list(models)].to_dict("records")
    return _frame(_parsed(row, path) for row in rows)


def plan_analyses(design: pd.DataFrame) -> Plan:
    """Which models are compared in which analysis of variance.

    The factorials are all largest complete crossings of dimension and augmentation among the arms of the paper's
    depth; a crossing that lies within another is not run by itself.
    """
    candidates = design[~design["is_baseline"]]
    placed = candidates[(candidates["dimension"] != "") & (candidates["augmentation"] != "")]
    base = placed[placed["depth"].isna() | (placed["depth"] == _base_depth(placed))]
    unplaced = [model for model in candidates["model"] if model not in set(placed["model"])]
    reasons = []
    if unplaced:
        reasons.append(
            f"dimension or augmentation of {some(unplaced)} is unknown: write {DESIGN_FILE} beside the metrics "
            f"(columns {', '.join(COLUMNS)})"
        )
    cells, twice = _cells(base)
    reasons += [f"{some(names)} stand for the same arm ({' '.join(cell)})" for cell, names in twice.items()]
    factorials = _crossings(cells)
    missing = [name for (dimension, augmented), name in MODEL_OF_ARM.items() if _arm(dimension, augmented) not in cells]
    if missing:
        reasons.append(f"the paper's dimension x augmentation x muscle: no model stands for {some(missing)}")
    arms = tuple(base["model"]) or tuple(candidates["model"]) or tuple(design["model"])
    if unplaced and not factorials:
        arms = tuple(candidates["model"])
    return Plan(arms, factorials, tuple(reasons))


def depth_rivals(design: pd.DataFrame, best: str) -> tuple[str, ...]:
    """Models that differ from `best` in the depth of the network only."""
    rows = design.set_index("model")
    own = rows.loc[best]
    if pd.isna(own["depth"]) or not own["dimension"] or not own["augmentation"]:
        return ()
    same = (rows["dimension"] == own["dimension"]) & (rows["augmentation"] == own["augmentation"])
    other = rows["depth"].notna() & (rows["depth"] != own["depth"])
    return tuple(rows.index[same & other.fillna(False).astype(bool) & ~rows["is_baseline"]])


def published_names(design: pd.DataFrame) -> dict[str, str]:
    """Our model -> heading of the paper's Table 1, for the models that stand for one of its arms."""
    names: dict[str, str] = {}
    base = _base_depth(design[~design["is_baseline"]])
    for row in design.itertuples():
        depth_fits = pd.isna(row.depth) or row.depth == base
        augmented = {NONE: False, PAPERS: True}.get(row.augmentation)
        heading = None if augmented is None else MODEL_OF_ARM.get((row.dimension, augmented))
        if heading and depth_fits and not row.is_baseline and heading not in names.values():
            names[row.model] = heading
    return names


def _base_depth(placed: pd.DataFrame) -> Any:
    depths = placed["depth"].dropna()
    return PAPERS_DEPTH if PAPERS_DEPTH in set(depths) or depths.empty else int(depths.min())


def _arm(dimension: str, augmented: bool) -> tuple[str, str]:
    return (dimension, PAPERS if augmented else NONE)


def _cells(base: pd.DataFrame) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], list[str]]]:
    """Cells with exactly one model, and the models of cells that have several."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in base.itertuples():
        groups.setdefault((row.dimension, row.augmentation), []).append(row.model)
    single = {cell: names[0] for cell, names in groups.items() if len(names) == 1}
    return single, {cell: names for cell, names in groups.items() if len(names) > 1}


def _crossings(cells: Mapping[tuple[str, str], str]) -> tuple[Factorial, ...]:
    """All largest complete crossings of at least two cells; the paper's four arms always, and first."""
    levels = [list(dict.fromkeys(cell[place] for cell in cells)) for place in range(2)]
    complete = [
        frozenset(itertools.product(first, second))
        for first, second in itertools.product(*map(_subsets, levels))
        if len(first) * len(second) > 1 and set(itertools.product(first, second)) <= set(cells)
    ]
    papers = frozenset(_arm(*arm) for arm in MODEL_OF_ARM)
    kept = [c for c in complete if c == papers or not any(c < other for other in complete)]
    kept.sort(key=lambda c: (c != papers, -len(c)))
    return tuple(
        Factorial(
            tuple(f for place, f in enumerate(FACTORS) if len({cell[place] for cell in chosen}) > 1),
            tuple(model for cell, model in cells.items() if cell in chosen),
            chosen == papers,
        )
        for chosen in kept
    )


def _subsets(levels: Sequence[str]) -> list[tuple[str, ...]]:
    return [c for size in range(1, len(levels) + 1) for c in itertools.combinations(levels, size)]


def _infer(name: str, model: ModelRecord | None) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "dimension": "", "augmentation": "", "depth": pd.NA, "is_baseline": False}
    if model is None:
        return row
    trainer = str(model.settings.get("trainer", ""))
    row["dimension"] = DIMENSIONS.get(str(model.settings.get("configuration", "")), "")
    if trainer.startswith(_OWN):
        suffix = trainer.removeprefix(_OWN)
        row["is_baseline"] = suffix not in _SUFFIXES
        row["augmentation"], row["depth"] = _SUFFIXES.get(suffix, ("", pd.NA))
        row |= _recorded(name, model)
    elif trainer:
        row["augmentation"], row["is_baseline"] = "nnunet" if trainer.startswith(_BASELINE) else "", True
    return row


def _recorded(name: str, model: ModelRecord) -> dict[str, Any]:
    """Augmentation and depth from protocol.json of the folds that were evaluated."""
    found = {}
    for fold in model.folds:
        path = model.folder / f"fold_{fold}" / "protocol.json"
        if path.is_file():
            entries = read_form(path, {"settings?": [{"key": str}]}, advice=_TRAIN_AGAIN).get("settings", [])
            settings = {entry["key"]: entry.get("value") for entry in entries}
            if "augmentation" in settings and isinstance(settings.get("channels"), list):
                found[fold] = (str(settings["augmentation"]), len(settings["channels"]))
    if len(set(found.values())) > 1:
        texts = ", ".join(f"fold {fold}: {augmentation}, depth {d}" for fold, (augmentation, d) in found.items())
        raise InputError(f"model {name}: its folds were trained differently ({texts}); evaluate them apart")
    return dict(zip(("augmentation", "depth"), next(iter(found.values())), strict=True)) if found else {}


def _parsed(row: Mapping[str, str], path: Path) -> dict[str, Any]:
    depth, baseline = row["depth"].removesuffix(".0"), row["is_baseline"].lower()
    if depth and not (depth.isdecimal() and len(depth) < 4):
        raise InputError(f"{path}: depth of {row['model']} is '{depth}'; write the number of levels, e.g. 5")
    if baseline not in (*_TRUE, *_FALSE):
        raise InputError(f"{path}: is_baseline of {row['model']} is '{row['is_baseline']}'; write true or false")
    dimension = DIMENSIONS.get(row["dimension"].lower(), row["dimension"].upper())
    if dimension not in ("", *DIMENSIONS.values()):
        raise InputError(f"{path}: dimension of {row['model']} is '{row['dimension']}'; write 2D, 2.5D or 3D")
    return {
        "model": row["model"],
        "dimension": dimension,
        "augmentation": _ALIASES.get(row["augmentation"].lower(), row["augmentation"]),
        "depth": int(depth) if depth else pd.NA,
        "is_baseline": baseline in _TRUE,
    }


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return table.astype({"depth": "Int64", "is_baseline": bool})
