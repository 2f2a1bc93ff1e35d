"""What is measured of one case of a data set, in plain numbers fit for tables; `measure_case` makes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paraspinal_nnunet.measures.places.midline import BeyondMidline
from paraspinal_nnunet.quality_control.fingerprint import Fingerprint

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class ChannelMeasurements:
    """The intensities of one image file, over all voxels.

    Attributes:
        minimum: Smallest value.
        percentiles: Percentile of `PERCENTILES` -> value.
        maximum: Largest value.
        mean: Arithmetic mean.
        sd: Standard deviation (of all voxels, ddof 0).
        zero_share: Share of voxels that are exactly 0.
        number_type: As stored.
        sha256: Of the voxels, whatever their stored orientation and number type.
    """

    minimum: float
    percentiles: Mapping[int, float]
    maximum: float
    mean: float
    sd: float
    zero_share: float
    number_type: str
    sha256: str


@dataclass(frozen=True)
class ClassMeasurements:
    """One class in one label map. Slices are axial, counted from 1 at the feet.

    Attributes:
        value: In the label map.
        voxels: How many it has; all else is 0, NaN or empty where it has none.
        volume_ml: Their volume.
        first_slice: The lowest slice that holds it, 0 where there is none.
        last_slice: The highest.
        length_mm: From the lowest to the highest slice, both included.
        area_cm2: Mean cross-section: volume by length.
        x_mm: Centroid along the patient's axis to the right (RAS x).
        gaps: Slices between the lowest and the highest that lack it.
        islands: Connected components beyond the largest (voxels that share a face, edge or corner are connected, and
            so are slices on both sides of a gap).
        island_voxels: Voxels of all of those.
        island_ml: Their volume.
        border_voxels: Voxels in the outermost rows and columns of the image; those of the lowest and highest slice do
            not count, since muscles go on beyond them.
    """

    value: int
    voxels: int
    volume_ml: float
    first_slice: int
    last_slice: int
    length_mm: float
    area_cm2: float
    x_mm: float
    gaps: tuple[int, ...]
    islands: int
    island_voxels: int
    island_ml: float
    border_voxels: int


@dataclass(frozen=True)
class LabelMeasurements:
    """One label map.

    Attributes:
        classes: Of the data set, by value.
        unknown: Values that dataset.json does not know -> voxels.
        labelled_slices: The lowest and the highest slice with any label, from 1 at the feet; (0, 0) where empty.
        labelled_mm: From the one to the other.
        empty_inside: Slices between them without any label.
        empty_outside: Number of slices below and above them.
        swapped_slices: Muscle -> slices in which its right class lies to the left of its left one.
        beyond_midline: Class -> its pieces on the other side of the body.
        out_of_place: What lies where another label scheme has it, in words.
        number_type: As stored.
        sha256: Of the voxels, whatever their stored orientation and number type.
        grid_difference: How its grid differs from the image's, or None.
    """

    classes: Mapping[int, ClassMeasurements]
    unknown: Mapping[int, int]
    labelled_slices: tuple[int, int]
    labelled_mm: float
    empty_inside: tuple[int, ...]
    empty_outside: tuple[int, int]
    swapped_slices: Mapping[str, tuple[int, ...]]
    beyond_midline: Mapping[str, BeyondMidline]
    out_of_place: tuple[str, ...]
    number_type: str
    sha256: str
    grid_difference: str | None


@dataclass(frozen=True)
class CaseMeasurements:
    """One case.

    Attributes:
        case: Its id.
        subject: Whom it shows.
        shape: Voxels along the axes nearest to right, front and head.
        spacing_mm: Along the same axes.
        stored_axes: Orientation of the stored axes, e.g. ``'LPS'``.
        obliquity_deg: The largest angle between a stored axis and the patient's axis nearest to it.
        channels: Intensities, one entry per readable channel.
        labels: Or None where the label map is missing or unreadable.
        errors: Why files could not be read, or are no plausible axial scan; one line each.
        fingerprints: Fingerprints, as many as channels.
    """

    case: str
    subject: str
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    stored_axes: str = ""
    obliquity_deg: float = float("nan")
    channels: tuple[ChannelMeasurements, ...] = ()
    labels: LabelMeasurements | None = None
    errors: tuple[tuple[str, str], ...] = ()
    fingerprints: tuple[Fingerprint, ...] = field(default=(), repr=False)
