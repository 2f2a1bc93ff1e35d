"""nibabel without pydicom, which it loads whole, for DICOM inside NIfTI headers: half its time and memory to begin.

Nothing here reads such headers. Every module takes nibabel from here.
"""

from paraspinal_nnunet.utils.packages import hidden

with hidden("pydicom"):
    import nibabel as nib
    from nibabel import affines, orientations, volumeutils

__all__ = ["affines", "nib", "orientations", "volumeutils"]
