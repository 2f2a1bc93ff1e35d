"""Which model stands for which arm, and which analyses follow."""

import json

import pandas as pd
import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.comparison.design import (
    COLUMNS,
    Factorial,
    depth_rivals,
    infer_design,
    plan_analyses,
    published_names,
    read_design,
)
from paraspinal_nnunet.evaluation.record import EvaluationRecord, ModelRecord


def design(*rows):
    """Rows of model, dimension, augmentation, depth, is_baseline."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"depth": "Int64", "is_baseline": bool})


PAPERS = (
    ("a", "2D", "none", 5, False),
    ("b", "2D", "paper", 5, False),
    ("c", "3D", "none", 5, False),
    ("d", "3D", "paper", 5, False),
)
DEEP = ("deep", "2D", "none", 6, False)
BASELINE = ("nnunet", "2D", "nnunet", None, True)


def record(tmp_path, **models):
    """Model -> (trainer, configuration, {fold: (augmentation, channels)})."""
    entries = {}
    for name, (trainer, configuration, folds) in models.items():
        folder = tmp_path / name
        for fold, settings in folds.items():
            (folder / f"fold_{fold}").mkdir(parents=True)
            if settings:
                augmentation, channels = settings
                keys = [{"key": "augmentation", "value": augmentation}, {"key": "channels", "value": channels}]
                (folder / f"fold_{fold}" / "protocol.json").write_text(json.dumps({"settings": keys}))
        info = {"trainer": trainer, "plans": "P", "configuration": configuration} if trainer else {}
        entries[name] = ModelRecord(folder, "out-of-fold", tuple(folds), info, {})
    return EvaluationRecord("0", tmp_path, (), entries)


BASE = [16, 32, 64, 128, 256]


def rows(frame):
    return [tuple(None if v is pd.NA else v for v in row) for row in frame.itertuples(index=False, name=None)]


def test_the_models_folders_tell_the_design(tmp_path):
    found = infer_design(
        ["one", "two", "three", "four", "five", "six"],
        record(
            tmp_path,
            one=("nnUNetTrainerParaspinal", "2d", {"0": ("none", BASE)}),
            two=("nnUNetTrainerParaspinalDA", "3d_fullres", {}),
            three=("nnUNetTrainerParaspinalDeep", "2d", {"0": ("none", [*BASE, 512]), "1": ("none", [*BASE, 512])}),
            four=("nnUNetTrainerBaselineNoMirroring", "3d_fullres", {}),
            five=("nnUNetTrainerParaspinalGroupNorm", "2.5d", {"0": ("none", BASE)}),
            six=("", "", {}),
        ),
    )
    assert rows(found) == [
        ("one", "2D", "none", 5, False),
        ("two", "3D", "paper", 5, False),
        ("three", "2D", "none", 6, False),
        ("four", "3D", "nnunet", None, True),
        ("five", "2.5D", "none", 5, True),
        ("six", "", "", None, False),
    ]


def test_what_was_trained_counts_more_than_the_trainers_name(tmp_path):
    found = infer_design(["m"], record(tmp_path, m=("nnUNetTrainerParaspinal", "2d", {"0": ("paper", [*BASE, 512])})))
    assert rows(found) == [("m", "2D", "paper", 6, False)]


def test_folds_that_were_trained_differently(tmp_path):
    models = record(tmp_path, m=("nnUNetTrainerParaspinal", "2d", {"0": ("none", BASE), "1": ("paper", BASE)}))
    with pytest.raises(InputError, match=r"model m: its folds were trained differently .*fold 1: paper"):
        infer_design(["m"], models)


def test_no_record_leaves_everything_unknown():
    assert rows(infer_design(["m"], None)) == [("m", "", "", None, False)]


def test_a_written_design(tmp_path):
    path = tmp_path / "design.tsv"
    path.write_text(
        "model,dimension,augmentation,depth,is_baseline,remark\nx,2d,no,5,,\ny,3D,with DA,6,TRUE,z\nother,2D,,,false,\n"
    )
    assert rows(read_design(path, ["y", "x"])) == [("y", "3D", "paper", 6, True), ("x", "2D", "none", 5, False)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,dimension\nm,2D\n", "needed are model, dimension, augmentation, depth, is_baseline"),
        ("model,dimension,augmentation,depth,is_baseline\nn,2D,no,5,\n", "no row for model m"),
        ("model,dimension,augmentation,depth,is_baseline\nm,2D,no,5,\nm,2D,no,5,\n", "names the model m twice"),
        ("model,dimension,augmentation,depth,is_baseline\nm,2D,no,deep,\n", "depth of m is 'deep'"),
        ("model,dimension,augmentation,depth,is_baseline\nm,2D,no,5,perhaps\n", "is_baseline of m is 'perhaps'"),
    ],
)
def test_a_design_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "design.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_design(path, ["m"])


def test_the_papers_four_arms():
    plan = plan_analyses(design(*PAPERS, DEEP, BASELINE))
    assert plan.arms == ("a", "b", "c", "d")
    assert plan.factorials == (Factorial(("dimension", "augmentation"), ("a", "b", "c", "d"), True),)
    assert plan.reasons == ()


def test_three_arms_cross_one_factor_at_a_time():
    plan = plan_analyses(design(*PAPERS[:3]))
    assert set(plan.factorials) == {
        Factorial(("augmentation",), ("a", "b"), False),
        Factorial(("dimension",), ("a", "c"), False),
    }
    assert plan.reasons == ("the paper's dimension x augmentation x muscle: no model stands for 3D with DA",)


def test_a_third_dimension_is_crossed_beside_the_papers_four():
    plan = plan_analyses(design(*PAPERS, ("e", "2.5D", "none", 5, False)))
    assert plan.factorials[0].models == ("a", "b", "c", "d")
    assert plan.factorials[1:] == (Factorial(("dimension",), ("a", "c", "e"), False),)
    assert plan.arms == ("a", "b", "c", "d", "e")


def test_six_arms_still_give_the_papers_four():
    plan = plan_analyses(design(*PAPERS, ("e", "2.5D", "none", 5, False), ("f", "2.5D", "paper", 5, False)))
    assert [f.models for f in plan.factorials] == [("a", "b", "c", "d"), ("a", "b", "c", "d", "e", "f")]
    assert [f.is_papers for f in plan.factorials] == [True, False]


def test_two_models_for_one_arm_are_named():
    plan = plan_analyses(design(*PAPERS, ("twin", "2D", "none", 5, False)))
    assert "a, twin stand for the same arm (2D none)" in plan.reasons
    assert not any("a" in factorial.models for factorial in plan.factorials)


def test_unknown_designs_are_arms_without_factorial():
    plan = plan_analyses(design(("x", "", "", None, False), ("y", "", "", None, False), BASELINE))
    assert plan.arms == ("x", "y")
    assert plan.factorials == ()
    assert "dimension or augmentation of x, y is unknown" in plan.reasons[0]


def test_baselines_alone_are_arms():
    assert plan_analyses(design(BASELINE)).arms == ("nnunet",)


def test_depth_rivals():
    frame = design(*PAPERS, DEEP, ("deep3d", "3D", "none", 6, False), ("other", "2D", "none", 6, True))
    assert depth_rivals(frame, "a") == ("deep",)
    assert depth_rivals(frame, "c") == ("deep3d",)
    assert depth_rivals(frame, "b") == ()
    assert depth_rivals(design(("x", "", "", None, False), DEEP), "x") == ()


def test_the_papers_names():
    assert published_names(design(*PAPERS, DEEP, BASELINE)) == {
        "a": "2D without DA",
        "b": "2D with DA",
        "c": "3D without DA",
        "d": "3D with DA",
    }
    assert published_names(design(("e", "2.5D", "none", 5, False), ("f", "2D", "mm", 5, False))) == {}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("TRUE", True),
        ("x", True),
        ("Yes", True),
        ("1.0", True),
        ("FALSE", False),
        ("n", False),
        ("-", False),
        ("", False),
    ],
)
def test_truth_as_people_write_it(tmp_path, word, expected):
    path = tmp_path / "design.tsv"
    path.write_text(f"model,dimension,augmentation,depth,is_baseline\nm,2D,none,5.0,{word}\n")
    assert rows(read_design(path, ["m"])) == [("m", "2D", "none", 5, expected)]


def test_an_unknown_dimension_is_refused(tmp_path):
    path = tmp_path / "design.tsv"
    path.write_text("model,dimension,augmentation,depth,is_baseline\nm,4D,none,5,\n")
    with pytest.raises(InputError, match="dimension of m is '4D'"):
        read_design(path, ["m"])
