"""Start-up hook for stock nnU-Net commands beside an unusable torchvision: see `paraspinal doctor`.

Python imports the first `sitecustomize` on its path when it starts. This one leaves an empty module where nnU-Net keeps
its Primus trainers, the only ones that need torchvision, and then runs the `sitecustomize` that it stands before.
"""

import importlib.machinery
import importlib.util
import os
import sys
import types

_PRIMUS = "nnunetv2.training.nnUNetTrainer.primus.primus_trainers"
sys.modules.setdefault(_PRIMUS, types.ModuleType(_PRIMUS))

_here = os.path.dirname(os.path.abspath(__file__))
_elsewhere = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _here]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _elsewhere)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
