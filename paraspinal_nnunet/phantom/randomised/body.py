"""Whose trunk is drawn: sizes of skeleton, muscles and fat, far beyond those of the paper's cohort."""

from dataclasses import dataclass, replace

import numpy as np

from paraspinal_nnunet.phantom.randomised.multifidus import Border, Oval, draw_border, draw_oval

WAVES = 10
"""Waves of which a body's irregularity is the sum."""


@dataclass(frozen=True)
class Waves:
    """A smooth displacement in the slice that changes slowly along the spine.

    Attributes:
        vectors: (WAVES, 3) radians per mm, mm and level.
        phases: (WAVES, 2) for x and y.
        amplitudes_mm: (WAVES, 2).
    """

    vectors: np.ndarray
    phases: np.ndarray
    amplitudes_mm: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, amplitude_mm: float) -> "Waves":
        """Waves of 35 to 180 mm whose displacement has about this standard deviation."""
        length = np.exp(rng.uniform(np.log(35), np.log(180), WAVES))
        angle = rng.uniform(0, 2 * np.pi, WAVES)
        vectors = np.stack([np.cos(angle), np.sin(angle)], 1) * (2 * np.pi / length[:, None])
        along = rng.normal(0, 0.9, (WAVES, 1))
        weight = (length / length.mean())[:, None] ** 0.7
        amplitudes = rng.normal(0, 1, (WAVES, 2)) * weight * amplitude_mm * np.sqrt(2 / WAVES)
        return cls(np.hstack([vectors, along]), rng.uniform(0, 2 * np.pi, (WAVES, 2)), amplitudes)

    def moved(self, points: np.ndarray, level: float) -> np.ndarray:
        """Displaced (n, 2) points."""
        place = points @ self.vectors[:, :2].T + level * self.vectors[:, 2]
        shift = np.sin(place[:, :, None] + self.phases[None]) * self.amplitudes_mm[None]
        moved: np.ndarray = points + shift.sum(axis=1)
        return moved


@dataclass(frozen=True)
class Body:
    """One person. Pairs are (right, left); lengths are mm.

    Attributes:
        size: Linear size of the skeleton against the average.
        depth: Of the back muscles' compartment from front to back, against the average.
        width: Of the same from the midline to the side.
        border: Between multifidus and erector spinae.
        oval: Multifidus as an oval, instead of by its border; None for most.
        fascia: Thickness of the sheet around the back muscles; below zero it is of fat, 0 where none is seen.
        psoas_area: Against the average.
        psoas_aspect: Width over depth against the average.
        psoas_turn: Radians.
        psoas_shift: Outwards and forwards.
        quadratus: Linear size against the average, thickness, and how far back it lies against erector spinae.
        half_width: Inside of the abdominal wall, from the midline.
        front: Of the cavity before the canal.
        wall: Thickness of the abdominal wall.
        back_fat, side_fat, front_fat: Under the skin.
        buttocks: How much thicker the fat behind grows per level below L3.
        flatness: 0 for a round back, 1 for one that lies flat.
        furrow: Depth of the midline's furrow.
        fat: Mean share of fat in the muscles at the middle lumbar levels.
        texture: Of that fat: how soft the edges of its streaks are, share that is spread evenly, and fat in the sheets
            between bundles.
        medial: How much more of it multifidus has deep and near the midline than elsewhere.
        unequal: Logarithms of what multifidus and erector spinae have more of it.
        marrow: Share of fat in bone, and how much that varies.
        deep_fat: Thickness of fat between bone and the deep face of multifidus that belongs to the muscle's outline.
        septum: Thickness of the fat between multifidus and erector spinae.
        turn: Rotation of the spine and its muscles against the trunk, radians, at L1 and S1.
        shift: Of the canal against the trunk, at L1 and S1.
        disc: Height share of the discs.
        arms: Distance of the arms from the trunk, None for arms above the head.
        implant: Radius of screws; 0 for none.
        organs: Random numbers in 0..1 that place organs.
        waves: Irregularity of all outlines.
    """

    size: float
    depth: tuple[float, float]
    width: tuple[float, float]
    border: Border
    fascia: float
    psoas_area: tuple[float, float]
    psoas_aspect: float
    psoas_turn: float
    psoas_shift: tuple[float, float]
    quadratus: tuple[float, float, float]
    half_width: float
    front: float
    wall: float
    back_fat: float
    side_fat: float
    front_fat: float
    buttocks: float
    flatness: float
    furrow: float
    fat: float
    texture: tuple[float, float, float]
    unequal: tuple[float, float]
    marrow: tuple[float, float]
    deep_fat: tuple[float, float]
    septum: float
    turn: tuple[float, float]
    shift: tuple[float, float]
    disc: float
    arms: float | None
    implant: float
    organs: np.ndarray
    waves: Waves
    oval: Oval | None = None
    medial: float = 0.8


def draw_body(rng: np.random.Generator, ovals: float = 0.0) -> Body:
    """Draw a person.

    Args:
        rng: Of everything.
        ovals: Share of persons whose multifidus is an oval within erector spinae, mostly with a sheet of fibre around
            both; where it is not, the same person is drawn as with 0.
    """
    body = _draw_bordered(rng)
    if not ovals or rng.random() >= ovals:
        return body
    fascia = float(rng.uniform(0.9, 1.8)) if rng.random() < 0.75 else body.fascia
    return replace(body, oval=draw_oval(rng), fascia=fascia, medial=float(rng.uniform(0.5, 2.0)))


def _draw_bordered(rng: np.random.Generator) -> Body:
    size = float(np.clip(rng.normal(1, 0.06), 0.84, 1.17))
    build = float(rng.normal(0, 0.12))  # strong people have all muscles strong
    thick = float(np.exp(rng.uniform(np.log(4), np.log(45))))
    return Body(
        size=size,
        depth=_pair(rng, np.exp(0.9 * build + rng.normal(-0.08, 0.11)), 0.04),
        width=_pair(rng, np.exp(0.5 * build + rng.normal(-0.04, 0.08)), 0.03),
        border=draw_border(rng),
        fascia=float(rng.choice((0.0, 1.0, -1.0), p=(0.4, 0.42, 0.18)) * rng.uniform(0.5, 1.9)),
        psoas_area=_pair(rng, np.exp(1.2 * build + rng.normal(-0.2, 0.38)), 0.07),
        psoas_aspect=_around(rng, 1.0, 0.17),
        psoas_turn=float(rng.normal(0, 0.25)),
        psoas_shift=(float(rng.normal(1, 3)), float(rng.normal(0, 4))),
        quadratus=(_around(rng, 1.0, 0.12), _around(rng, 1.2, 0.35), float(rng.uniform(0, 8))),
        half_width=size * float(rng.uniform(96, 150)),
        front=size * float(rng.uniform(72, 175)),
        wall=float(rng.uniform(6, 26)),
        back_fat=thick,
        side_fat=float(np.clip(thick * np.exp(rng.normal(0.1, 0.45)), 3, 75)),
        front_fat=float(np.clip(thick * np.exp(rng.normal(0.1, 0.6)), 3, 80)),
        buttocks=float(rng.uniform(2, 22)),
        flatness=float(rng.uniform(0, 1)),
        furrow=float(rng.uniform(0, 9)),
        fat=float(np.clip(np.exp(rng.normal(np.log(0.09), 0.75)), 0.005, 0.5)),
        texture=(float(rng.uniform(0.6, 2.2)), float(rng.uniform(0, 0.7)), float(max(rng.uniform(-0.3, 0.6), 0))),
        unequal=(float(rng.normal(0, 0.3)), float(rng.normal(0, 0.3))),
        marrow=(float(max(rng.uniform(-0.25, 0.6), 0)), float(rng.uniform(0, 0.25))),
        deep_fat=_pair(rng, np.exp(rng.normal(np.log(3), 0.8)) if rng.random() < 0.6 else 0.0, 0.2),
        septum=float(max(rng.normal(0.8, 1.1), 0)),
        turn=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        shift=(float(rng.normal(0, 6)), float(rng.normal(0, 6))),
        disc=float(rng.uniform(0.15, 0.4)),
        arms=float(rng.uniform(4, 40)) if rng.random() < 0.45 else None,
        implant=float(rng.uniform(2.5, 6)) if rng.random() < 0.06 else 0.0,
        organs=rng.random(24),
        waves=Waves.draw(rng, float(rng.uniform(1.2, 3.0))),
    )


def _around(rng: np.random.Generator, mean: float, log_sd: float) -> float:
    return float(mean * np.exp(np.clip(rng.standard_normal(), -2.5, 2.5) * log_sd))


def _pair(rng: np.random.Generator, mean: float, log_sd: float) -> tuple[float, float]:
    half = rng.normal(0, log_sd)
    return float(mean * np.exp(half)), float(mean * np.exp(-half))
