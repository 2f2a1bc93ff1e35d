"""Names and colours of the labels as files that 3D Slicer and ITK-SNAP load beside a mask."""

from collections.abc import Sequence
from pathlib import Path

from paraspinal_nnunet.anatomy import PARASPINAL, Structure
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.utils.files import write_text

SLICER_FILE = "labels.ctbl"
ITKSNAP_FILE = "labels_itksnap.txt"

_ITKSNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    IDX:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""


def slicer_colour_table(structures: Sequence[Structure] = PARASPINAL) -> str:
    """A colour table for 3D Slicer (.ctbl): label, name without spaces, red, green, blue, opacity of 0 to 255.

    Source: 3D Slicer's developer guide, 'Color table file format (.txt, .ctbl)'.

    Args:
        structures: The labels in the mask.

    Raises:
        LabelError: Two structures with one label, or none at all.
    """
    lines = ["# Color table file paraspinal muscles", f"# {len(structures) + 1} values", "0 Background 0 0 0 0"]
    for s in _ordered(structures):
        red, green, blue = s.colour
        lines.append(f"{s.label} {s.display_name.replace(' ', '_')} {red} {green} {blue} 255")
    return "\n".join(lines) + "\n"


def itksnap_labels(structures: Sequence[Structure] = PARASPINAL) -> str:
    """A label description file for ITK-SNAP (Segmentation > Import Label Descriptions).

    Source: the header that ITK-SNAP writes into such files.

    Args:
        structures: The labels in the mask.

    Raises:
        LabelError: Two structures with one label, or none at all.
    """
    rows = []
    for s in _ordered(structures):
        red, green, blue = s.colour
        rows.append(f'{s.label:5d}   {red:3d}  {green:3d}  {blue:3d}        1  1  1    "{s.display_name}"\n')
    return _ITKSNAP_HEAD + "".join(rows)


def write_lookup_tables(folder: Path, structures: Sequence[Structure] = PARASPINAL) -> tuple[Path, Path]:
    """Write both files beside the masks.

    Args:
        folder: Where the masks are.
        structures: The labels in the masks.

    Returns:
        The colour table and the label descriptions.

    Raises:
        LabelError: Two structures with one label, or none at all.
    """
    slicer, itksnap = Path(folder) / SLICER_FILE, Path(folder) / ITKSNAP_FILE
    write_text(slicer, slicer_colour_table(structures))
    write_text(itksnap, itksnap_labels(structures))
    return slicer, itksnap


def _ordered(structures: Sequence[Structure]) -> list[Structure]:
    labels = [s.label for s in structures]
    if not labels or len(set(labels)) != len(labels):
        raise LabelError(f"a look-up table needs distinct labels, got {sorted(labels)}; name each structure once")
    return sorted(structures, key=lambda s: s.label)
