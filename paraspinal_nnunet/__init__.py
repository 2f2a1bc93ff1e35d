"""Segmentation of the lumbar paraspinal muscles on axial T2 MRI with nnU-Net v2, after Wesselink et al. 2022.

`segment` and `measure` are the Python interface to what `paraspinal predict` and `paraspinal measure` do; they are
imported when they are first asked for. See docs/reference/python_api.md.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.utils.lazy import imported

if TYPE_CHECKING:
    from paraspinal_nnunet.inference.api import segment as segment
    from paraspinal_nnunet.measures.case import measure as measure

try:
    __version__ = version("paraspinal-nnunet")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {"measure": "measures.case", "segment": "inference.api"}
"""Public functions and where they are; importing this package alone stays cheap."""


def __getattr__(name: str) -> Any:
    """A public function, imported on first use."""
    return imported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    """What can be imported, the public functions included."""
    return sorted({*globals(), *_HOMES})
