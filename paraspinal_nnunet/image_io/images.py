"""THE way in for images: a scan or label map of any format that is read here, by its name's ending."""

from collections.abc import Sequence
from pathlib import Path

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io import nifti
from paraspinal_nnunet.image_io.geometry import check_axes
from paraspinal_nnunet.image_io.metaimage import parse_metaimage
from paraspinal_nnunet.image_io.nrrd import parse_nrrd
from paraspinal_nnunet.image_io.raw_voxels import load_voxels
from paraspinal_nnunet.image_io.volume import Volume, as_uint8, check_finite, with_integers
from paraspinal_nnunet.utils.guards import guarded

NIFTI_ENDINGS = (".nii.gz", ".nii")
METAIMAGE_ENDINGS = (".mha", ".mhd")
NRRD_ENDINGS = (".nrrd", ".nhdr")
ENDINGS = (*NIFTI_ENDINGS, *METAIMAGE_ENDINGS, *NRRD_ENDINGS)


def ending_of(name: str, endings: Sequence[str] = ENDINGS) -> str:
    """The format of a file by its name, capitals aside, e.g. ``'.nii.gz'``; '' where it is none of `endings`.

    >>> ending_of("A.NII.GZ"), ending_of("a.png")
    ('.nii.gz', '')
    """
    return next((ending for ending in endings if name.lower().endswith(ending)), "")


def with_small_ending(name: str, endings: Sequence[str] = ENDINGS) -> str:
    """A name whose ending is in small letters, so that names compare whatever their endings' capitals.

    >>> with_small_ending("A_img.Nii.GZ")
    'A_img.nii.gz'
    """
    ending = ending_of(name, endings)
    return name[: len(name) - len(ending)] + ending


def without_ending(name: str, endings: Sequence[str] = ENDINGS) -> str:
    """A file's name without its ending, in whatever case.

    >>> without_ending("sub-01_0000.nii.gz"), without_ending("notes.txt")
    ('sub-01_0000', 'notes.txt')
    """
    return name[: len(name) - len(ending_of(name, endings))]


def stem_of(name: str, endings: Sequence[str] = ENDINGS) -> str:
    """A file's name without its ending, in whatever case, and nnU-Net's channel number.

    >>> stem_of("sub-01_0000.nii.gz"), stem_of("SUB-01.NII"), stem_of("notes.txt")
    ('sub-01', 'SUB-01', 'notes.txt')
    """
    return without_ending(name, endings).removesuffix("_0000")


def images_in(folder: Path, endings: Sequence[str] = ENDINGS) -> list[Path]:
    """The visible image files of a folder, sorted; those of its sub-folders are not."""
    return sorted(p for p in folder.iterdir() if ending_of(p.name, endings) and p.name[0] != "." and p.is_file())


def read_image(path: Path) -> Volume:
    """Read a scan: MetaImage or NRRD by its ending, else NIfTI.

    Raises:
        InputError: Missing, damaged, truncated, not 3D, more than one channel, NaN or infinite voxels.
        GeometryError: No orientation or voxel size, sheared or degenerate axes, an unknown unit of length.
    """
    volume = _read(Path(path))
    check_finite(volume.array, path)
    return volume


def read_labels(path: Path) -> Volume:
    """Read a label map of whatever scheme; floating-point files are accepted when all values are integers.

    Returns:
        The map with an integer type: the stored one, or int32.

    Raises:
        InputError: As `read_image`.
        GeometryError: As `read_image`.
        LabelError: Values that are not integers.
    """
    return with_integers(_read(Path(path)), path)


def read_uint8_labels(path: Path, name: str = "") -> Volume:
    """Read a label map with values up to 255; one that is stored as uint8 is not copied, and axes may be sheared.

    Args:
        path: The file.
        name: Case and model, which messages begin with.

    Raises:
        InputError: As `read_image`.
        GeometryError: As `read_image`.
        LabelError: Values that are not integers from 0 to 255.
    """
    try:
        return as_uint8(_read(path, allow_shear=True), path)
    except InputError as error:
        if not name:
            raise
        raise type(error)(f"{name}: {error}") from error


def _read(path: Path, *, allow_shear: bool = False) -> Volume:
    parse = {**dict.fromkeys(METAIMAGE_ENDINGS, parse_metaimage), **dict.fromkeys(NRRD_ENDINGS, parse_nrrd)}
    if (ending := ending_of(path.name)) not in parse:
        return nifti.read_volume(path, allow_shear=allow_shear)
    with guarded(path):
        stored = parse[ending](path)
        check_axes(stored.affine, path, allow_shear=allow_shear)
        return Volume(load_voxels(stored, path), stored.affine, stored.remarks, stored.value_names)
