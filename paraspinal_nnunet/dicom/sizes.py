"""Sizes that DICOM files claim, against what they hold: elements longer than the file, and deflated parts that grow."""

import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.dicom.packages import get_pydicom

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

MOST_BYTES = 256 * 1024**2
"""A file may inflate to that much whatever its size."""

MOST_RATIO = 100
"""Above it, to that many times its size: grey values of scans shrink by 2 to 4, empty margins by more."""

_BLOCK = 1 << 20

_PREAMBLE = 132
_GROUP_LENGTH = 12
"""Bytes of the element that says how long the meta information is. Source: DICOM PS3.10, section 7.1."""

_GROUP_LENGTH_START = b"\x02\x00\x00\x00UL\x04\x00"
"""Its tag, value representation and length."""


class _WithinSize(io.BufferedReader):
    """A file of which no more is asked for than it holds: Python takes the memory before it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _BLOCK:
            size = min(size, max(self._size - self.tell(), 0))
        return super().read(size)


def read_dicom(path: Path, **options: Any) -> "FileDataset":
    """As `pydicom.dcmread`, but an element that claims to be longer than the file takes no memory.

    Args:
        path: The file.
        **options: Of `pydicom.dcmread`.
    """
    with _WithinSize(path) as file:
        return get_pydicom().dcmread(file, **options)


def check_inflated(path: Path) -> None:
    """Refuse a deflated file that inflates beyond measure, in little memory and time.

    Raises:
        ValueError: Such a file, or one whose deflated part is damaged.
    """
    size = path.stat().st_size
    limit = max(MOST_BYTES, MOST_RATIO * size)
    with path.open("rb") as file:
        if not _is_deflated(file.read(4096)):
            return
        file.seek(_PREAMBLE)
        file.seek(_PREAMBLE + _GROUP_LENGTH + _meta_bytes(file.read(_GROUP_LENGTH)))
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (block := inflater.unconsumed_tail or file.read(_BLOCK)) and not inflater.eof:
            try:
                total += len(inflater.decompress(block, _BLOCK))
            except zlib.error as error:
                raise ValueError(f"its deflated part is damaged: {error}") from error
            if total > limit:
                raise ValueError(f"it inflates to more than {limit} bytes from {size}")


def _meta_bytes(element: bytes) -> int:
    """How long the meta information is; pydicom would read as much as any damaged element of it claims."""
    if element[:8] != _GROUP_LENGTH_START or len(element) < _GROUP_LENGTH:
        raise ValueError("its meta information does not begin with its length")
    return int.from_bytes(element[8:], "little")


def _is_deflated(start: bytes) -> bool:
    uid = get_pydicom().uid.DeflatedExplicitVRLittleEndian
    return b"UI" in start and str(uid).encode() in start
