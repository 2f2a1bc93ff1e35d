"""Prediction with portable models: NumPy and an ONNX runtime, without torch, nnU-Net or MONAI."""

from paraspinal_nnunet.inference.portable.model import MODES, Mode, PortableModel, Segmentation, is_portable, open_model

__all__ = ["MODES", "Mode", "PortableModel", "Segmentation", "is_portable", "open_model"]
