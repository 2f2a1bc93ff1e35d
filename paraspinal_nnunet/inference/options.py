"""How a model is applied to a scan: one set of options for the command, the batch and Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paraspinal_nnunet.errors import InputError

MODES = ("tiles", "fast")
SMALLEST_STEP = 0.05
"""Smaller steps only cost: at a twentieth of the patch a voxel lies under 400 tiles of its slice."""

LONGEST_S = 1_000_000
"""A clock cannot be set to any time; no scan takes this one."""


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """How a model is applied.

    Attributes:
        folds: Folds to average; all trained ones when None.
        device: ``'cuda'``, ``'cpu'``, ``'mps'`` or None for the best there is.
        step_size: Step between tiles as a share of the patch.
        mirroring: Average over mirrored images where the model was trained so; ours never are.
        mode: Portable models: ``'tiles'`` gives nnU-Net's labels, ``'fast'`` lays fewer tiles.
        runtime: Portable models: ``'auto'``, ``'onnxruntime'`` or ``'openvino'``.
        threads: Portable models: processor threads; all when None.
        post: Clean-ups of the mask by name, in this order; see `image_io.masks.postprocessing.STEPS`.
        uncertainty: Portable models of several folds: tell how far the folds disagree.
        timeout: Seconds that the network may take for a scan; no limit when None.
    """

    folds: Sequence[str] | None = None
    device: str | None = None
    step_size: float = 0.5
    mirroring: bool = True
    mode: str = "tiles"
    runtime: str = "auto"
    threads: int | None = None
    post: Sequence[str] = ()
    uncertainty: bool = False
    timeout: float | None = None

    def check(self) -> None:
        """Refuse what no model can be applied with.

        Raises:
            InputError: A mode, step or time that cannot be.
            ProtocolError: An unknown clean-up.
        """
        if self.mode not in MODES:
            raise InputError(f"mode '{self.mode}' is unknown; take one of {', '.join(MODES)}")
        if not SMALLEST_STEP <= self.step_size <= 1:
            raise InputError(f"a step of {self.step_size} of the patch cannot be; give {SMALLEST_STEP} to 1")
        if self.timeout is not None and not 0 < self.timeout <= LONGEST_S:
            raise InputError(f"a time of {self.timeout} s cannot be; give more than 0, at most {LONGEST_S}")
        if self.post:
            from paraspinal_nnunet.image_io.masks.postprocessing import check_steps

            check_steps(self.post)

    @property
    def chosen_folds(self) -> list[str] | None:
        """The folds that are asked for, each once, without nnU-Net's ``fold_``."""
        folds = [str(fold).removeprefix("fold_") for fold in self.folds or ()]
        return sorted(set(folds)) or None

    @property
    def of_masks(self) -> dict[str, Any]:
        """What a mask depends on, as records hold it; the machine's part is left out."""
        return {
            "mode": self.mode,
            "step_size": self.step_size,
            "mirroring": self.mirroring,
            "folds": self.chosen_folds,
            "post": list(self.post),
        }
