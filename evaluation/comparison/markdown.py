"""statistics.md: all results of a study for a reader, the paper's analyses first, ours beyond them marked as such."""

from collections.abc import Iterator, Sequence

from paraspinal_nnunet.evaluation.comparison.results import Analysis, StudyStatistics
from paraspinal_nnunet.evaluation.paper.published import SOURCE, published_notes
from paraspinal_nnunet.evaluation.paper.table1 import table1, table1_beside_published
from paraspinal_nnunet.evaluation.tables.cohort import supplementary_table1
from paraspinal_nnunet.evaluation.tables.frames import anova_table, study_tables
from paraspinal_nnunet.evaluation.tables.table import Table, escape_markdown, to_markdown
from paraspinal_nnunet.utils.text import pluralize

PAPERS_MUSCLES = 6

_SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Post-hoc tests", ("post_hoc", "other_models")),
    ("Normality", ("normality", "post_hoc_normality")),
    ("Volumes: agreement with the reference", ("agreement",)),
    ("Two raters", ("inter_rater",)),
)
_BEYOND = ("bootstrap_means", "bootstrap_differences", "equivalence", "human_level", "power", "mixed_model")
_PEOPLE = ("by_sex", "by_age_and_bmi")


def statistics_markdown(study: StudyStatistics) -> str:
    """The whole text."""
    return "\n".join(["# Statistics of the study", "", *_blocks(study)]).rstrip() + "\n"


def main_tables(study: StudyStatistics) -> dict[str, Table]:
    """Tables that are written in all forms.

    Returns:
        ``table1``, and where they exist ``table1_beside_published`` and ``supplementary_table1``.
    """
    titles = {model: f"{model} (training Dice)" for model, kind in study.data.kinds.items() if "training" in kind}
    tables = {"table1": table1(study.data, titles=titles)}
    if "table1_beside_published" in study.frames:
        tables["table1_beside_published"] = table1_beside_published(study.data, study.published)
    if "supplementary_table1" in study.frames:
        tables["supplementary_table1"] = supplementary_table1(study.frames["supplementary_table1"])
    return tables


def analysis_title(analysis: Analysis) -> str:
    """Caption of an analysis of variance, e.g. ``'Dice: dimension x muscle (2D, 3D)'``."""
    paper = ", as in the paper" if analysis.is_papers else ""
    return f"Dice: {' x '.join(analysis.factors)}{paper} ({', '.join(analysis.models)})"


def _blocks(study: StudyStatistics) -> Iterator[str]:
    tables = main_tables(study)
    yield from _study(study)
    yield "## Subjects\n"
    if "supplementary_table1" in tables:
        yield to_markdown(tables["supplementary_table1"])
    yield from _frames(study, ("reference_volumes", "reference_volume_tests"))
    yield "## Performance\n"
    yield from _frames(study, ("overall_dice",))
    yield to_markdown(tables["table1"])
    if "table1_beside_published" in tables:
        yield to_markdown(tables["table1_beside_published"])
    yield "## Analysis of variance\n"
    yield from _analyses(study)
    for title, names in _SECTIONS:
        if any(name in study.frames for name in names):
            yield f"## {title}\n"
            yield from _frames(study, names)
    yield "## Beside the paper's text\n"
    yield from _frames(study, ("compare_with_paper",))
    yield from (f"- {escape_markdown(place)}: {escape_markdown(text)}" for place, text in published_notes())
    yield f"\nThe paper: {escape_markdown(SOURCE)}.\n"
    yield "## Beside published accuracy\n"
    yield from _frames(study, ("anchors",))
    yield "## Beyond the paper\n"
    yield "These analyses are ours; the paper has none of them. Holm's adjustment above is ours too.\n"
    yield from _frames(study, (*_BEYOND, *_PEOPLE))
    yield from _omissions(study)


def _study(study: StudyStatistics) -> Iterator[str]:
    data = study.data
    subjects = data.table["subject"].nunique()
    muscles = f"{len(data.muscles)} muscles (left and right count as two)"
    yield f"{pluralize(len(data.models), 'model')}, {pluralize(subjects, 'subject')}, {muscles}."
    yield f"Best arm by mean Dice: {escape_markdown(study.best)}.\n"
    notes = list(data.notes)
    if len(data.muscles) != PAPERS_MUSCLES:
        notes.append(f"The paper has {PAPERS_MUSCLES} muscles; 'muscle' here has {len(data.muscles)} levels.")
    yield from (f"{escape_markdown(note)}\n" for note in notes)
    yield from _frames(study, ("design",))


def _analyses(study: StudyStatistics) -> Iterator[str]:
    if not study.analyses:
        yield "None could be run; see the end.\n"
    if any("dimension" in analysis.factors for analysis in study.analyses):
        yield "'dimension' (2D, 3D) is the factor that the paper calls 'model'.\n"
    for analysis in study.analyses:
        yield to_markdown(anova_table(analysis.anova, analysis_title(analysis), alpha=study.options.alpha))


def _frames(study: StudyStatistics, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name in study.frames:
            yield to_markdown(study_tables(study.frames, name))


def _omissions(study: StudyStatistics) -> Iterator[str]:
    yield "## Not computed\n"
    if not study.omissions:
        yield "Nothing was left out.\n"
    for omission in study.omissions:
        yield f"- {escape_markdown(omission.what)}: {escape_markdown(omission.why)}"
