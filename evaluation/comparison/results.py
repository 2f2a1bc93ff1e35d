"""What the statistics of a study are made with and consist of."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from paraspinal_nnunet.evaluation.comparison.data import StudyData
from paraspinal_nnunet.evaluation.comparison.design import Plan
from paraspinal_nnunet.evaluation.statistics.long_table import Missing


@dataclass(frozen=True)
class Options:
    """How the statistics are made.

    Attributes:
        missing: What to do with subjects that lack a value; see `long_table.balance`.
        alpha: Level of Mauchly's test, of the equivalence tests and of the power.
        seed: Of the bootstrap.
        mixed_models: Whether to fit the linear mixed model where statsmodels is installed; it takes longest.
    """

    missing: Missing = "error"
    alpha: float = 0.05
    seed: int = 0
    mixed_models: bool = True


@dataclass(frozen=True)
class Analysis:
    """One analysis of variance of Dice.

    Attributes:
        key: Name of its tables, e.g. ``'anova_dimension_augmentation_muscle'``.
        factors: Within-subject factors.
        models: Whose values.
        is_papers: Whether the paper has this analysis of the same arms.
        anova: From `anova.repeated_measures_anova`.
        quoted: From `anova.quoted_tests`.
    """

    key: str
    factors: tuple[str, ...]
    models: tuple[str, ...]
    is_papers: bool
    anova: pd.DataFrame
    quoted: pd.DataFrame


@dataclass(frozen=True)
class Omission:
    """What was not computed, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class StudyStatistics:
    """All results of a study.

    Attributes:
        data: What they were made from.
        options: How.
        plan: What the design allows.
        best: The model with the highest mean Dice among the arms.
        published: Our model -> the arm of the paper that it stands for.
        analyses: Analyses of variance, the paper's first.
        frames: Name -> table at full precision; see `statistics_tables.SPECS`.
        omissions: What was not computed, and why.
    """

    data: StudyData
    options: Options
    plan: Plan
    best: str
    published: Mapping[str, str]
    analyses: tuple[Analysis, ...]
    frames: Mapping[str, pd.DataFrame]
    omissions: tuple[Omission, ...]
