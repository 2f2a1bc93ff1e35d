"""One person's trunk: where the spine runs, how the muscles lie around it, and their label maps by two raters."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import PARASPINAL, STRUCTURES, Muscle, Side, Structure
from paraspinal_nnunet.phantom.muscles import COURSES, LEVELS
from paraspinal_nnunet.phantom.person import Person
from paraspinal_nnunet.phantom.shapes import FAR_MM, Tube
from paraspinal_nnunet.protocol.paper import PAPER

FULL_SHAPE = (512, 512, 50)
"""Voxels along x, y, z at the paper's voxel size: a field of view of 200 x 200 x 250 mm."""

FIELD_OF_VIEW_MM = tuple(n * s for n, s in zip(FULL_SHAPE, reversed(PAPER.preprocessing.spacing), strict=True))

MIDDLE_LEVEL = 2.2
"""Level in the middle of the field of view, a little below the middle of L3."""

SHAPE_SD_MM = 0.8
"""Individual irregularity of the outlines."""

RATER_SD_MM = 1.45
RATER_OFFSET_MM = 0.25
RATER_END_SD_MM = 3.0
"""The second rater's boundary jitter, habit of drawing slightly larger, and freedom at the muscles' ends."""


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm, RAS, around the middle of the field of view.

    Attributes:
        shape: Voxels along x, y, z.
        spacing_mm: Voxel size along x, y, z.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of_shape(cls, shape: tuple[int, int, int]) -> "Grid":
        """The grid that covers the full field of view with this many voxels."""
        x, y, z = (length / n for length, n in zip(FIELD_OF_VIEW_MM, shape, strict=True))
        return cls(shape, (x, y, z))

    def axis_mm(self, axis: int) -> np.ndarray:
        """Voxel centres along one axis."""
        return (np.arange(self.shape[axis]) - (self.shape[axis] - 1) / 2) * self.spacing_mm[axis]


@dataclass(frozen=True)
class Trunk:
    """The geometry of one person.

    Attributes:
        person: Whose it is.
        tubes: Outline of every muscle and side in the canal's frame.
        ends: First and last labelled level of each.
    """

    person: Person
    tubes: Mapping[Structure, Tube]
    ends: Mapping[Structure, tuple[float, float]]

    def level(self, z_mm: float) -> float:
        """Level along the spine at a height."""
        return MIDDLE_LEVEL - z_mm / self.person.pitch_mm

    def canal_mm(self, level: float) -> tuple[float, float]:
        """(x, y) of the spinal canal in the field of view."""
        person = self.person
        x = person.offset_mm[0] + person.scoliosis_mm * np.sin(np.pi * (level - 0.5) / 3.5)
        sacral = 7.0 * np.logaddexp(0, (level - 4.9) / 0.25) * 0.25
        y = self._resting_mm + person.lordosis_mm * _hollow(level) - sacral
        return float(x), float(y)

    def skin_mm(self, level: float) -> float:
        """Height of the back's skin in the midline: flatter than the spine, as on a table."""
        return float(self._resting_mm + 0.6 * self.person.lordosis_mm * _hollow(level) - self._depth_mm)

    @property
    def _depth_mm(self) -> float:
        muscle = max(self.person.area[m][0] for m in (Muscle.MULTIFIDUS, Muscle.ERECTOR_SPINAE))
        return 46 * self.person.skeleton + 12 * muscle + self.person.subcutaneous_mm

    @property
    def _resting_mm(self) -> float:
        return min(-FIELD_OF_VIEW_MM[1] / 2 + 10 + self._depth_mm, 5.0) + self.person.offset_mm[1]

    def distances(self, z_mm: float, grid: Grid) -> dict[Structure, np.ndarray]:
        """Signed distance from every muscle on one slice, without overlaps.

        Returns:
            Float32 (nx, ny) mm, negative inside, `FAR_MM` far outside.
        """
        level = self.level(z_mm)
        x0, y0 = self.canal_mm(level)
        x, y = grid.axis_mm(0) - x0, grid.axis_mm(1) - y0
        fields = {}
        for structure, tube in self.tubes.items():
            field = np.full(grid.shape[:2], FAR_MM, np.float32)
            window, values = tube.section(level).distance(x, y, 6.0)
            field[window] = values
            fields[structure] = field
        _separate(fields, x)
        return fields

    def labels(self, grid: Grid) -> np.ndarray:
        """The six muscles' label map in RAS order, decided at voxel centres: uint8 (nx, ny, nz)."""
        labels = np.zeros(grid.shape, np.uint8)
        for k, z in enumerate(grid.axis_mm(2)):
            level = self.level(float(z))
            present = [s for s in PARASPINAL if self.ends[s][0] <= level <= self.ends[s][1]]
            fields = self.distances(float(z), grid) if present else {}
            for structure in present:
                labels[..., k][fields[structure] < 0] = structure.label
        return labels

    def second_rater(self, rng: np.random.Generator) -> "Trunk":
        """The same trunk as another rater outlines it."""
        tubes = {s: t.jittered(RATER_SD_MM, RATER_OFFSET_MM, rng) for s, t in self.tubes.items()}
        shift = RATER_END_SD_MM / self.person.pitch_mm
        ends = {s: (a + rng.normal(0, shift), b + rng.normal(0, shift)) for s, (a, b) in self.ends.items()}
        return Trunk(self.person, tubes, ends)


def build_trunk(person: Person, rng: np.random.Generator) -> Trunk:
    """Lay a person's muscles around the spine.

    Args:
        person: Sizes.
        rng: Source of the individual irregularities of the outlines.
    """
    tubes = {s: _tube(person, s).jittered(SHAPE_SD_MM, 0.0, rng) for s in STRUCTURES}
    return Trunk(person, tubes, {s: COURSES[s.muscle].labelled for s in STRUCTURES})


def _tube(person: Person, structure: Structure) -> Tube:
    course, side = COURSES[structure.muscle], 0 if structure.side is Side.RIGHT else 1
    scale_x, scale_y, shift_x = _scales(person, structure.muscle, side)
    outlines = []
    for index in range(len(LEVELS)):
        offset = course.points(index) - course.anchor_mm
        points = np.array(course.anchor_mm) * person.skeleton + offset * (scale_x, scale_y)
        points[:, 0] += shift_x * _multifidus_reach(index)
        outlines.append(points * (1 if side == 0 else -1, 1))
    return Tube.from_points(LEVELS, outlines)


def _scales(person: Person, muscle: Muscle, side: int) -> tuple[float, float, float]:
    """Scale along x and y, and how far multifidus pushes the muscle outwards per mm of its own reach."""
    area = {m: person.area[m][side] * COURSES[m].area_scale for m in COURSES}
    if muscle not in (Muscle.MULTIFIDUS, Muscle.ERECTOR_SPINAE):
        scale = float(np.sqrt(area[muscle]))
        return scale, scale, 0.0
    deep, outer = area[Muscle.MULTIFIDUS], area[Muscle.ERECTOR_SPINAE]
    scale_y = float((deep * outer**3) ** (1 / 8))  # both reach the same fascia at the back
    if muscle is Muscle.MULTIFIDUS:
        return deep / scale_y, scale_y, 0.0
    return outer / scale_y, scale_y, (deep - outer) / scale_y


def _multifidus_reach(index: int) -> float:
    course = COURSES[Muscle.MULTIFIDUS]
    return float(course.points(index)[:, 0].max() - course.anchor_mm[0])


def _separate(fields: dict[Structure, np.ndarray], x_mm: np.ndarray) -> None:
    """Cut overlaps: nothing crosses the midline, multifidus goes before erector spinae, that before the quadratus."""
    for structure, field in fields.items():
        outward = x_mm if structure.side is Side.RIGHT else -x_mm
        np.maximum(field, (2.5 - outward[:, None]).astype(np.float32), out=field)
    by_place = {(s.muscle, s.side): field for s, field in fields.items()}
    for side in Side:
        erector = by_place[Muscle.ERECTOR_SPINAE, side]
        np.maximum(erector, -by_place[Muscle.MULTIFIDUS, side], out=erector)
        quadratus = by_place[Muscle.QUADRATUS_LUMBORUM, side]
        np.maximum(quadratus, -erector, out=quadratus)
        np.maximum(quadratus, -by_place[Muscle.PSOAS_MAJOR, side], out=quadratus)


def _hollow(level: float) -> float:
    """0 at the foremost level of the lordosis, -1 at L1."""
    return -(((level - 2.6) / 2.6) ** 2)
