"""The two packages that DICOM needs, behind accessors whose error names the extra."""

from types import ModuleType

from paraspinal_nnunet.utils.packages import optional_package


def get_pydicom() -> ModuleType:
    """Pydicom.

    Raises:
        SetupError: It is not installed.
    """
    return optional_package("pydicom", purpose="DICOM needs", extra="dicom")


def get_highdicom() -> ModuleType:
    """Highdicom with its `seg` and `spatial` modules.

    Raises:
        SetupError: It is not installed.
    """
    modules = ("highdicom.seg", "highdicom.spatial")
    return optional_package("highdicom", *modules, purpose="DICOM needs", extra="dicom")
