"""The two packages that DICOM needs, behind accessors whose error names the extra."""

from types import ModuleType

from paraspinal_nnunet.errors import SetupError

EXTRA = "pip install 'paraspinal-nnunet[dicom]'"


def get_pydicom() -> ModuleType:
    """Pydicom.

    Raises:
        SetupError: It is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise SetupError(f"DICOM needs pydicom, which is not installed ({error}); {EXTRA}") from error
    return pydicom


def get_highdicom() -> ModuleType:
    """Highdicom with its `seg` and `spatial` modules.

    Raises:
        SetupError: It is not installed.
    """
    try:
        import highdicom
        import highdicom.seg
        import highdicom.spatial
    except ImportError as error:
        raise SetupError(f"DICOM needs highdicom, which is not installed ({error}); {EXTRA}") from error
    return highdicom
