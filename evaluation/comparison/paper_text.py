"""The numbers of the paper's text, and what it says in words of numbers, beside ours."""

from collections.abc import Mapping, Sequence

import pandas as pd

from paraspinal_nnunet.evaluation.comparison.data import StudyData, muscle_name
from paraspinal_nnunet.evaluation.comparison.results import Analysis
from paraspinal_nnunet.evaluation.paper.published import MODEL_OF_ARM, VOLUME_ICC, published_statements
from paraspinal_nnunet.evaluation.paper.table1 import LABELS
from paraspinal_nnunet.utils.text import number_text, p_clause

_EFFECTS = {
    "anova model": "dimension",
    "anova augmentation": "augmentation",
    "anova muscle": "muscle",
    "anova model x muscle": "dimension x muscle",
    "anova depth": "depth",
}
"""Key of the statement -> our name of the effect."""
_BEST = MODEL_OF_ARM["2D", False]
"""The paper's best arm."""
_ARMS = tuple(MODEL_OF_ARM.values())
_RANGES = {
    "dice minimum": ("dice", _ARMS, ""),
    "dice minimum best": ("dice", (_BEST,), ""),
    "multifidus dice": ("dice", _ARMS, "Multifidus"),
    "icc minimum": (VOLUME_ICC, _ARMS, ""),
    "icc minimum best": (VOLUME_ICC, (_BEST,), ""),
    "icc psoas major best": (VOLUME_ICC, (_BEST,), "Psoas major"),
    "volume ratio best": ("volume_ratio", (_BEST,), ""),
}
"""Key of the statement -> metric, arms that must all be there, and beginning of the muscles' names."""
_3D = (MODEL_OF_ARM["3D", False], MODEL_OF_ARM["3D", True])
_2D_DA = (MODEL_OF_ARM["2D", True],)
_POST_HOC = {
    "posthoc multifidus 3D": ("Multifidus", _3D),
    "posthoc multifidus 2D with DA": ("Multifidus", _2D_DA),
    "posthoc erector spinae 2D with DA": ("Erector spinae", _2D_DA),
    "posthoc erector spinae 3D": ("Erector spinae", _3D),
    "posthoc psoas major 3D": ("Psoas major", _3D),
    "posthoc psoas major 2D with DA": ("Psoas major", _2D_DA),
}
"""Key of the statement -> beginning of the muscles' names, arms; left, then right."""
_HALVES = {
    "direction dimension": ((0, "2D"), ("dice",)),
    "direction augmentation": ((1, False), ("dice",)),
    "direction 3D": ((0, "3D"), ("volume_ratio", "conformity", "ppv")),
}
"""Key of the statement -> place in `MODEL_OF_ARM`'s keys and its value in the arms that come first, metrics."""
_NOT_OURS = "–"
_REASONS = {
    "anova": "needs the paper's arms on subjects that have all of them",
    "posthoc": "needs the paper's best arm as the best, and the arm that it is compared with",
    "inter-rater": "needs a second rater",
    "difference": "needs a model that stands for 2D without augmentation",
    "volume": "needs reference volumes of this muscle",
    "volumes": "needs reference volumes of all three muscles and two subjects",
    "seconds": "needs costs.tsv beside the metrics, which a workflow writes",
    "minutes": "nothing here measures how long people take",
    "direction": "needs models that stand for all of the paper's arms",
    "participants": "needs the subjects of the models",
}
"""Beginning of the statement's key -> why there is no number of ours where there is none."""
_NO_ARMS = "needs models that stand for all of the paper's arms that it is about"


def compare_with_paper(
    frames: Mapping[str, pd.DataFrame],
    analyses: Sequence[Analysis],
    published: Mapping[str, str],
    data: StudyData,
) -> pd.DataFrame:
    """Every statement of the paper's text beside ours.

    Args:
        frames: Tables of the study so far.
        analyses: Its analyses of variance.
        published: Our model -> the paper's arm.
        data: The study.

    Returns:
        One row per statement: about, place, printed, ours (text, ``'–'`` where there is none), note (on the paper's
        number, and why there is none of ours).
    """
    ours = {
        **_effects(analyses),
        **_extremes(frames, published),
        **_directions(frames["table1"], published),
        **_participants(frames),
        **_post_hoc(frames, published),
        **_volumes(frames, data),
        **_differences(frames, published, data),
        **_assumptions(frames, analyses),
        **_volume_order(frames),
        **_seconds(published, data),
    }
    rows = []
    for key, statement in published_statements().items():
        about = f"{statement.about} {_muscle_of(key)}".strip()
        note = "; ".join(filter(None, (statement.note, "" if key in ours else _reason(key))))
        rows.append([about, statement.place, statement.printed, ours.get(key, _NOT_OURS), note])
    return pd.DataFrame(rows, columns=["about", "place", "printed", "ours", "note"])


def _muscle_of(key: str) -> str:
    kind, _, rest = key.partition(" ")
    if kind not in ("volume", "difference") or rest.count(" ") != 1 or rest == "ratio best":
        return ""
    return f"({muscle_name(*rest.split()).lower()})"


def _reason(key: str) -> str:
    return _NO_ARMS if key in _RANGES else _REASONS[key.split()[0]]


def _assumptions(frames: Mapping[str, pd.DataFrame], analyses: Sequence[Analysis]) -> dict[str, str]:
    """The least p of Shapiro and Wilk's and of Mauchly's tests in the paper's own analysis."""
    papers = next((a for a in analyses if a.is_papers and "depth" not in a.factors), None)
    if papers is None or "normality" not in frames:
        return {}
    cells = frames["normality"]
    shapiro = cells.loc[cells["model"].astype(str).isin(papers.models), "shapiro_p"].dropna()
    mauchly = papers.anova["mauchly_p"].dropna()
    tests = {"normality of the cells": shapiro, "sphericity": mauchly}
    texts = [f"{name} {p_clause(float(p.min()))}" for name, p in tests.items() if len(p)]
    return {"anova assumptions": "least of all tests: " + ", ".join(texts)} if texts else {}


_LARGER = {
    "volumes erector spinae and psoas major": [("Erector spinae", "Psoas major")],
    "volumes multifidus smallest": [("Erector spinae", "Multifidus"), ("Psoas major", "Multifidus")],
}
"""Key of the statement -> pairs of muscles, the larger one first."""


def _volume_order(frames: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The largest p of the paired t-tests on both sides, where the muscles stand in the paper's order."""
    if "reference_volume_tests" not in frames:
        return {}
    tests = frames["reference_volume_tests"]
    found: dict[frozenset[str], set[tuple[str, float]]] = {
        frozenset(pair): set() for pairs in _LARGER.values() for pair in pairs
    }
    for row in tests.itertuples():
        found.get(frozenset((row.larger, row.smaller)), set()).add((row.larger, float(row.p)))
    ours = {}
    for key, pairs in _LARGER.items():
        if all(found[frozenset(pair)] for pair in pairs):
            as_printed = all(larger == pair[0] for pair in pairs for larger, _ in found[frozenset(pair)])
            most = max(p for pair in pairs for _, p in found[frozenset(pair)])
            ours[key] = p_clause(most) if as_printed else "another order of the muscles"
    return ours


def _seconds(published: Mapping[str, str], data: StudyData) -> dict[str, str]:
    """Seconds per scan of our model that stands for the paper's best, as measured by its validation."""
    own = next((model for model, name in published.items() if name == _BEST), None)
    if data.costs is None or own not in data.costs.index or pd.isna(data.costs.at[own, "inference_s"]):
        return {}
    cost = data.costs.loc[own]
    spread = "" if pd.isna(cost["inference_sd_s"]) else f" ({number_text(cost['inference_sd_s'], decimals=1)})"
    scans = "" if pd.isna(cost["inference_scans"]) else f", n = {int(cost['inference_scans'])}"
    text = f"{number_text(cost['inference_s'], decimals=1)}{spread} seconds{scans}, {cost['device']}"
    return {"seconds per scan": f"{text}; resampling and writing included"}


def _effects(analyses: Sequence[Analysis]) -> dict[str, str]:
    ours = {}
    for analysis in analyses:
        quoted = analysis.quoted.set_index("effect")
        for key, effect in _EFFECTS.items():
            # 'muscle' is an effect of the depth analysis too; the paper's statement is about the four arms
            if analysis.is_papers and effect in quoted.index and (effect == "depth") == ("depth" in analysis.factors):
                row = quoted.loc[effect]
                corrected = "" if row["correction"] == "none" else f" ({row['correction']})"
                ours[key] = p_clause(row["p"]) + corrected
    return ours


def _extremes(frames: Mapping[str, pd.DataFrame], published: Mapping[str, str]) -> dict[str, str]:
    ours = {}
    table = frames["table1"]
    own = {heading: model for model, heading in published.items()}
    for key, (metric, headings, muscle) in _RANGES.items():
        models = [own[heading] for heading in headings if heading in own]
        rows = table["model"].isin(models) & (table["metric"] == metric)
        values = table.loc[rows & table["muscle"].str.startswith(muscle), "mean"].dropna()
        if len(values) and len(models) == len(headings):
            low, high = number_text(float(values.min())), number_text(float(values.max()))
            ours[key] = f"{low}–{high}" if published_statements()[key].relation == "between" else f"≥ {low}"
    if "inter_rater" in frames:
        ours["inter-rater dice"] = f"≥ {number_text(float(frames['inter_rater']['dice_mean'].min()))}"
        ours["inter-rater icc"] = f"≥ {number_text(float(frames['inter_rater']['icc'].min()))}"
    return ours


def _directions(table1: pd.DataFrame, published: Mapping[str, str]) -> dict[str, str]:
    """Means of the paper's arms over all muscles, where ours stand for all of them."""
    table = table1.assign(heading=table1["model"].map(dict(published))).dropna(subset=["heading"])
    if set(table["heading"]) != set(_ARMS):
        return {}
    means = table.pivot_table("mean", "heading", "metric")
    ours = {}
    for key, ((place, value), metrics) in _HALVES.items():
        first = [heading for arm, heading in MODEL_OF_ARM.items() if arm[place] == value]
        texts = []
        for metric in metrics:
            of_both = [float(means.loc[arms, metric].mean()) for arms in (first, [a for a in _ARMS if a not in first])]
            name = "" if metric == "dice" else f"{LABELS[metric].lower()} "
            texts.append(name + " against ".join(number_text(mean) for mean in of_both))
        ours[key] = ", ".join(texts)
    dice = table[table["metric"] == "dice"]
    by_muscle = dice.assign(name=dice["muscle"].str.rsplit(" ", n=1).str[0]).pivot_table("mean", "heading", "name")
    lowest = int((by_muscle.idxmin(axis=1) == "Multifidus").sum())
    return {**ours, "direction multifidus": f"lowest in {lowest} of {len(_ARMS)} models"}


def _participants(frames: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    if "supplementary_table1" not in frames:
        return {}
    row = frames["supplementary_table1"].set_index("part").loc["all"]
    texts = [f"n = {row['n']}"]
    texts += [f"{row['female']} female of {row['sex_known']} known"] if row["sex_known"] else []
    for name, key, unit in (("age", "age", " years"), ("BMI", "bmi", "")):
        if row[f"{key}_known"]:
            texts.append(f"mean (SD) {name}: {_mean_sd(row[f'{key}_mean'], row[f'{key}_sd'], decimals=1)}{unit}")
    return {"participants": "; ".join(texts)}


def _post_hoc(frames: Mapping[str, pd.DataFrame], published: Mapping[str, str]) -> dict[str, str]:
    """Raw p of the same comparisons, where our best arm stands for the paper's best."""
    if "post_hoc" not in frames or published.get(frames["post_hoc"].attrs["best"]) != _BEST:
        return {}
    tests = frames["post_hoc"].assign(heading=frames["post_hoc"]["model"].astype(str).map(dict(published)))
    ours = {}
    for key, (muscle, headings) in _POST_HOC.items():
        own = tests[tests["muscle"].astype(str).str.startswith(muscle)]
        texts = []
        for heading in headings:
            p = [p_clause(value) for value in own.loc[own["heading"] == heading, "p"]]
            texts += [f"{heading}: {', '.join(p)}"] if p else []
        if texts:
            ours[key] = "; ".join(texts)
    return ours


def _volumes(frames: Mapping[str, pd.DataFrame], data: StudyData) -> dict[str, str]:
    if "reference_volumes" not in frames:
        return {}
    rows = frames["reference_volumes"].set_index("muscle")
    return {
        f"volume {key}": f"{_mean_sd(rows.at[name, 'mean'], rows.at[name, 'sd'], decimals=1)} ml"
        for key, name in _keys(data).items()
        if name in rows.index
    }


def _differences(frames: Mapping[str, pd.DataFrame], published: Mapping[str, str], data: StudyData) -> dict[str, str]:
    own = next((model for model, name in published.items() if name == _BEST), None)
    if own is None or "agreement" not in frames:
        return {}
    table = frames["agreement"]
    rows = table[table["model"] == own].set_index("muscle")
    return {
        f"difference {key}": f"{_mean_sd(rows.at[name, 'bias'], rows.at[name, 'sd'], decimals=2)} ml"
        for key, name in _keys(data).items()
        if name in rows.index
    }


def _mean_sd(mean: float, sd: float, *, decimals: int) -> str:
    return f"{number_text(mean, decimals=decimals)} ({number_text(sd, decimals=1)})"


def _keys(data: StudyData) -> dict[str, str]:
    """'multifidus left' -> 'Multifidus left', for the muscles of the study."""
    pairs = data.table[["muscle_name", "side"]].drop_duplicates().itertuples(index=False)
    return {f"{name} {side}": muscle_name(name, side) for name, side in pairs}
