"""Frames of a study's statistics as tables for readers: chosen columns, rounded, with headings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from paraspinal_nnunet.evaluation.statistics.anova import quoted_tests
from paraspinal_nnunet.evaluation.tables.table import Table, plain_table
from paraspinal_nnunet.utils.text import number_text, p_text


@dataclass(frozen=True)
class ShownColumn:
    """A column of a table: the frame's columns it shows, its heading, and how it is written.

    Attributes:
        names: Columns of the frame; several make one text.
        heading: Column heading.
        write: Values -> text.
    """

    names: tuple[str, ...]
    heading: str
    write: Callable[..., str]


def frame_table(frame: pd.DataFrame, title: str, columns: Sequence[ShownColumn], *remarks: str) -> Table:
    """A frame as a table; columns that it lacks are left out."""
    shown = [column for column in columns if set(column.names) <= set(frame.columns)]
    lines = [[column.write(*(row[n] for n in column.names)) for column in shown] for row in frame.to_dict("records")]
    return plain_table(title, [column.heading for column in shown], lines, *remarks)


def anova_table(anova: pd.DataFrame, title: str, *, alpha: float) -> Table:
    """An analysis of variance with uncorrected, Greenhouse-Geisser and Huynh-Feldt p, and which of them is quoted.

    Args:
        anova: From `anova.repeated_measures_anova`.
        title: Caption.
        alpha: Level of Mauchly's test.
    """
    quoted = quoted_tests(anova, alpha=alpha)
    frame = anova.assign(quoted=quoted["p"].to_numpy(), correction=quoted["correction"].to_numpy())
    dropped = ", ".join(map(str, anova.attrs.get("dropped", []))) or "none"
    n = int(anova.attrs["subjects"])
    remarks = [
        f"n = {n}; subjects left out for missing values: {dropped}. GG: Greenhouse-Geisser, HF: Huynh-Feldt. Quoted is "
        f"GG where Mauchly's p is below {alpha:g} or undefined with more than two levels, else the uncorrected p."
    ]
    short = anova.loc[(anova["df1"] > 1) & anova["mauchly_p"].isna(), ["effect", "df1"]]
    if len(short):
        effects = ", ".join(f"{row.effect} ({row.df1})" for row in short.itertuples())
        remarks.append(
            f"Mauchly's test is undefined where subjects are not more than the effect's degrees of freedom or its "
            f"error matrix is singular: {effects} with n = {n}."
        )
    return frame_table(frame, title, _ANOVA, *remarks)


def study_tables(frames: Mapping[str, pd.DataFrame], name: str) -> Table:
    """The table of one frame of `study_statistics.StudyStatistics.frames`, as `SPECS` describes it.

    Args:
        frames: All frames.
        name: A name in `SPECS`.
    """
    title, columns, remarks = SPECS[name]
    return frame_table(frames[name], title, columns, *remarks)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)


def _p(value: float) -> str:
    return p_text(float(value))


def _fixed(decimals: int) -> Callable[[float], str]:
    return lambda value: number_text(float(value), decimals=decimals)


def _interval(decimals: int) -> Callable[[float, float], str]:
    write = _fixed(decimals)
    return lambda low, high: f"{write(low)} to {write(high)}"


def _mean_sd(decimals: int) -> Callable[[float, float], str]:
    write = _fixed(decimals)
    return lambda mean, sd: f"{write(mean)} ({write(sd)})"


def _count(value: float) -> str:
    return "–" if math.isnan(value) else f"{int(value)}"


def _quoted(p: float, correction: str) -> str:
    return f"{p_text(p)} ({'uncorrected' if correction == 'none' else 'GG'})"


def _one(name: str, heading: str, write: Callable[..., str] = _text) -> ShownColumn:
    return ShownColumn((name,), heading, write)


_MODEL, _MUSCLE, _N = _one("model", "model"), _one("muscle", "muscle"), _one("n", "n", _count)
_CI3 = ShownColumn(("ci_low", "ci_high"), "95 % CI", _interval(3))
_CI1 = ShownColumn(("ci_low", "ci_high"), "95 % CI", _interval(1))
_T = (_one("t", "t", _fixed(2)), _one("df", "df", _fixed(0)))
_P, _HOLM = _one("p", "p (raw)", _p), _one("p_holm", "p (Holm)", _p)
_SHAPE = (
    *(_one("skewness", "skewness", _fixed(2)), _one("skewness_se", "SE", _fixed(2))),
    *(_one("kurtosis", "kurtosis", _fixed(2)), _one("kurtosis_se", "SE", _fixed(2))),
    *(_one("shapiro_w", "Shapiro-Wilk W", _fixed(3)), _one("shapiro_p", "p", _p)),
)
_PAIRED = (
    *(_MUSCLE, _one("model", "compared with"), _one("source", "compared with"), _N),
    *(_one("mean_difference", "difference", _fixed(4)), ShownColumn(("ci_low", "ci_high"), "95 % CI", _interval(4))),
    *(*_T, _one("dz", "dz", _fixed(2)), _P, _HOLM, _one("p_wilcoxon", "p (Wilcoxon)", _p)),
)
_ANOVA = (
    *(_one("effect", "effect"), _one("f", "F", _fixed(2))),
    *(ShownColumn(("df1", "df2"), "df", lambda a, b: f"{int(a)}, {int(b)}"), _one("p", "p", _p)),
    *(_one("p_gg", "p (GG)", _p), _one("p_hf", "p (HF)", _p)),
    *(_one("gg_epsilon", "ε GG", _fixed(3)), _one("hf_epsilon", "ε HF", _fixed(3))),
    *(_one("mauchly_w", "Mauchly W", _fixed(3)), _one("mauchly_p", "Mauchly p", _p)),
    *(_one("eta2_partial", "η² partial", _fixed(3)), _one("eta2_generalized", "η² generalised", _fixed(3))),
    ShownColumn(("quoted", "correction"), "quoted p", _quoted),
)
_VOLUME = (
    *(_MODEL, _MUSCLE, _N, ShownColumn(("dice_mean", "dice_sd"), "Dice", _mean_sd(3))),
    *(_one("icc", "ICC(2,1)", _fixed(3)), ShownColumn(("icc_ci_low", "icc_ci_high"), "95 % CI", _interval(3))),
    *(
        ShownColumn(("bias", "sd"), "bias (SD), ml", _mean_sd(2)),
        ShownColumn(("loa_low", "loa_high"), "limits, ml", _interval(1)),
    ),
    *(_one("r", "Pearson r", _fixed(3)), _one("slope", "slope", _fixed(3))),
    _one("intercept", "intercept, ml", _fixed(1)),
)

Spec = tuple[str, tuple[ShownColumn, ...], tuple[str, ...]]
SPECS: Mapping[str, Spec] = {
    "design": (
        "Models and what they stand for",
        (
            *(_MODEL, _one("dimension", "dimension"), _one("augmentation", "augmentation"), _one("depth", "depth")),
            _one("is_baseline", "outside the factorial"),
        ),
        ("Depth is the number of levels of the network. An empty field is unknown.",),
    ),
    "overall_dice": (
        "Dice over all muscles",
        (
            *(_MODEL, _one("kind", "what it is"), _N, ShownColumn(("mean", "sd"), "mean (SD)", _mean_sd(3))),
            *(_one("min", "lowest single value", _fixed(3)), _one("undefined", "undefined", _count)),
            _one("values", "of", _count),
        ),
        (
            "SD between subjects of the mean over their muscles. Undefined: muscles whose Dice has no value; the means "
            "leave them out.",
        ),
    ),
    "compare_with_paper": (
        "The paper's text beside this study",
        (
            *(_one("about", "statement"), _one("place", "place"), _one("printed", "the paper")),
            *(_one("ours", "this study"), _one("note", "note")),
        ),
        (),
    ),
    "anchors": (
        "Published accuracy on such muscles, of other people's data",
        (
            *(_one("quantity", "measure"), _one("printed", "published"), _one("ours", "this study")),
            *(_one("data", "published for"), _one("source", "source")),
        ),
        (
            "Other people, scanners, raters and definitions: an anchor, and no test. This "
            "study: lowest and highest muscle of the best arm, or of its two raters.",
        ),
    ),
    "post_hoc": (
        "Dice: best arm minus another arm, paired t-tests",
        _PAIRED,
        ("The paper's tests are the raw p. Holm's adjustment runs over all rows.",),
    ),
    "other_models": (
        "Dice: best arm minus a model outside the post-hoc tests, paired t-tests",
        _PAIRED,
        ("Holm's adjustment runs over all rows of this table.",),
    ),
    "post_hoc_normality": ("Normality of the differences of the arms", (_MUSCLE, _MODEL, _N, *_SHAPE), ()),
    "normality": (
        "Normality of Dice in each model and muscle",
        (_MODEL, _MUSCLE, _N, *_SHAPE),
        ("Skewness and excess kurtosis with bias correction, as SPSS has them; SE in normal samples.",),
    ),
    "reference_volumes": (
        "Reference volumes, ml",
        (
            *(_MUSCLE, _N, ShownColumn(("mean", "sd"), "mean (SD)", _mean_sd(1)), _one("median", "median", _fixed(1))),
            *(ShownColumn(("q1", "q3"), "quartiles", _interval(1)), ShownColumn(("min", "max"), "range", _interval(1))),
        ),
        (),
    ),
    "reference_volume_tests": (
        "Reference volumes of two muscles of a side, paired t-tests",
        (
            *(_one("side", "side"), _one("larger", "larger"), _one("smaller", "smaller"), _N),
            *(_one("mean_difference", "difference, ml", _fixed(1)), _CI1, *_T, _P, _HOLM),
        ),
        (),
    ),
    "agreement": (
        "Predicted against reference volume",
        _VOLUME,
        ("Bias is prediction - reference; limits of agreement are bias ± 1.96 SD (n - 1); line: prediction on "
         "reference.",),
    ),
    "inter_rater": (
        "Second against first rater",
        _VOLUME,
        ("Bias is rater 2 - rater 1; limits of agreement are bias ± 1.96 SD (n - 1).",),
    ),
    "by_sex": (
        "Women and men, Welch's t-test",
        (
            *(_MUSCLE, _one("measure", "measure"), _one("n_female", "women", _count), _one("n_male", "men", _count)),
            *(ShownColumn(("mean_female", "sd_female"), "women, mean (SD)", _mean_sd(3)),),
            *(ShownColumn(("mean_male", "sd_male"), "men, mean (SD)", _mean_sd(3)),),
            *(_one("difference", "difference", _fixed(3)), _CI3, _P, _HOLM),
        ),
        ("Volumes in ml. Best arm.",),
    ),
    "by_age_and_bmi": (
        "Correlation with age (years) and body mass index (kg/m²)",
        (
            *(_one("covariate", "covariate"), _MUSCLE, _one("measure", "measure"), _N),
            *(_one("pearson_r", "Pearson r", _fixed(3)), _CI3, _P, _HOLM),
            *(_one("spearman_rho", "Spearman ρ", _fixed(3)), _one("spearman_p", "p", _p)),
            _one("slope", "slope", _fixed(4)),
        ),
        ("Volumes in ml. Best arm.",),
    ),
    "bootstrap_means": (
        "Mean Dice with bootstrap intervals",
        (_MODEL, _MUSCLE, _N, _one("mean", "mean", _fixed(3)), _CI3),
        ("BCa, 10,000 resamples of whole subjects.",),
    ),
    "bootstrap_differences": (
        "Dice: best arm minus another arm, bootstrap intervals",
        (
            *(_MUSCLE, _one("model", "compared with"), _N, _one("mean_difference", "difference", _fixed(4))),
            ShownColumn(("ci_low", "ci_high"), "95 % CI", _interval(4)),
        ),
        ("BCa, 10,000 resamples of whole subjects.",),
    ),
    "power": (
        "What paired comparisons of this size can show",
        (
            *(_MUSCLE, _one("model", "compared with"), _N, _one("detectable_dz", "detectable dz", _fixed(2))),
            *(_one("detectable_difference", "= Dice", _fixed(4)), _one("dz", "dz found", _fixed(2))),
            _one("subjects_needed", "subjects needed", _count),
        ),
        ("Power 0.8, two-sided, no adjustment for the number of tests. Subjects needed: for a new study, if the dz "
         "found were the true one.",),
    ),
    "equivalence": (
        "Equivalence of predicted and reference volume within the raters' error",
        (
            *(_MUSCLE, _N, _one("bias", "bias, ml", _fixed(2))),
            ShownColumn(("ci_low", "ci_high"), "90 % CI", _interval(2)),
            *(_one("margin", "margin, ml", _fixed(2)), _P, _one("equivalent", "equivalent")),
        ),
        ("Two one-sided tests; the margin is the standard error of measurement of one human reading.",),
    ),
    "human_level": (
        "Dice of the best arm minus Dice of the second rater, both against the first",
        _PAIRED,
        ("On the subjects that both have.",),
    ),
    "mixed_model": (
        "Linear mixed model of Dice, random intercept per subject",
        (_one("effect", "effect"), _one("df", "df", _count), _one("chi2", "χ²", _fixed(2)), _one("p", "p", _p)),
        ("REML, Wald tests; subjects with missing values count too.",),
    ),
}  # fmt: skip
"""Name of a frame -> its title, columns and remarks."""
