"""Several processes train as one does: their shares make up its batches, and all end in the same weights."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from helpers.distributed_training import result, train_share, watch
from helpers.trainings import files, plans_of, trainer_of
from torch import multiprocessing

from paraspinal_nnunet.trainers import nnUNetTrainerParaspinal, nnUNetTrainerParaspinalDA

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
PROCESSES = 2


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
@pytest.mark.parametrize(
    ("trainer", "given"),
    [(nnUNetTrainerParaspinal, {"cache": "disk"}), (nnUNetTrainerParaspinalDA, {"cache": "device"})],
    ids=["from disk", "augmented, from the device's cache"],
)
def test_two_processes_train_as_one(tiny, tmp_path, trainer, given):
    """With plain gradient descent: AdamW makes whole steps of the rounding noise of gradients that are 0."""
    given = {**given, "optimizer": "sgd", "iterations": 4, "iterations_per_epoch": 2, "micro_batch_size": 1}
    one = trainer_of(tiny, trainer=trainer, **given)
    seen = watch(one)
    one.run_training()
    alone = {**seen, **result(one, one.network)}
    for file in files(one).values():
        file.unlink()

    dataset_json = json.loads((tiny.preprocessed / "dataset.json").read_text())
    arguments = (PROCESSES, str(tmp_path), trainer, plans_of(tiny, **given), dataset_json)
    multiprocessing.spawn(train_share, arguments, nprocs=PROCESSES)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]

    for number, whole in enumerate(alone["batches"]):
        shares = [rank["batches"][number] for rank in ranks]
        assert [len(share["keys"]) for share in shares] == [2, 2]
        assert [key for share in shares for key in share["keys"]] == whole["keys"]
        for what in ("data", "target"):
            assert torch.equal(torch.cat([share[what] for share in shares]), whole[what])
    for rank in ranks:
        assert rank["cache"] == given["cache"]
        assert [len(rank["batches"]), rank["held"] <= alone["held"]] == [4, True]
        for name, weight in alone["weights"].items():
            assert torch.equal(rank["weights"][name], ranks[0]["weights"][name])
            torch.testing.assert_close(rank["weights"][name], weight, rtol=0, atol=1e-6)
        for logged in ("train_losses", "val_losses", "mean_fg_dice"):
            assert rank[logged] == pytest.approx(alone[logged], rel=1e-4)
    assert "checkpoint_final.pth" in files(one)  # of the first process alone
