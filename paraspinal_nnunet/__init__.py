"""Segmentation of the lumbar paraspinal muscles on axial T2 MRI with nnU-Net v2, after Wesselink et al. 2022."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("paraspinal-nnunet")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
