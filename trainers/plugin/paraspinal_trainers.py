"""The one module that nnUNet_extTrainer points at: it re-exports the trainers under their canonical classes.

nnU-Net imports it as a top-level module for a look-up and forgets it afterwards; the classes live on in their package,
so that they can be pickled and are the same for every look-up.
"""

from paraspinal_nnunet import trainers

globals().update({name: getattr(trainers, name) for name in trainers.__all__})
__all__ = list(trainers.__all__)
