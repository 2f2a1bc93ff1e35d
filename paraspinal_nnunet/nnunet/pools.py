"""nnU-Net's pools of worker processes: one worker that is asked for needs no process, which would import all again."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.context import BaseContext
from multiprocessing.pool import Pool, ThreadPool
from types import ModuleType
from typing import Any

_MODULES = (
    "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor",
    "nnunetv2.preprocessing.preprocessors.default_preprocessor",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
    "nnunetv2.evaluation.evaluate_predictions",
)
"""What plans, preprocesses, validates and measures. Source: nnU-Net 2.8."""

_LISTING = "nnunetv2.utilities.utils"
"""Lists a data set's files with a pool of 12 forked processes; ended while it is being forked, one never ends."""


@contextmanager
def one_worker_here() -> Iterator[None]:
    """Let nnU-Net's pools of one process be a thread of this process meanwhile; larger ones stay.

    A fresh process imports torch and nnU-Net for 5 to 7 seconds before it does anything. Files are listed without any.
    """
    ours = _Multiprocessing("multiprocessing")
    replaced: list[tuple[dict[str, Any], str, Any]] = [
        *((vars(import_module(name)), "multiprocessing", ours) for name in _MODULES),
        (vars(import_module(_LISTING)), "Pool", ThreadPool),
    ]
    before = [(names, name, names[name]) for names, name, _ in replaced]
    try:
        for names, name, new in replaced:
            names[name] = new
        yield
    finally:
        for names, name, old in before:
            names[name] = old


class _Multiprocessing(ModuleType):
    """The module as nnU-Net uses it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(multiprocessing, name)

    @staticmethod
    def get_context(method: str | None = None) -> "_Context":
        return _Context(multiprocessing.get_context(method))


class _Context:
    def __init__(self, context: BaseContext) -> None:
        self._context = context

    def Pool(self, processes: int | None = None) -> Pool:  # noqa: N802 - multiprocessing's name
        return ThreadPool(1) if processes == 1 else self._context.Pool(processes)
