"""Masks with names and colours as 3D Slicer and ITK-SNAP take them."""
