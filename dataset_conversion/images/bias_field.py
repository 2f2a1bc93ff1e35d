"""N4 correction of the bias field, which the paper names as a source of uneven intensities: an option of conversion."""

from types import ModuleType

import numpy as np

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.utils.packages import optional_package

FITTED_SPACING_MM = 4.0
"""The field is smooth: it is fitted on voxels of about this size and evaluated on all."""

CONVERGENCE = 1e-3
ITERATIONS = (50, 50, 50)
"""Per level of the B-spline. Source: ITK's defaults, Tustison et al. 2010, doi:10.1109/TMI.2010.2046908."""


def get_simpleitk() -> ModuleType:
    """SimpleITK.

    Raises:
        SetupError: It is not installed.
    """
    return optional_package("SimpleITK", purpose="N4 needs", extra="itk")


def check_magnitudes(image: Volume, name: str) -> None:
    """Refuse an image that N4 cannot correct.

    Raises:
        InputError: Negative intensities.
    """
    if image.array.min() < 0:
        raise InputError(f"{name}: holds negative intensities ({image.array.min():g}); N4 needs magnitudes")


def correct_bias_field(image: Volume, name: str) -> Volume:
    """Divide an image by the bias field that N4 finds in it.

    The field is fitted to the voxels above Otsu's threshold. Zero voxels stay zero.

    Args:
        image: Intensities of 0 and above.
        name: File, for messages.

    Returns:
        The corrected image as float32, on the same grid.

    Raises:
        InputError: Negative intensities, whose logarithm N4 cannot take.
        SetupError: The extra ``[itk]`` is not installed.
    """
    check_magnitudes(image, name)
    sitk = get_simpleitk()
    full = sitk.GetImageFromArray(image.array.astype(np.float32).T)
    full.SetSpacing(image.spacing_mm)
    grid = zip(image.spacing_mm, image.shape, strict=True)
    factors = [max(1, min(round(FITTED_SPACING_MM / mm), n // 4)) for mm, n in grid]
    fitted = sitk.Shrink(full, factors)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(ITERATIONS)
    corrector.SetConvergenceThreshold(CONVERGENCE)
    corrector.Execute(fitted, sitk.OtsuThreshold(fitted, 0, 1, 200))
    field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(full)).T
    corrected = image.array / np.exp(field)
    return Volume(corrected.astype(np.float32), image.affine)
