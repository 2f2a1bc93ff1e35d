import json

import pytest

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.overrides import override, parse_settings, settable
from paraspinal_nnunet.protocol.paper import PAPER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iterations=400", {"iterations": 400}),
        ("iterations=3e4", {"iterations": 30_000}),
        (" iterations = 400 ", {"iterations": 400}),
        ("learning_rate=1e-4", {"learning_rate": 1e-4}),
        ("spacing=4,1,1", {"spacing": [4.0, 1.0, 1.0]}),
        ("channels=8,16,32,64,128", {"channels": [8, 16, 32, 64, 128]}),
        ("micro_batch_size=10", {"micro_batch_size": 10}),
        ("micro_batch_size=none", {"micro_batch_size": None}),
        ("gradient_clipping=12", {"gradient_clipping": 12.0}),
        ("seed=0", {"seed": 0}),
        ("weight_decay=0", {"weight_decay": 0.0}),
        ("batch_size=8", {"2d.batch_size": 8, "3d_fullres.batch_size": 8}),
        ("3d_fullres.batch_size=2", {"3d_fullres.batch_size": 2}),
        ("patch_size=96,64", {"2d.patch_size": [96, 64], "3d_fullres.patch_size": [96, 64]}),
        ("patch_size=16,96,64", {"3d_fullres.patch_size": [16, 96, 64]}),
        ("augmentation=paper", {"augmentation": "paper"}),
        ("augmentation.exchange_labels=false", {"augmentation.exchange_labels": False}),
        ("augmentation.originals=True", {"augmentation.originals": True}),
        ("augmentation.rotation_deg=0,0,2.5", {"augmentation.rotation_deg": [0.0, 0.0, 2.5]}),
        ("augmentation.flip_probability=0", {"augmentation.flip_probability": 0.0}),
    ],
)
def test_settings_are_read(text, expected):
    found = parse_settings([text])
    assert {key: found[key] for key in found if not key.startswith("2.5d")} == expected


def test_a_named_configuration_has_the_last_word_in_any_order():
    for settings in (["3d_fullres.batch_size=2", "batch_size=8"], ["batch_size=8", "3d_fullres.batch_size=2"]):
        found = parse_settings(settings)
        assert (found["2d.batch_size"], found["3d_fullres.batch_size"]) == (8, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iterations", "write NAME=VALUE"),
        ("iteration=5", "unknown setting; known are .*iterations"),
        ("iterations=many", "expected a whole number"),
        ("iterations=2.5", "expected a whole number"),
        ("iterations=inf", "expected a whole number"),
        ("iterations=nan", "expected a whole number"),
        ("iterations=none", "expected a whole number"),
        ("iterations=0", "greater than 0"),
        ("iterations=-1", "greater than 0"),
        ("micro_batch_size=0", "greater than 0"),
        ("val_iterations=0", "greater than 0"),
        ("learning_rate=nan", "finite"),
        ("learning_rate=inf", "finite"),
        ("patch_size=96.5,96", "numbers separated by commas"),
        ("patch_size=96", "give y,x"),
        ("2d.patch_size=16,96,96", "give y,x"),
        ("3d_fullres.patch_size=1,16,96,96", "give z,y,x, or y,x"),
        ("patch_size=", "numbers separated by commas"),
        ("spacing=1,1", r"give 3 numbers \(z,y,x\)"),
        ("spacing=5,0,1", "greater than 0"),
        ("foreground_ratio=1.5", "between 0 and 1"),
        ("augmentation.flip_probability=1.1", "between 0 and 1"),
        ("augmentation.exchange_labels=maybe", "true or false"),
        ("augmentation.translation_voxels=25", r"give 3 numbers \(z,y,x\)"),
        ("augmentation.elastic_sigma=6,7,8", r"give 2 numbers \(least,most\)"),
        ("augmentation.elastic_sigma=0,8", "greater than 0"),
        ("augmentation.pool=0", "greater than 0"),
        ("folds=1", "at least 2 folds"),
        ("loss=focal", "choose from dice_ce"),
        ("augmentation=magic", "choose from none"),
        ("subjects=80", "unknown setting"),
        ("step_size=0.75", "unknown setting"),
    ],
)
def test_unusable_settings_are_refused_in_one_line(text, message):
    with pytest.raises(ProtocolError, match=message) as error:
        parse_settings([text])
    assert "\n" not in str(error.value)
    assert text.partition("=")[0] in str(error.value)


def test_overrides_reach_the_protocol_through_json():
    overrides = json.loads(json.dumps(parse_settings(["iterations=400", "patch_size=64,64", "spacing=4,1,1"])))
    protocol = override(PAPER, overrides)
    assert protocol.training.iterations == 400
    assert protocol.sampling_2d.patch_size == (64, 64)
    assert protocol.preprocessing.spacing == (4.0, 1.0, 1.0)
    assert protocol.network == PAPER.network
    assert PAPER.training.iterations == 30_000


def test_every_number_that_may_be_set_is_set():
    for key, entry in settable().items():
        marker = entry.value if entry.choices else [7] if entry.kind is tuple else 7
        assert settable(override(PAPER, {key: marker}))[key].value == (tuple(marker) if marker == [7] else marker)


def test_unknown_keys_in_plans_are_refused():
    with pytest.raises(ProtocolError, match="unknown protocol setting 'speed'"):
        override(PAPER, {"speed": 1})


def test_facts_about_the_study_are_no_settings():
    assert not {"subjects", "mirroring", "step_size"} & set(settable())
