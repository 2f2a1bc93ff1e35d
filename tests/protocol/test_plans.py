import json

import pytest

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.protocol.plans import ENTRY, PlansEntry, resolve


def plans(**overrides):
    numbers = {"patch_size": [16, 64, 48], "batch_size": 3, "spacing": [4.0, 1.0, 0.5]}
    return {
        ENTRY: PlansEntry("1.2", overrides, {"3d_fullres.patch_size": "few slices"}).to_json(),
        "configurations": {"3d_fullres": numbers, "2d": {**numbers, "patch_size": [64, 48]}},
    }


def test_the_entry_survives_json():
    entry = PlansEntry.of(json.loads(json.dumps(plans(iterations=5))))
    assert entry == PlansEntry("1.2", {"iterations": 5}, {"3d_fullres.patch_size": "few slices"})


def test_foreign_plans_have_none():
    assert PlansEntry.of({"plans_name": "nnUNetPlans"}) is None


def test_overrides_then_the_numbers_in_the_plans_hold():
    protocol = resolve(PAPER, plans(**{"iterations": 5, "3d_fullres.batch_size": 9}), "3d_fullres")
    assert protocol.training.iterations == 5
    assert (protocol.sampling_3d.batch_size, protocol.sampling_3d.patch_size) == (3, (16, 64, 48))
    assert protocol.preprocessing.spacing == (4.0, 1.0, 0.5)
    assert protocol.sampling_2d == PAPER.sampling_2d
    assert resolve(PAPER, plans(), "2d").sampling_2d.patch_size == (64, 48)


def test_without_configuration_only_overrides_hold():
    assert resolve(PAPER, plans(iterations=5)).sampling_3d == PAPER.sampling_3d


def test_unknown_overrides_are_refused():
    with pytest.raises(ProtocolError, match="'speed'"):
        resolve(PAPER, plans(speed=3), "2d")
