"""Each flag where it belongs and not elsewhere, and the order of review."""

import numpy as np
import pytest

from paraspinal_nnunet import measure
from paraspinal_nnunet.anatomy import STRUCTURES
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.measures.quality import KINDS, TrainingDescription, severity_score
from paraspinal_nnunet.measures.result import Flag

AFFINE = np.diag([2.0, 2.0, 8.0, 1.0])
SHAPE = (100, 60, 40)
MILLILITRES = (120, 120, 300, 300, 160, 160)


def whole():
    """Six columns of about the paper's mean volumes in 320 mm: 32 mm3 voxels, 36 slices."""
    labels = np.zeros(SHAPE, np.uint8)
    places = [(52, 3), (32, 3), (72, 3), (12, 3), (70, 32), (15, 32)]
    for value, (ml, (x, y)) in enumerate(zip(MILLILITRES, places, strict=True), start=1):
        depth = round(ml * 1000 / 32 / 36 / 12)
        labels[x : x + 12, y : y + depth, 2:38] = value
    return labels


def flags(labels, image=None, affine=AFFINE, **options):
    given = None if image is None else (image, affine)
    return measure(given, (labels, affine), **options).flags


def kinds(found):
    return [(flag.kind, flag.subject) for flag in found]


def test_a_sound_case_has_none():
    assert flags(whole()) == ()
    assert measure(None, (whole(), AFFINE)).severity == 0


def changed(name):
    labels = whole()
    right = labels == 1
    if name == "missing":
        labels[right] = 0
    elif name == "sides":
        labels = np.where(right, 2, np.where(labels == 2, 1, labels))
    elif name == "fragments":
        labels[95:98, 50:56, 20:25] = 1
    elif name == "border":
        labels[0:12, 3:6, 20][labels[0:12, 3:6, 20] == 0] = 4
    elif name == "end of stack":
        labels[52:64, 3:12, 38:] = 1
    elif name == "gap":
        labels[:, :, 20][labels[:, :, 20] == 1] = 0
        labels[51, 3, 20] = 0
    return labels


@pytest.mark.parametrize(
    ("name", "subject", "severity"),
    [
        ("missing", "multifidus_right", "serious"),
        ("sides", "multifidus", "serious"),
        ("fragments", "multifidus_right", "warning"),
        ("border", "erector_spinae_left", "warning"),
        ("end of stack", "multifidus_right", "info"),
    ],
)
def test_one_fault_one_flag(name, subject, severity):
    found = [f for f in flags(changed(name)) if f.kind == name]
    assert [(f.subject, f.severity) for f in found] == [(subject, severity)]
    assert not set(kinds(flags(changed(name)))) - {(name, subject)}


def test_a_gap_is_two_flags():
    """One slice without the muscle cuts it in two."""
    found = {f.kind: f for f in flags(changed("gap"))}
    assert set(found) == {"gap", "fragments"}
    assert found["gap"].value == 1
    assert found["fragments"].severity == "serious"
    assert found["fragments"].value == pytest.approx(17 / 35)


def test_volumes_outside_three_sd():
    """Results: multifidus right 119.9 (25.7) ml, so that 197.0 ml is the upper limit and 42.8 ml the lower."""
    labels = whole()
    labels[52:64, 3:21, 2:38] = 1  # 18 rows: 248.8 ml
    labels[32:44, 3:21, 2:38] = 2
    found = [f for f in flags(labels) if f.kind == "volume"]
    assert [f.subject for f in found] == ["multifidus_right", "multifidus_left"]
    assert found[0].threshold == pytest.approx(119.9 + 3 * 25.7)
    assert found[0].value == pytest.approx(12 * 18 * 36 * 0.032)
    small = whole()
    small[:, 5:30][np.isin(small[:, 5:30], (1, 2))] = 0  # 2 rows: 27.6 ml
    assert [f.subject for f in flags(small) if f.kind == "volume"] == ["multifidus_right", "multifidus_left"]
    short = small[:, :, :20]  # half the field of view: small volumes mean nothing
    assert {f.kind for f in flags(short)} == {"field of view", "end of stack"}
    (ends,) = [f for f in flags(short) if f.kind == "end of stack"]  # one for all that end alike
    assert (ends.subject, ends.value) == ("", 1.0)
    assert ends.text == (
        "Multifidus right and left, erector spinae right and left, psoas major right and left "
        "reach the highest slice of the stack"
    )


@pytest.mark.parametrize(("rows", "severity"), [(8, None), (6, "warning"), (4, "serious")])
def test_asymmetry(rows, severity):
    """Nine rows left; 8 right: 12 %; 6: 40 %; 4: 77 %."""
    labels = whole()
    labels[52:64, 3 + rows : 20] = 0
    found = [f for f in flags(labels) if f.kind == "asymmetry"]
    assert [f.severity for f in found] == ([severity] if severity else [])
    if found:
        assert found[0].value == pytest.approx(100 * (rows - 9) / ((rows + 9) / 2))


def test_training_data():
    labels = whole()
    image = np.where(labels > 0, 50, 10) + np.arange(40) % 2
    z = measure((image, AFFINE), (labels, AFFINE)).structure("multifidus_right").intensity_z
    like = {s.key: (z, 0.1) for s in STRUCTURES[:6]}
    same = TrainingDescription.from_entry({"spacing_mm": [8.0, 2.0, 2.0], "muscle_intensity": like})
    assert flags(labels, image, training=same) == ()
    entry = {"spacing_mm": [5.0, 0.39, 0.39], "muscle_intensity": {"multifidus_left": [z - 0.4, 0.1]}}
    found = flags(labels, image, training=TrainingDescription.from_entry(entry))
    assert kinds(found) == [("spacing", ""), ("spacing", ""), ("intensity", "multifidus_left")]
    assert (found[0].value, found[0].threshold) == (8.0, 5.0)
    assert found[2].value == pytest.approx(4)
    assert TrainingDescription.from_entry({"spacing_mm": [0.39, 0.39]}).spacing_mm is None
    with pytest.raises(InputError, match="training entry cannot be understood"):
        TrainingDescription.from_entry({"spacing_mm": ["a", 1, 1]})


def test_folds_that_disagree():
    found = flags(
        whole(), disagreement={"multifidus_right": 0.3, "psoas_major_left": 0.12, "erector_spinae_left": 0.05}
    )
    assert [(f.kind, f.subject, f.severity) for f in found] == [
        ("folds", "multifidus_right", "serious"),
        ("folds", "psoas_major_left", "warning"),
    ]
    with pytest.raises(InputError, match="names 'liver'"):
        flags(whole(), disagreement={"liver": 0.1})


def test_no_threshold_is_flagged():
    found = flags(whole(), np.full(SHAPE, 3.0), fat_methods=("otsu",))
    assert {f.kind for f in found} == {"fat"}
    assert len(found) == 6


def test_in_ct_no_threshold_finds_fat():
    """Muscle of 50, fat of -100 and air of -1000 HU: the bright voxels, which thresholds call fat, are muscle."""
    labels = whole()
    image = np.full(SHAPE, -1000, np.int16)
    image[labels > 0] = np.random.default_rng(0).choice([50, -100], int((labels > 0).sum()), p=[0.9, 0.1])
    found = measure((image, AFFINE), (labels, AFFINE), fat_methods=("otsu", "gmm3"))
    fat = found.structure("psoas_major_left").fat_by("otsu")
    assert np.isnan(fat.fat_fraction)
    assert "Hounsfield" in fat.reason
    assert {flag.kind for flag in found.flags} == {"fat"}
    assert found.structure("psoas_major_left").intensity_mean == pytest.approx(35, abs=1)
    shifted = measure((image + 1000, AFFINE), (labels, AFFINE), fat_methods=("otsu",))
    assert shifted.structure("psoas_major_left").fat_by("otsu").fat_fraction == pytest.approx(0.9, abs=0.01)


def test_water_and_fat_that_are_exchanged_are_flagged():
    """Fat of 0.1 in all muscles becomes 0.9; of one wasted muscle alone nothing is said."""
    labels = whole()
    water, fat = np.full(SHAPE, 900, np.int16), np.full(SHAPE, 100, np.int16)
    right = {"water": (water, AFFINE), "fat": (fat, AFFINE)}
    assert measure(None, (labels, AFFINE), **right).flags == ()
    (flag,) = measure(None, (labels, AFFINE), water=right["fat"], fat=right["water"]).flags
    assert (flag.kind, flag.severity, flag.value) == ("fat", "serious", pytest.approx(0.9))
    assert "more fat than water in 6 of 6 muscles, 0.90 in the middle one" in flag.text
    water[labels == 1], fat[labels == 1] = 300, 700
    assert measure(None, (labels, AFFINE), **right).flags == ()


def test_order_of_review():
    def flag(severity):
        return Flag("gap", severity, "", "", 0.0, 0.0)

    assert severity_score([]) == 0
    many_warnings = [flag("warning")] * 60
    assert severity_score([flag("serious")]) > severity_score(many_warnings) > severity_score([flag("info")] * 60)
    labels = changed("missing")
    labels[52:64, 40:45, 20] = 3
    found = flags(labels)
    assert [f.severity for f in found] == sorted((f.severity for f in found), key=["serious", "warning", "info"].index)
    assert {f.kind for f in found} <= set(KINDS)
