"""Published numbers of other people's data: each has a source, and ours stand beside them where we have any."""

import pandas as pd

from paraspinal_nnunet.evaluation.paper.anchors import NAMES, anchor_table, anchors

TABLE1 = pd.DataFrame(
    [
        *[("best", "Multifidus left", metric, mean) for metric, mean in (("dice", 0.9), ("jaccard", 0.82))],
        *[("best", "Psoas major left", metric, mean) for metric, mean in (("dice", 0.951), ("jaccard", 0.82))],
        ("best", "Psoas major left", "volume_icc", float("nan")),
        ("worse", "Psoas major left", "dice", 0.1),
    ],
    columns=["model", "muscle", "metric", "mean"],
)


def rows(frames):
    return anchor_table(frames, "best").set_index("quantity")


def test_every_anchor_says_of_whom_and_where():
    found = anchors()
    assert len({a.key for a in found}) == len(found) >= 7
    assert {a.quantity for a in found} <= NAMES.keys()
    assert all(a.data and "doi:10." in a.source for a in found)


def test_the_papers_own_numbers_are_its_statements():
    assert [(a.quantity, a.printed) for a in anchors() if "s41598-022-16710-5" in a.source] == [
        ("dice", "≥ 0.885"),
        ("inter-rater dice", "≥ 0.904"),
        ("volume_icc", "≥ 0.941"),
        ("inter-rater icc", "≥ 0.940"),
    ]


def test_ours_are_the_lowest_and_highest_muscle_of_the_best_model():
    table = rows({"table1": TABLE1})
    assert set(table.loc["Dice", "ours"]) == {"0.900 to 0.951"}
    assert table.loc["Jaccard", "ours"] == "0.820"
    assert table.loc["ICC(2,1) of volumes", "ours"] == "–"
    assert table.loc["Dice of two raters", "ours"] == "–"
    raters = pd.DataFrame({"dice_mean": [0.91, 0.93], "icc": [0.95, 0.99]})
    table = rows({"table1": TABLE1, "inter_rater": raters})
    assert table.loc["Dice of two raters", "ours"] == "0.910 to 0.930"
    assert table.loc["ICC(2,1) of two raters' volumes", "ours"] == "0.950 to 0.990"
