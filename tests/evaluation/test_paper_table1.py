"""Table 1 from subjects that were made to have the paper's means, SDs and ICCs."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import special

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.data import muscle_name, study_data
from paraspinal_nnunet.evaluation.metrics.overlap import METRICS
from paraspinal_nnunet.evaluation.paper.published import MODEL_OF_ARM, VOLUME_ICC, contradictions, published_table1
from paraspinal_nnunet.evaluation.paper.table1 import (
    LABELS,
    beside_published,
    table1,
    table1_beside_published,
    table1_values,
)
from paraspinal_nnunet.evaluation.statistics.reliability import MeanSquares, interval_2_1

SUBJECTS = 76
NAMES = {name: name for name in MODEL_OF_ARM.values()}


def scores(n):
    """Normal scores with mean 0 and SD 1 (n - 1) exactly."""
    z = special.ndtri((np.arange(1, n + 1) - 0.5) / n)
    return (z - z.mean()) / z.std(ddof=1)


def squares_that_print(icc, low, high):
    """Mean squares of two raters whose ICC(2,1) and interval print so; without bias where none do."""
    for value in np.linspace(icc - 0.00045, icc + 0.00045, 31):
        for ratio in (*np.linspace(0, 2, 21), *np.geomspace(2.1, 60, 30)):
            subjects = (1 + value * (1 + 2 * (ratio - 1) / SUBJECTS)) / (1 - value)
            squares = MeanSquares(subjects, ratio, 1.0, SUBJECTS, 2)
            ends = interval_2_1(squares)
            if abs(ends[0] - low) < 0.0005 and abs(ends[1] - high) < 0.0005:
                return squares
    return MeanSquares((1 + icc) / (1 - icc), 1.0, 1.0, SUBJECTS, 2)


def volumes(squares):
    """Two raters' volumes with these mean squares exactly."""
    n = squares.n
    noise = np.random.default_rng(0).normal(size=(n, 2))
    basis = np.linalg.qr(np.column_stack([np.ones(n), noise]))[0]
    means = 100 + basis[:, 1] * np.sqrt((n - 1) * squares.subjects / 2)
    differences = basis[:, 2] * np.sqrt((n - 1) * squares.error * 2) + np.sqrt(2 * squares.raters / n)
    return means + differences / 2, means - differences / 2


@cache
def papers_subjects():
    printed = published_table1().set_index(["model", "muscle", "side", "metric"])
    narrow = {cell for item in contradictions() if "McGraw" in item.text for cell in item.cells}
    rng = np.random.default_rng(0)
    parts = []
    for model, muscle, side in dict.fromkeys(key[:3] for key in printed.index):
        part = pd.DataFrame({"model": model, "case": [f"c{i:02}" for i in range(SUBJECTS)], "fold": ""})
        part = part.assign(subject=part["case"], muscle=muscle, side=side)
        for metric in METRICS:
            row = printed.loc[(model, muscle, side, metric)]
            part[metric] = row["mean"] + row["sd"] * rng.permutation(scores(SUBJECTS))
        row = printed.loc[(model, muscle, side, VOLUME_ICC)]
        known = (model, muscle, side, VOLUME_ICC) not in narrow
        squares = squares_that_print(row["mean"], row["ci_low"], row["ci_high"]) if known else None
        squares = squares or MeanSquares((1 + row["mean"]) / (1 - row["mean"]), 1.0, 1.0, SUBJECTS, 2)
        part["reference_ml"], part["prediction_ml"] = volumes(squares)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def printed_cells(table):
    """(muscle, label) -> cells of a table with headings."""
    found, heading = {}, ""
    for row in table.rows:
        if row.heading:
            heading = row.cells[0].text
        else:
            found[heading, row.cells[0].text] = row.cells[1:]
    return found


def test_every_printed_cell_comes_out():
    table = table1(study_data(papers_subjects()))
    assert table.head == ("", *MODEL_OF_ARM.values())
    cells = printed_cells(table)
    narrow = {cell for item in contradictions() if "McGraw" in item.text for cell in item.cells}
    checked = 0
    for row in published_table1().itertuples():
        key = (muscle_name(row.muscle, row.side), LABELS[row.metric])
        found = cells[key][list(MODEL_OF_ARM.values()).index(row.model)].text
        expected = row.printed if not row.note else "0.981 (0.967–0.989)"
        if (row.model, row.muscle, row.side, row.metric) in narrow:
            assert found[:5] == expected[:5]
        else:
            assert found == expected
            checked += 1
    assert checked == 192 - 5


def test_blocks_stand_in_the_papers_order():
    headings = [row.cells[0].text for row in table1(study_data(papers_subjects())).rows if row.heading]
    muscles = published_table1()[["muscle", "side"]].drop_duplicates().itertuples(index=False)
    assert headings == [muscle_name(*m) for m in muscles]


def test_best_is_bold():
    cells = printed_cells(table1(study_data(papers_subjects())))
    bold = {key: [cell.bold for cell in row] for key, row in cells.items()}
    assert bold["Multifidus left", LABELS["dice"]] == [True, False, False, False]
    assert bold["Psoas major left", LABELS["dice"]] == [False, False, True, False]
    assert bold["Psoas major right", LABELS["dice"]] == [True, False, True, False]  # both print 0.932
    assert bold["Multifidus left", LABELS["tnr"]] == [False] * 4  # all print 0.999
    assert bold["Psoas major right", LABELS["volume_ratio"]] == [False, False, False, True]  # 0.996, not 1.023
    assert bold["Multifidus left", LABELS[VOLUME_ICC]] == [True, False, False, False]


def test_the_papers_own_numbers_are_all_in():
    beside = beside_published(study_data(papers_subjects()), NAMES)
    assert len(beside) == 192
    assert set(beside["verdict"]) == {"in"}


def test_a_shift_of_one_and_a_half_sd_is_out():
    # Dice of 2D without DA, multifidus left, 0.905 (0.021): 0.926 is in, 0.927 is out.
    for shift, verdict in ((0.021, "in"), (0.022, "out"), (-0.021, "in"), (-0.022, "out")):
        metrics = papers_subjects().copy()
        metrics["dice"] += shift
        beside = beside_published(study_data(metrics), NAMES).set_index(["model", "muscle", "metric"])
        assert beside.loc[("2D without DA", "Multifidus left", "dice"), "verdict"] == verdict


def test_icc_is_judged_by_the_published_interval():
    beside = beside_published(study_data(papers_subjects()), NAMES).set_index(["model", "muscle", "metric"])
    row = beside.loc[("2D without DA", "Multifidus left", VOLUME_ICC)]
    assert (row["low"], row["high"]) == (0.949, 0.979)


def test_contradicted_cells_have_footnotes():
    table = table1_beside_published(study_data(papers_subjects()), NAMES)
    texts = dict(table.footnotes)
    cells = printed_cells(table)
    dice = cells["Erector spinae right", LABELS["dice"]]
    assert [len(cell.notes) for cell in dice] == [0, 0, 0, 0, 0, 0, 0, 1]
    assert "imply a mean Dice of 0.914" in texts[dice[-1].notes[0]]
    both = cells["Multifidus right", LABELS["dice"]][-1]
    assert len(both.notes) == 2  # its own contradiction, and the text's range
    misprint = cells["Psoas major left", LABELS[VOLUME_ICC]][5]
    assert "misprint" in texts[misprint.notes[0]]
    assert "192 of 192 cells are in" in table.remarks[0]


def test_nothing_to_set_beside():
    data = study_data(papers_subjects())
    with pytest.raises(StatisticsError, match="no model stands for one of the paper's four arms"):
        beside_published(data, {})
    other = papers_subjects().assign(muscle="trapezius")
    other = other.drop_duplicates(["model", "case", "muscle", "side"])
    with pytest.raises(StatisticsError, match="none of the muscles is in the paper's Table 1: Trapezius left"):
        beside_published(study_data(other), NAMES)


def test_undefined_values_are_counted_and_noted():
    metrics = papers_subjects().copy()
    first = metrics.index[0]
    metrics.loc[first, ["dice", "ppv"]] = np.nan
    metrics.loc[first, "conformity"] = -np.inf
    data = study_data(metrics)
    values = table1_values(data).query("model == '2D without DA' and muscle == 'Multifidus left'").set_index("metric")
    assert (values.loc["dice", "n"], values.loc["dice", "skipped"]) == (75, 1)
    assert values.loc["conformity", "mean"] == -np.inf
    assert np.isnan(values.loc["conformity", "sd"])
    table = table1(data)
    cells = printed_cells(table)
    assert cells["Multifidus left", LABELS["conformity"]][0].text == "–∞"
    note = cells["Multifidus left", LABELS["dice"]][0].notes[0]
    assert dict(table.footnotes)[note] == "1 undefined value left out, n = 75."
    assert (
        dict(table.footnotes)[cells["Multifidus left", LABELS["conformity"]][0].notes[0]] == "1 of 76 values infinite."
    )


def test_one_model_has_no_best():
    data = study_data(papers_subjects().query("model == '2D with DA'"))
    assert not any(cell.bold for row in table1(data).rows for cell in row.cells)


def test_one_subject_has_no_sd_and_no_icc():
    data = study_data(papers_subjects().query("case == 'c00'"))
    cells = printed_cells(table1(data))
    assert "(" not in cells["Multifidus left", LABELS["dice"]][0].text
    assert cells["Multifidus left", LABELS[VOLUME_ICC]][0].text == "–"
