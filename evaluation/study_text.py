"""The numbers of the paper's text beside ours."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import pandas as pd

from paraspinal_nnunet.evaluation.published import MODEL_OF_ARM, VOLUME_ICC, published_statements
from paraspinal_nnunet.evaluation.statistics_text import number_text, p_text
from paraspinal_nnunet.evaluation.study_data import StudyData, muscle_name

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
_NOT_OURS = "–"


class _Analysis(Protocol):
    @property
    def is_papers(self) -> bool: ...
    @property
    def factors(self) -> tuple[str, ...]: ...
    @property
    def quoted(self) -> pd.DataFrame: ...


def beside_text(
    frames: Mapping[str, pd.DataFrame],
    analyses: Sequence[_Analysis],
    published: Mapping[str, str],
    data: StudyData,
) -> pd.DataFrame:
    """Statements of the paper's text for which this study can have a number.

    Args:
        frames: Tables of the study so far.
        analyses: Its analyses of variance.
        published: Our model -> the paper's arm.
        data: The study.

    Returns:
        One row per statement: about, place, printed, ours (text, ``'–'`` where there is none), note.
    """
    ours = {
        **_effects(analyses),
        **_minima(frames, published),
        **_volumes(frames, data),
        **_differences(frames, published, data),
    }
    rows = []
    for key, statement in published_statements().items():
        known = key in _EFFECTS or key in ours or key.startswith(("volume ", "difference ", "inter-rater "))
        if known:
            about = f"{statement.about} {_muscle_of(key)}".strip()
            rows.append([about, statement.place, statement.printed, ours.get(key, _NOT_OURS), statement.note])
    return pd.DataFrame(rows, columns=["about", "place", "printed", "ours", "note"])


def _muscle_of(key: str) -> str:
    kind, _, rest = key.partition(" ")
    if kind not in ("volume", "difference") or rest.count(" ") != 1 or rest == "ratio best":
        return ""
    return f"({muscle_name(*rest.split()).lower()})"


def _effects(analyses: Sequence[_Analysis]) -> dict[str, str]:
    ours = {}
    for analysis in analyses:
        quoted = analysis.quoted.set_index("effect")
        for key, effect in _EFFECTS.items():
            # 'muscle' is an effect of the depth analysis too; the paper's statement is about the four arms
            if analysis.is_papers and effect in quoted.index and (effect == "depth") == ("depth" in analysis.factors):
                row = quoted.loc[effect]
                corrected = "" if row["correction"] == "none" else f" ({row['correction']})"
                p = p_text(row["p"])
                ours[key] = ("p < 0.001" if p.startswith("<") else f"p = {p}") + corrected
    return ours


def _minima(frames: Mapping[str, pd.DataFrame], published: Mapping[str, str]) -> dict[str, str]:
    ours = {}
    table = frames["table1"]
    arms = table[table["model"].isin(list(published))]
    for key, metric in (("dice minimum", "dice"), ("icc minimum", VOLUME_ICC)):
        values = arms.loc[arms["metric"] == metric, "mean"]
        if len(values):
            ours[key] = f"≥ {number_text(float(values.min()))}"
    if "inter_rater" in frames:
        ours["inter-rater dice"] = f"≥ {number_text(float(frames['inter_rater']['dice_mean'].min()))}"
        ours["inter-rater icc"] = f"≥ {number_text(float(frames['inter_rater']['icc'].min()))}"
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
