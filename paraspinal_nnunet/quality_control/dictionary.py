"""What the columns of an inspection's tables mean, as BIDS has it beside each table."""

import re
from collections.abc import Iterable, Mapping

from paraspinal_nnunet.utils.spreadsheet import Column

_AXIS = r"_(right|front|head)"
_CASES = (
    Column("case", "", "id of the case"),
    Column("subject", "", "whom it shows; cases of one subject stay in one fold"),
    Column(f"shape{_AXIS}", "count", "voxels along the axis nearest to the patient's right, front or head"),
    Column(f"spacing_mm{_AXIS}", "mm", "distance of voxels along the same axis"),
    Column("stored_axes", "", "orientation of the stored axes, e.g. LPS"),
    Column("obliquity_deg", "deg", "largest angle between a stored axis and the patient's axis nearest to it"),
    Column("first_labelled", "", "lowest slice with any label, from 1 at the feet; 0 where there is none"),
    Column("last_labelled", "", "highest slice with any label"),
    Column("labelled_mm", "mm", "from the one to the other"),
    Column("empty_inside", "count", "slices between them without any label"),
    Column("empty_below", "count", "slices below the lowest with a label"),
    Column("empty_above", "count", "slices above the highest"),
    Column(r"findings_(problem|look|note)", "count", "findings of this severity that name the case"),
)
_INTENSITIES = (
    Column("minimum", "image units", "smallest intensity"),
    Column(r"p\d+", "image units", "percentile of all voxels' intensities, by its rank"),
    Column("maximum", "image units", "largest intensity"),
    Column("mean", "image units", "mean intensity of all voxels"),
    Column("sd", "image units", "standard deviation of their intensity"),
    Column("zero_share", "1", "voxels of intensity 0 as a share of all"),
    Column("number_type", "", "as stored"),
)
_CLASS = (
    Column("volume_ml", "ml", "volume"),
    Column("length_mm", "mm", "from the lowest to the highest slice with it, both included"),
    Column("area_cm2", "cm2", "mean cross-section: volume by length"),
    Column("x_mm", "mm", "centroid along the patient's axis to the right (RAS x)"),
    Column("islands", "count", "connected pieces beyond the largest"),
    Column("island_ml", "ml", "volume of all of those"),
    Column("border_voxels", "count", "voxels in the outermost rows and columns of the image"),
)
_MUSCLE = (Column("asymmetry_percent", "%", "100 x (right - left) / mean of both volumes"),)
FINDINGS = (
    Column("severity", "", "problem: contradicts the data set or would spoil a training; look: may be right; note"),
    Column("kind", "", "what it is about"),
    Column("case", "", "the case, several joined by commas, or n/a for the data set"),
    Column("text", "", "what was found"),
    Column("weight", "", "larger is worse among findings of one severity and kind"),
)


def cases_dictionary(
    names: Iterable[str], *, channels: Iterable[str], classes: Iterable[str], muscles: Iterable[str]
) -> dict[str, Mapping[str, str]]:
    """The entry of every column of the table of cases.

    Args:
        names: Its header.
        channels: Of the data set; their names stand before intensities where there are several.
        classes: Names of the labels, which stand before their measures.
        muscles: Names that stand before what compares both sides.

    Raises:
        KeyError: A column that nothing explains.
    """
    parts: dict[str, tuple[Column, ...]] = {"": (*_CASES, *_INTENSITIES)}
    parts |= {f"{name}_": _INTENSITIES for name in channels}
    parts |= {f"{name}_": _CLASS for name in classes}
    parts |= {f"{name}_": _MUSCLE for name in muscles}
    return {name: _entry(name, parts) for name in names}


def _entry(name: str, parts: Mapping[str, tuple[Column, ...]]) -> dict[str, str]:
    for start, declared in parts.items():
        for column in declared:
            if re.fullmatch(re.escape(start) + column.name, name):
                return column.sidecar(start.replace("_", " ").strip())
    raise KeyError(name)
