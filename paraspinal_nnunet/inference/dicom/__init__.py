"""DICOM studies as scans to predict, and DICOM objects of what was predicted."""
