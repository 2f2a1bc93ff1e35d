"""Every trainer by name, with what it changes against the paper: read from the classes themselves."""

from dataclasses import dataclass

from paraspinal_nnunet import trainers
from paraspinal_nnunet.protocol.paper import PAPER, entries
from paraspinal_nnunet.protocol.table import value_text
from paraspinal_nnunet.trainers.base import ParaspinalTrainer


@dataclass(frozen=True)
class TrainerEntry:
    """One trainer.

    Attributes:
        name: What ``-tr`` takes.
        what: The first sentence of its docstring.
        changes: Protocol key, the paper's value, the trainer's value; empty for the paper's own arm and for baselines.
        is_baseline: nnU-Net's own trainer.
    """

    name: str
    what: str
    changes: tuple[tuple[str, str, str], ...]
    is_baseline: bool

    @property
    def difference(self) -> str:
        """The changes in words."""
        if self.is_baseline:
            return "nnU-Net's own protocol"
        return "; ".join(f"{key} {ours} instead of {papers}" for key, papers, ours in self.changes) or "none"


def list_trainers() -> list[TrainerEntry]:
    """All trainers: the paper's arm first, then the others of the paper, the ablations, and the baselines."""
    classes = [getattr(trainers, name) for name in trainers.__all__]
    listed = [_entry(c) for c in classes]
    return sorted(listed, key=lambda e: (e.is_baseline, len(e.changes) > 0, e.name))


def _entry(trainer: type) -> TrainerEntry:
    what = " ".join((trainer.__doc__ or "").split("\n\n")[0].split())
    if not issubclass(trainer, ParaspinalTrainer):
        return TrainerEntry(trainer.__name__, what, (), True)
    papers = {(e.section, e.name): e.value for e in entries(PAPER)}
    changes = tuple(
        (e.key, value_text(papers[e.section, e.name]), value_text(e.value))
        for e in entries(trainer.settings)
        if e.value != papers[e.section, e.name]
    )
    return TrainerEntry(trainer.__name__, what, changes, False)
