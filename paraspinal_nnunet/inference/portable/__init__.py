"""Prediction with portable models: NumPy and an ONNX runtime, without torch, nnU-Net or MONAI."""

from paraspinal_nnunet.inference.portable.model import Mode, PortableModel, Segmentation, is_portable, open_model

__all__ = ["Mode", "PortableModel", "Segmentation", "is_portable", "open_model"]
