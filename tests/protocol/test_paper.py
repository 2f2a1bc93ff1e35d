from dataclasses import FrozenInstanceError, replace

import pytest

from paraspinal_nnunet.protocol.paper import PAPER, Protocol, entries

# Read off the paper (Methods: Image acquisition, Modified U-Net, Training; Results) and the authors' public code.
PAPERS = {
    "subjects": 76,
    "female": 46,
    "second_rater_subjects": 25,
    "folds": 3,
    "spacing": (5.0, 0.39, 0.39),
    "channels": (16, 32, 64, 128, 256),
    "strides": (1, 2, 2, 2),
    "num_res_units": 2,
    "kernel_size": 3,
    "2d.patch_size": (256, 256),
    "2d.batch_size": 200,
    "2d.crops_per_case": 4,
    "3d_fullres.patch_size": (32, 256, 256),
    "3d_fullres.batch_size": 10,
    "3d_fullres.crops_per_case": 1,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "iterations": 30_000,
    "foreground_ratio": 0.5,
    "seed": 0,
    "gradient_clipping": None,
    "precision": "fp32",
    "schedule": "constant",
    "mirroring": False,
    "iterations_per_epoch": 250,
    "val_iterations": 2,
}


@pytest.mark.parametrize(("key", "value"), PAPERS.items())
def test_the_papers_numbers(key, value):
    found = {e.key: e.value for e in entries()}
    assert found[key] == value


def test_every_number_has_a_source_and_a_key_of_its_own():
    all_entries = list(entries())
    assert all(e.source for e in all_entries)
    assert len({e.key for e in all_entries}) == len(all_entries)


def test_batches_are_images_times_samples():
    assert PAPER.sampling("2d").batch_size == 50 * PAPER.sampling("2d").crops_per_case
    assert PAPER.sampling("3d_fullres").batch_size == 10 * PAPER.sampling("3d_fullres").crops_per_case


def test_the_length_is_120_whole_epochs():
    assert PAPER.training.iterations == 120 * PAPER.bookkeeping.iterations_per_epoch


def test_a_variant_leaves_the_paper_alone():
    variant = replace(PAPER, training=replace(PAPER.training, seed=1))
    assert (variant.training.seed, PAPER.training.seed) == (1, 0)
    assert variant != PAPER
    assert Protocol() == PAPER
    with pytest.raises(FrozenInstanceError):
        PAPER.training.seed = 2


def test_kinds_of_numbers_that_may_be_none():
    kinds = {e.key: e.kind for e in entries()}
    assert (kinds["micro_batch_size"], kinds["threads"], kinds["gradient_clipping"]) == (int, int, float)
