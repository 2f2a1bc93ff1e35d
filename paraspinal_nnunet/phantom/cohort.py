"""The phantom cohort: computed axial T2 scans of lumbar trunks with the six muscles' labels by two raters.

A case depends on the seed, its index and the shape alone: neither the number of cases nor of processes changes it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.errors import InputError, ProtocolError, advice_on
from paraspinal_nnunet.image_io.checks import SPACING_RANGE_MM
from paraspinal_nnunet.image_io.nibabel_alone import orientations
from paraspinal_nnunet.image_io.nifti import write_image, write_labels
from paraspinal_nnunet.phantom.anatomy import FIELD_OF_VIEW_MM, FULL_SHAPE, Grid, Trunk, build_trunk
from paraspinal_nnunet.phantom.image import render
from paraspinal_nnunet.phantom.person import Person, draw_person
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.utils.files import atomic_folder, write_json, write_text
from paraspinal_nnunet.utils.workers import each

REVISION = 1
"""Grows whenever the same seed gives other data."""

SUMMARY_FILE = "phantom.json"
PARTICIPANTS_FILE = "participants.tsv"
RATER2_FOLDER = "rater2"

ORIENTATIONS = ("RAS", "LAS", "LPS", "RPI", "LPI", "RAI", "RPS", "LAI")
"""How the stored axes may run; slices are always the last axis."""

OBLIQUE_SHARE = 0.4
OBLIQUE_SD_DEGREES = (7.0, 2.0, 2.0)
"""Share of scans whose slices are tilted, and by how much about the patient's x, y and z axis."""

MIN_IN_PLANE = 32
MIN_SLICES = ceil(FIELD_OF_VIEW_MM[2] / SPACING_RANGE_MM[1])
"""With fewer, over the same field of view, slices are further apart than in any scan that is converted."""

_PERSON, _TRUNK, _IMAGE, _SCANNER, _RATER2 = range(5)
"""Independent random streams of a case."""


@dataclass(frozen=True)
class PhantomCase:
    """One scan as it is stored.

    Attributes:
        name: ``'sub-001'`` for index 0.
        image: Int16 (i, j, k).
        labels: Uint8 (i, j, k), the first rater's; canonical values.
        rater2: Uint8 (i, j, k), the second rater's, or None.
        affine: (4, 4) voxel to mm in RAS+.
        orientation: Of the stored axes, e.g. ``'LPS'``.
        person: Whose scan it is.
        fat_fraction: Painted share of fat inside each labelled muscle by key, 0 to 1.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    rater2: np.ndarray | None
    affine: np.ndarray
    orientation: str
    person: Person
    fat_fraction: Mapping[str, float]


@dataclass(frozen=True)
class CaseRecord:
    """What `SUMMARY_FILE` tells of a case. Volumes are counted in the label maps; an absent muscle has 0 ml."""

    case: str
    sex: str
    age: int
    bmi: float
    orientation: str
    volumes_ml: Mapping[str, float]
    rater2_volumes_ml: Mapping[str, float] | None
    fat_fraction: Mapping[str, float]


@dataclass(frozen=True)
class PhantomCohort:
    """A written cohort.

    Attributes:
        folder: Where it stands.
        seed: Its seed.
        shape: Voxels along the patient's x, y, z.
        spacing_mm: Voxel size along the same.
        cases: In the order of their names.
    """

    folder: Path
    seed: int
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    cases: tuple[CaseRecord, ...]


def generate_labels(
    seed: int, index: int, shape: tuple[int, int, int] = FULL_SHAPE, *, rater: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Compute one rater's label map of a case without its image.

    Args:
        seed: Of the cohort, 0 or greater.
        index: Of the case, from 0.
        shape: Voxels along the patient's x, y, z; the field of view stays the same.
        rater: 1 or 2.

    Returns:
        Uint8 (i, j, k) labels and their affine, as stored.

    Raises:
        ProtocolError: A seed, index, rater or shape that cannot be used.
    """
    if rater not in (1, 2):
        raise ProtocolError(f"rater {rater}: the phantom has raters 1 and 2")
    grid, _, trunk = _subject(seed, index, shape)
    labels = (trunk if rater == 1 else trunk.second_rater(_random(seed, index, _RATER2))).labels(grid)
    _, transform, affine = _storage(grid, _random(seed, index, _SCANNER))
    return orientations.apply_orientation(labels, transform), affine


def generate_case(
    seed: int, index: int, shape: tuple[int, int, int] = FULL_SHAPE, *, second_rater: bool = False
) -> PhantomCase:
    """Compute one case.

    Args:
        seed: Of the cohort, 0 or greater.
        index: Of the case, from 0.
        shape: Voxels along the patient's x, y, z; the field of view stays the same.
        second_rater: Whether to outline it a second time.

    Raises:
        ProtocolError: A seed, index or shape that cannot be used.
    """
    grid, person, trunk = _subject(seed, index, shape)
    labels = trunk.labels(grid)
    rendering = render(trunk, grid, labels, _random(seed, index, _IMAGE))
    rater2 = trunk.second_rater(_random(seed, index, _RATER2)).labels(grid) if second_rater else None
    orientation, transform, affine = _storage(grid, _random(seed, index, _SCANNER))
    return PhantomCase(
        name=_name(index),
        image=orientations.apply_orientation(rendering.image, transform),
        labels=orientations.apply_orientation(labels, transform),
        rater2=None if rater2 is None else orientations.apply_orientation(rater2, transform),
        affine=affine,
        orientation=orientation,
        person=person,
        fat_fraction={s.key: share for s, share in rendering.fat_fraction.items()},
    )


def second_rater_default(cases: int) -> int:
    """How many cases get a second rater: the paper's share, rounded, at least one.

    >>> second_rater_default(12)
    4
    """
    return max(1, round(cases * PAPER.cohort.second_rater_subjects / PAPER.cohort.subjects))


def write_cohort(
    folder: Path,
    *,
    cases: int = 12,
    seed: int = 0,
    shape: tuple[int, int, int] = FULL_SHAPE,
    second_rater: int | None = None,
    workers: int = 2,
) -> PhantomCohort:
    """Write a cohort as an author-style folder, whole or not at all.

    It holds sub-001_img.nii.gz, sub-001_GT.nii.gz, ..., rater2/sub-001_GT.nii.gz, ... for the first cases,
    participants.tsv (participant_id, sex, age, bmi) and phantom.json. The same arguments give the same bytes.

    Args:
        folder: New or empty.
        cases: How many.
        seed: 0 or greater.
        shape: Voxels along the patient's x, y, z.
        second_rater: How many cases a second rater outlines; `second_rater_default` when None.
        workers: Processes; each needs about 0.5 GB at full size.

    Raises:
        ProtocolError: A number that cannot be used.
        InputError: The folder holds something already or cannot be written.
        WorkerDiedError: A process was killed.
    """
    second_rater = second_rater_default(cases) if second_rater is None else second_rater
    _check_request(cases, second_rater, workers)
    _check_case(seed, 0, shape)
    folder = Path(folder)
    try:
        _check_folder(folder)
        with atomic_folder(folder) as temporary:
            if second_rater:
                (temporary / RATER2_FOLDER).mkdir()
            task = partial(_write_case, temporary, seed=seed, shape=shape, second_rater=second_rater)
            records = tuple(each(task, range(cases), workers=workers, what="phantom", name="phantom {}".format))
            cohort = PhantomCohort(folder, seed, shape, Grid.of_shape(shape).spacing_mm, records)
            _write_tables(temporary, cohort)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}){advice_on(error)}") from error
    return cohort


def _write_case(folder: Path, index: int, *, seed: int, shape: tuple[int, int, int], second_rater: int) -> CaseRecord:
    case = generate_case(seed, index, shape, second_rater=index < second_rater)
    write_image(folder / f"{case.name}_img.nii.gz", case.image, case.affine)
    write_labels(folder / f"{case.name}_GT.nii.gz", case.labels, case.affine)
    if case.rater2 is not None:
        write_labels(folder / RATER2_FOLDER / f"{case.name}_GT.nii.gz", case.rater2, case.affine)
    return CaseRecord(
        case=case.name,
        sex=case.person.sex,
        age=case.person.age_years,
        bmi=case.person.bmi,
        orientation=case.orientation,
        volumes_ml=_volumes_ml(case.labels, case.affine),
        rater2_volumes_ml=None if case.rater2 is None else _volumes_ml(case.rater2, case.affine),
        fat_fraction=case.fat_fraction,
    )


def _write_tables(folder: Path, cohort: PhantomCohort) -> None:
    rows = [f"{r.case}\t{r.sex}\t{r.age}\t{r.bmi}\n" for r in cohort.cases]
    write_text(folder / PARTICIPANTS_FILE, "participant_id\tsex\tage\tbmi\n" + "".join(rows))
    content = {"version": __version__, "revision": REVISION, **asdict(cohort)}
    del content["folder"]
    write_json(folder / SUMMARY_FILE, content)


def _subject(seed: int, index: int, shape: tuple[int, int, int]) -> tuple[Grid, Person, Trunk]:
    _check_case(seed, index, shape)
    person = draw_person(_random(seed, index, _PERSON))
    return Grid.of_shape(shape), person, build_trunk(person, _random(seed, index, _TRUNK))


def _storage(grid: Grid, rng: np.random.Generator) -> tuple[str, np.ndarray, np.ndarray]:
    """Orientation, the transform of nibabel that leads from RAS to it, and the affine of the stored array."""
    orientation = ORIENTATIONS[rng.integers(len(ORIENTATIONS))]
    tilt = rng.normal(0, OBLIQUE_SD_DEGREES) if rng.random() < OBLIQUE_SHARE else np.zeros(3)
    table = rng.uniform((-10, -30, -150), (10, 30, 150))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * grid.spacing_mm
    affine[:3, 3] = table - affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
    transform = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(orientation))
    return orientation, transform, affine @ orientations.inv_ornt_aff(transform, grid.shape)


def _volumes_ml(labels: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    counts = np.bincount(labels.ravel(), minlength=len(PARASPINAL) + 1)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return {s.key: float(counts[s.label] * voxel_ml) for s in PARASPINAL}


def _random(seed: int, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, index, stream])


def _name(index: int) -> str:
    return f"sub-{index + 1:03d}"


def _check_case(seed: int, index: int, shape: tuple[int, int, int]) -> None:
    if seed < 0 or index < 0:
        raise ProtocolError(f"seed {seed}, case index {index}: give numbers of 0 or greater")
    if len(shape) != 3 or min(shape[:2]) < MIN_IN_PLANE or shape[2] < MIN_SLICES:
        text = " ".join(map(str, shape))
        raise ProtocolError(
            f"shape {text}: the phantom needs at least {MIN_IN_PLANE} {MIN_IN_PLANE} {MIN_SLICES} voxels along x, y, z"
        )


def _check_request(cases: int, second_rater: int, workers: int) -> None:
    if cases < 1:
        raise ProtocolError(f"{cases} cases: a cohort needs at least 1")
    if not 0 <= second_rater <= cases:
        raise ProtocolError(f"{second_rater} cases of a second rater: give 0 to {cases}, the number of cases")
    if workers < 1:
        raise ProtocolError(f"{workers} processes: at least 1 is needed")


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    elif folder.exists():
        raise InputError(f"{folder}: exists already; name a new or empty folder, or remove it")
