"""Who lies in the scanner: sex, age, BMI and the sizes that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.protocol.paper import PAPER

COHORT = PAPER.cohort
FEMALE_SHARE = COHORT.female / COHORT.subjects


@dataclass(frozen=True)
class Growth:
    """How the logarithm of a muscle's cross-section varies between people.

    Together the terms give about the paper's standard deviation of the volumes.

    Attributes:
        male: Difference between men and women.
        bmi: Per standard deviation of BMI.
        age: Per standard deviation of age.
        residual: Standard deviation of what is left.
        asymmetry: Standard deviation of the difference between right and left.
    """

    male: float
    bmi: float
    age: float
    residual: float
    asymmetry: float


GROWTH: Mapping[Muscle, Growth] = {
    Muscle.MULTIFIDUS: Growth(male=0.16, bmi=0.04, age=-0.02, residual=0.16, asymmetry=0.05),
    Muscle.ERECTOR_SPINAE: Growth(male=0.22, bmi=0.07, age=-0.03, residual=0.19, asymmetry=0.04),
    Muscle.PSOAS_MAJOR: Growth(male=0.42, bmi=0.04, age=-0.07, residual=0.25, asymmetry=0.05),
    Muscle.QUADRATUS_LUMBORUM: Growth(male=0.20, bmi=0.04, age=-0.03, residual=0.15, asymmetry=0.06),
}

FAT_PER_YEAR = 0.035
FAT_PER_BMI = 0.025
FAT_RESIDUAL = 0.15


@dataclass(frozen=True)
class Person:
    """One subject of the cohort.

    Attributes:
        sex: ``'F'`` or ``'M'``.
        age_years: Whole years.
        bmi: kg/m2.
        skeleton: Linear size of the bones against the average.
        pitch_mm: Distance between the middles of two vertebrae.
        area: Cross-section of each muscle against the average, (right, left).
        fat: Intramuscular fat against that of an average subject of the mean age.
        subcutaneous_mm: Thickness of the fat behind the muscles.
        lordosis_mm: How far L1 lies behind the foremost point of the lumbar spine.
        scoliosis_mm: Sideways swing of the spine.
        offset_mm: Where the subject lies in the field of view, (to the right, upwards).
    """

    sex: str
    age_years: int
    bmi: float
    skeleton: float
    pitch_mm: float
    area: Mapping[Muscle, tuple[float, float]]
    fat: float
    subcutaneous_mm: float
    lordosis_mm: float
    scoliosis_mm: float
    offset_mm: tuple[float, float]


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a subject from the paper's cohort: Source: Methods, Participants (shares, means and SDs)."""
    female = rng.random() < FEMALE_SHARE
    age_z, bmi_z, size_z, pitch_z, fat_z, swing_z, lordosis_z = _standard(rng, 7)
    age = float(np.clip(COHORT.age_mean_years + age_z * COHORT.age_sd_years, 18, 85))
    bmi = float(np.clip(COHORT.bmi_mean + bmi_z * COHORT.bmi_sd, 17, 45))
    skeleton = (0.97 if female else 1.045) * (1 + 0.025 * size_z)
    fat = FAT_PER_YEAR * (age - COHORT.age_mean_years) + FAT_PER_BMI * (bmi - COHORT.bmi_mean) + FAT_RESIDUAL * fat_z
    return Person(
        sex="F" if female else "M",
        age_years=round(age),
        bmi=round(bmi, 1),
        skeleton=skeleton,
        pitch_mm=34.5 * skeleton * (1 + 0.015 * pitch_z),
        area=_areas(female, age_z, bmi_z, rng),
        fat=float(np.exp(fat)),
        subcutaneous_mm=float(np.clip(9 + 1.1 * (bmi - 24) + (4 if female else 0), 5, 32)),
        lordosis_mm=12 + 2.5 * lordosis_z,
        scoliosis_mm=1.5 * swing_z,
        offset_mm=(float(rng.normal(0, 2.5)), float(rng.normal(0, 3))),
    )


def _areas(female: bool, age_z: float, bmi_z: float, rng: np.random.Generator) -> dict[Muscle, tuple[float, float]]:
    sex_term = -(1 - FEMALE_SHARE) if female else FEMALE_SHARE
    shared = _standard(rng, 1)[0]  # strong people have all muscles strong
    areas = {}
    for muscle, growth in GROWTH.items():
        own, difference = _standard(rng, 2)
        mean = growth.male * sex_term + growth.bmi * bmi_z + growth.age * age_z
        mean += growth.residual * (0.7 * shared + np.sqrt(1 - 0.7**2) * own)
        half = growth.asymmetry * difference / 2
        areas[muscle] = (float(np.exp(mean + half)), float(np.exp(mean - half)))
    return areas


def _standard(rng: np.random.Generator, count: int) -> list[float]:
    """Standard normal numbers without extremes."""
    return np.clip(rng.standard_normal(count), -2.5, 2.5).tolist()
