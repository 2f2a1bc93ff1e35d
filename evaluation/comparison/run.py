"""All statistics of a study: the paper's, as far as its design and subjects allow, and ours beyond them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from paraspinal_nnunet.errors import SetupError, StatisticsError, one_line
from paraspinal_nnunet.evaluation.comparison import parts as parts
from paraspinal_nnunet.evaluation.comparison.data import StudyData
from paraspinal_nnunet.evaluation.comparison.design import Plan, depth_rivals, plan_analyses, published_names
from paraspinal_nnunet.evaluation.comparison.paper_text import compare_with_paper
from paraspinal_nnunet.evaluation.comparison.results import Analysis, Omission, Options, StudyStatistics
from paraspinal_nnunet.evaluation.paper.anchors import anchor_table
from paraspinal_nnunet.evaluation.paper.table1 import beside_published, table1_values
from paraspinal_nnunet.evaluation.statistics import long_table
from paraspinal_nnunet.evaluation.statistics.anova import quoted_tests, repeated_measures_anova
from paraspinal_nnunet.evaluation.statistics.inference import bootstrap_differences, bootstrap_means
from paraspinal_nnunet.evaluation.statistics.long_table import balance
from paraspinal_nnunet.evaluation.statistics.mixed_effects import get_statsmodels, mixed_model
from paraspinal_nnunet.evaluation.statistics.normality import normality_of_cells, normality_of_differences
from paraspinal_nnunet.evaluation.statistics.posthoc import paired_t_tests
from paraspinal_nnunet.evaluation.tables.cohort import (
    by_covariate,
    by_sex,
    compare_reference_volumes,
    describe_reference_volumes,
    fold_table,
)

VALUE = "dice"
"""The primary outcome. Source: Methods, Evaluation of CNN segmentation performance, ``protocol.DOI``."""


def study_statistics(data: StudyData, options: Options | None = None) -> StudyStatistics:
    """Compute everything that the data allow.

    A statistic that needs more subjects, models or knowledge than there are is left out and listed with its reason;
    a subject without a value is an error, or left out, as the options say.

    Args:
        data: From `study_data.load_study`.
        options: None takes the defaults.

    Raises:
        StatisticsError: With ``missing='error'``, naming the subject and the value that is missing.
    """
    options = options or Options()
    if options.missing == "error":
        balance(data.table, value=VALUE, subject="subject", within=["model", "muscle"])
    plan = plan_analyses(data.design)
    with _each_warning_once():
        best = parts.best_model(data, plan.arms, options.missing)
        run = _Run(data, options, plan, best, published_names(data.design))
        for step in tqdm(_STEPS, desc="statistics", unit="step"):
            step(run)
    omissions = (*(Omission("analysis of variance", reason) for reason in plan.reasons), *run.omissions)
    return StudyStatistics(data, options, plan, best, run.published, tuple(run.analyses), run.frames, omissions)


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """The same subjects are left out of many tests; one warning says so."""
    source = logging.getLogger(long_table.__name__)
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in seen
        seen.add(text)
        return new

    source.addFilter(is_new)
    try:
        yield
    finally:
        source.removeFilter(is_new)


@dataclass
class _Run:
    """What the steps share while they run."""

    data: StudyData
    options: Options
    plan: Plan
    best: str
    published: Mapping[str, str]
    analyses: list[Analysis] = field(default_factory=list)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    omissions: list[Omission] = field(default_factory=list)

    def add(self, name: str, what: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
        """Compute a table, or note why it cannot be."""
        found = self.add_all(what, lambda: {name: compute()})
        return None if found is None else found[name]

    def add_all(
        self, what: str, compute: Callable[[], Mapping[str, pd.DataFrame]]
    ) -> Mapping[str, pd.DataFrame] | None:
        """Compute several tables, or note why they cannot be."""
        try:
            found = compute()
        except (StatisticsError, SetupError) as error:
            self.omissions.append(Omission(what, one_line(error)))
            return None
        self.frames.update(found)
        return found

    def add_anova(self, models: Sequence[str], factors: Sequence[str], *, is_papers: bool) -> None:
        """Run an analysis of variance of Dice with muscle as the last factor."""
        factors = (*factors, "muscle")
        names = {analysis.key for analysis in self.analyses}
        stem = "anova_" + "_".join(factors)
        key = next(k for k in (stem, *(f"{stem}_{i}" for i in range(2, 100))) if k not in names)
        table = parts.with_factors(self.data, models, factors)
        found = self.add(
            key,
            f"analysis of variance {' x '.join(factors)} of {', '.join(models)}",
            lambda: repeated_measures_anova(
                table, value=VALUE, subject="subject", within=factors, missing=self.options.missing
            ),
        )
        if found is not None:
            quoted = quoted_tests(found, alpha=self.options.alpha)
            self.frames[f"{key}_quoted"] = quoted
            self.analyses.append(Analysis(key, factors, tuple(models), is_papers, found, quoted))

    @property
    def tested(self) -> tuple[str, ...]:
        """The arms of the post-hoc tests: those of the first factorial, or all arms where there is none."""
        factorials = [f.models for f in self.plan.factorials if self.best in f.models]
        return factorials[0] if factorials and self.plan.factorials[0].is_papers else self.plan.arms

    @property
    def columns(self) -> dict[str, Any]:
        """Arguments of the paired comparisons of models."""
        missing = self.options.missing
        return {
            "value": VALUE,
            "subject": "subject",
            "arm": "model",
            "by": "muscle",
            "best": self.best,
            "missing": missing,
        }


def _describe(run: _Run) -> None:
    data = run.data
    run.frames["design"] = data.design
    run.frames["overall_dice"] = parts.overall_dice(data)
    run.frames["descriptives"] = parts.descriptives(data)
    run.frames["table1"] = table1_values(data)
    run.add(
        "table1_beside_published", "Table 1 beside the published one", lambda: beside_published(data, run.published)
    )


def _cohort(run: _Run) -> None:
    data = run.data
    run.add("supplementary_table1", "Supplementary Table 1", lambda: fold_table(data))
    run.add("reference_volumes", "reference volumes", lambda: describe_reference_volumes(data))
    run.add(
        "reference_volume_tests",
        "comparison of reference volumes between muscles",
        lambda: compare_reference_volumes(data, missing=run.options.missing),
    )
    run.add("by_sex", "results by sex", lambda: by_sex(data, run.best))
    run.add("by_age_and_bmi", "results by age and BMI", lambda: by_covariate(data, run.best))


def _anovas(run: _Run) -> None:
    for factorial in run.plan.factorials:
        run.add_anova(factorial.models, factorial.factors, is_papers=factorial.is_papers)
    if not run.plan.factorials and len(run.plan.arms) > 1:
        run.add_anova(run.plan.arms, ["model"], is_papers=False)
    elif not run.plan.factorials:
        run.add_anova([run.best], [], is_papers=False)


def _post_hoc(run: _Run) -> None:
    others = [model for model in run.data.models if model not in run.tested]
    for name, what, models in (
        ("post_hoc", "post-hoc tests of the arms", run.tested),
        ("other_models", "comparison with the other models", (run.best, *others)),
    ):
        if len(models) > 1:
            table = run.data.of(models)
            run.add(name, what, partial(paired_t_tests, table, **run.columns))
            run.add(f"{name}_normality", f"normality, {what}", partial(normality_of_differences, table, **run.columns))
    if len(run.tested) < 2:
        run.omissions.append(Omission("post-hoc tests of the arms", f"{run.best} is the only arm"))


def _normality(run: _Run) -> None:
    table = run.data.of(run.tested)
    run.add(
        "normality",
        "normality of Dice in each model and muscle",
        lambda: normality_of_cells(
            table, value=VALUE, subject="subject", within=["model", "muscle"], missing=run.options.missing
        ),
    )
    run.add("qq_points", "Q-Q points of Dice", lambda: parts.qq_table(run.data, run.tested))


def _agreement(run: _Run) -> None:
    run.add_all("agreement of volumes", lambda: parts.volume_tables(run.data, run.options.missing))


def _depth(run: _Run) -> None:
    pairs = [(arm, rival) for arm in run.plan.arms for rival in depth_rivals(run.data.design, arm)]
    pairs.sort(key=lambda pair: pair[0] != run.best)
    if not any(arm == run.best for arm, _ in pairs):
        why = f"no model differs from the best arm, {run.best}, in its depth only"
        run.omissions.append(Omission("depth x muscle of the best arm", why))
    for arm, rival in pairs:
        run.add_anova([arm, rival], ["depth"], is_papers=arm == run.best)


def _raters(run: _Run) -> None:
    run.add_all("agreement of two raters", lambda: parts.rater_tables(run.data, run.options.missing))


def _beyond(run: _Run) -> None:
    options, every = run.options, run.data.models
    cells: dict[str, Any] = {"value": VALUE, "subject": "subject", "within": ["model", "muscle"]}
    run.add(
        "bootstrap_means",
        "bootstrap intervals of means",
        lambda: bootstrap_means(
            run.data.of(every), **cells, rng=np.random.default_rng(options.seed), missing=options.missing
        ),
    )
    if "post_hoc" in run.frames:
        run.add(
            "bootstrap_differences",
            "bootstrap intervals of differences",
            lambda: bootstrap_differences(
                run.data.of(run.tested), **run.columns, rng=np.random.default_rng(options.seed)
            ),
        )
        run.add("power", "power", lambda: parts.power_table(run.frames["post_hoc"], alpha=options.alpha))
    if "inter_rater_margins" in run.frames:
        margins = run.frames["inter_rater_margins"]
        run.add(
            "equivalence",
            "equivalence of volumes within the raters' error",
            lambda: parts.equivalence_table(run.data, run.best, margins, alpha=options.alpha, missing=options.missing),
        )
        run.add(
            "human_level",
            "model beside the second rater",
            lambda: parts.human_level(run.data, run.best, options.missing),
        )


def _mixed(run: _Run) -> None:
    if not run.analyses or not run.options.mixed_models:
        why = "switched off" if not run.options.mixed_models else "no analysis of variance to set it beside"
        run.omissions.append(Omission("linear mixed model", why))
        return
    first = run.analyses[0]
    table = parts.with_factors(run.data, first.models, first.factors)

    def compute() -> pd.DataFrame:
        get_statsmodels()
        return mixed_model(table, value=VALUE, subject="subject", within=first.factors)

    run.add("mixed_model", "linear mixed model", compute)


def _compare_with_text(run: _Run) -> None:
    run.frames["compare_with_paper"] = compare_with_paper(run.frames, run.analyses, run.published, run.data)
    run.frames["anchors"] = anchor_table(run.frames, run.best)


_STEPS = (
    *(_describe, _cohort, _anovas, _post_hoc, _normality, _agreement, _depth, _raters, _beyond, _mixed),
    _compare_with_text,
)
