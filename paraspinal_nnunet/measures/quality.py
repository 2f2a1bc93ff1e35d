"""Flags: what about a case's masks or its scan a person should look at, and how soon."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, Muscle, Structure
from paraspinal_nnunet.image_io.geometry import SideEvidence
from paraspinal_nnunet.measures.comparison import asymmetries, field_of_view_note, is_comparable
from paraspinal_nnunet.measures.evidence import Evidence
from paraspinal_nnunet.measures.evidence import TrainingDescription as TrainingDescription
from paraspinal_nnunet.measures.evidence import gather_evidence as gather_evidence
from paraspinal_nnunet.measures.outputs.columns import DIXON
from paraspinal_nnunet.measures.places.positions import LEAST_SHARE, scheme_text
from paraspinal_nnunet.measures.result import Flag, Severity
from paraspinal_nnunet.models.manifest import CAUTION
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.utils.text import pluralize, slice_ranges

COHORT_SDS = 3.0
"""Volumes further than this from the paper's mean, in its SDs, are flagged. Source: ours."""

ASYMMETRY_PERCENT, ASYMMETRY_SERIOUS_PERCENT = 25.0, 50.0
"""Difference between the sides' volumes. Source: ours. Sides of healthy people differ substantially (Niemeläinen et al.
2011, Spine 36:2152), so that the limits look for failed masks, not for findings."""

FRAGMENT_SHARE, FRAGMENT_SERIOUS_SHARE = 0.01, 0.10
"""Volume outside the largest piece as a share of the muscle's. Source: ours."""

SPACING_FACTOR = 1.5
"""Spacing that is larger or smaller than in training by more than this factor. Source: ours."""

INTENSITY_SDS = 3.0
"""Normalised mean intensity of a muscle, in SDs of the training cases. Source: ours."""

DISAGREEMENT, DISAGREEMENT_SERIOUS = 0.10, 0.25
"""Mean of 1 - Dice between the folds' masks. Source: ours; two raters agree with Dice >= 0.904 (the paper, Results)."""

SERIOUS_ALONE = ("muscle_slices", "body_spread", "highest_share")
"""Outside the range of training, one of these makes a scan another thing than an MR stack of the lumbar spine."""

WRONG_SIDE_SHARE, WRONG_SIDE_ML = 0.01, 0.1
"""Pieces beyond the midline are serious from such a share of the muscle or such a volume on. Source: ours."""

MOST_FAT = 0.5
"""Dixon fat fraction of a muscle of more fat than water: some may be so, but not most of a person. Source: ours."""

WEIGHTS: Mapping[Severity, float] = {"serious": 10_000.0, "warning": 100.0, "info": 1.0}
"""Of a flag in the order of review: one serious flag outweighs any number of warnings that a case can have."""

KINDS: Mapping[str, str] = {
    "missing": "a muscle that was looked for has no voxels",
    "label scheme": "muscles lie to one another as they do in no body, slice by slice: another scheme's values",
    "sides": "a right label lies to the left of its left partner, or pieces of a muscle beyond the body's midline",
    "fragments": "more than the limit of a muscle's volume lies outside its largest piece",
    "volume": "volume outside the paper's mean +- 3 SD; too small only counts where the stack is about as long",
    "asymmetry": "the volumes of the two sides differ by more than the limit",
    "border": "a muscle touches the border of the image plane",
    "end of stack": "a muscle reaches the first or last slice, so that not all of it is seen",
    "gap": "slices without a muscle between slices with it",
    "fat": "a threshold could not be found, or Dixon finds more fat than water in most muscles",
    "field of view": "the stack is shorter than the paper's, so that volumes are not comparable",
    "spacing": "voxels unlike those that the model was trained on",
    "intensity": "intensities unlike those that the model was trained on",
    "unlike training": "grid, grey values or size of the muscles outside what the model was trained on; serious from "
    "two such numbers on, and for grey values as CT or pictures have them",
    "folds": "the masks of the folds, or of the scan in other contrast and frame, differ more than the limit",
    "training": "no person's scan was among those that the model was trained on",
}
"""What each kind of flag means."""


def find_flags(evidence: Evidence) -> tuple[Flag, ...]:
    """All flags of a case, the worst first; of one severity in the order of `KINDS`."""
    flags = [flag for check in _CHECKS for flag in check(evidence)]
    kinds = list(KINDS)
    return tuple(sorted(flags, key=lambda f: (-WEIGHTS[f.severity], kinds.index(f.kind))))


def severity_score(flags: Sequence[Flag]) -> float:
    """How soon a case should be looked at: the larger, the sooner; 0 without flags."""
    return float(sum(WEIGHTS[flag.severity] for flag in flags))


def _missing(evidence: Evidence) -> Iterator[Flag]:
    for each in evidence.structures:
        if not each.voxels:
            text = f"{each.structure.display_name} has no voxels"
            yield Flag("missing", "serious", each.structure.key, text, 0.0, 1.0)


def _scheme(evidence: Evidence) -> Iterator[Flag]:
    if evidence.out_of_place:
        text = scheme_text(evidence.out_of_place, evidence.schemes)
        share = max(each.share for each in evidence.out_of_place)
        yield Flag("label scheme", "serious", "", text, share, LEAST_SHARE)


def _sides(evidence: Evidence) -> Iterator[Flag]:
    for each in evidence.sides:
        if not each.agrees:
            text = f"{each}; x grows to the patient's right, so the labels or the header are mirrored"
            yield Flag("sides", "serious", _subject(each), text, each.right_x_mm - each.left_x_mm, 0.0)


def _pieces_beyond_the_midline(evidence: Evidence) -> Iterator[Flag]:
    """Of muscles that are otherwise on their side; where the scheme is wrong, all are somewhere else."""
    mirrored = {_subject(each) for each in evidence.sides if not each.agrees}
    for structure, found in evidence.beyond.items():
        if evidence.out_of_place or mirrored & {structure.muscle.value, structure.key}:
            continue
        text = (
            f"{structure.display_name} has {found.volume_ml:.2g} ml ({100 * found.share:.2g} % of it) beyond the "
            f"body's midline, in {slice_ranges(found.slices)}"
        )
        serious = found.share >= WRONG_SIDE_SHARE or found.volume_ml >= WRONG_SIDE_ML
        yield Flag("sides", "serious" if serious else "warning", structure.key, text, found.volume_ml, 0.0)


def _subject(evidence: SideEvidence) -> str:
    """Key of the muscle, or of the structure that stands alone."""
    names = {muscle.display_name: muscle.value for muscle in Muscle}
    first = evidence.muscle.partition(" against ")[0]
    return names.get(first) or next(s.key for s in BY_KEY.values() if s.display_name == first)


def _fragments(evidence: Evidence) -> Iterator[Flag]:
    for each in evidence.structures:
        share = each.fragments_ml / each.volume_ml if each.voxels else 0.0
        if share > FRAGMENT_SHARE:
            text = (
                f"{each.structure.display_name} has {each.pieces} pieces; {100 * share:.1f} % of its volume lies "
                "outside the largest"
            )
            severity = _graded(share, FRAGMENT_SERIOUS_SHARE)
            yield Flag("fragments", severity, each.structure.key, text, share, FRAGMENT_SHARE)


def _volumes(evidence: Evidence) -> Iterator[Flag]:
    comparable = is_comparable(evidence.stack.length_mm)
    for each in evidence.structures:
        place = each.cohort
        if not np.isfinite(place.z) or abs(place.z) <= COHORT_SDS or (place.z < 0 and not comparable):
            continue
        limit = place.mean_ml + np.sign(place.z) * COHORT_SDS * place.sd_ml
        text = (
            f"{each.structure.display_name}: {each.volume_ml:.1f} ml, {abs(place.z):.1f} SD "
            f"{'above' if place.z > 0 else 'below'} the paper's mean of {place.mean_ml:g} ml"
        )
        yield Flag("volume", "warning", each.structure.key, text, each.volume_ml, float(limit))


def _asymmetry(evidence: Evidence) -> Iterator[Flag]:
    for each in asymmetries(evidence.structures, ()):
        difference = abs(each.difference_percent)
        if each.measure == "volume_ml" and min(each.right, each.left) > 0 and difference > ASYMMETRY_PERCENT:
            larger = "right" if each.right > each.left else "left"
            text = (
                f"{each.muscle.display_name}: right {each.right:.1f} ml, left {each.left:.1f} ml; the {larger} side is "
                f"larger by {difference:.0f} % of their mean"
            )
            severity = _graded(difference, ASYMMETRY_SERIOUS_PERCENT)
            yield Flag("asymmetry", severity, each.muscle.value, text, each.difference_percent, ASYMMETRY_PERCENT)


def _border(evidence: Evidence) -> Iterator[Flag]:
    for each in evidence.structures:
        if each.border_voxels:
            voxels = pluralize(each.border_voxels, "voxel")
            text = f"{each.structure.display_name} touches the border of the image with {voxels}"
            yield Flag("border", "warning", each.structure.key, text, float(each.border_voxels), 0.0)


def _ends(evidence: Evidence) -> Iterator[Flag]:
    """One flag for all muscles that end alike: where the stack is short, all do."""
    reaching: dict[tuple[str, ...], list[Structure]] = {}
    for each in evidence.structures:
        ends = tuple(name for name, on in (("lowest", each.in_first_slice), ("highest", each.in_last_slice)) if on)
        if ends:
            reaching.setdefault(ends, []).append(each.structure)
    for ends, structures in reaching.items():
        who = f"{_named(structures)} {'reaches' if len(structures) == 1 else 'reach'}"
        subject = structures[0].key if len(structures) == 1 else ""
        text = f"{who} the {' and the '.join(ends)} slice of the stack"
        yield Flag("end of stack", "info", subject, text, float(len(ends)), 0.0)


def _named(structures: Sequence[Structure]) -> str:
    """Names in full, both sides of a muscle together."""
    sides: dict[Muscle, list[str]] = {}
    for structure in structures:
        sides.setdefault(structure.muscle, []).append(structure.side.value)
    text = ", ".join(f"{muscle.display_name} {' and '.join(each)}" for muscle, each in sides.items())
    return text[0] + text[1:].lower()


def _gaps(evidence: Evidence) -> Iterator[Flag]:
    for each in evidence.structures:
        if each.gap_slices:
            slices = pluralize(each.gap_slices, "slice")
            text = f"{each.structure.display_name} is absent from {slices} between slices with it"
            yield Flag("gap", "warning", each.structure.key, text, float(each.gap_slices), 0.0)


def _no_fat(evidence: Evidence) -> Iterator[Flag]:
    for each in evidence.structures:
        for fat in each.fat:
            if fat.reason and each.voxels:
                text = f"{each.structure.display_name}: no fat by {fat.method}: {fat.reason}"
                yield Flag("fat", "warning", each.structure.key, text, float(each.voxels), float("nan"))


def _more_fat_than_water(evidence: Evidence) -> Iterator[Flag]:
    measured = [each for each in evidence.structures if each.voxels]
    shares = [fat.fat_fraction for each in measured for fat in each.fat if fat.method == DIXON]
    many = sum(share > MOST_FAT for share in shares)
    if shares and many > len(shares) / 2:
        middle = float(np.median(shares))
        text = (
            f"Dixon finds more fat than water in {many} of {len(shares)} muscles, {middle:.2f} in the middle one: "
            "water and fat image seem to be exchanged"
        )
        yield Flag("fat", "serious", "", text, middle, MOST_FAT)


def _field_of_view(evidence: Evidence) -> Iterator[Flag]:
    note = field_of_view_note(evidence.stack.length_mm)
    if note:
        yield Flag("field of view", "info", "", note, evidence.stack.length_mm, PAPER.cohort.field_of_view_mm)


def _spacing(evidence: Evidence) -> Iterator[Flag]:
    trained = evidence.training.spacing_mm if evidence.training else None
    if trained is None:
        return
    in_plane = np.linalg.norm(evidence.stack.affine[:3, :2], axis=0)
    pairs = {
        "slices are {:.3g} mm apart, in training {:.3g} mm": (evidence.stack.slice_spacing_mm, trained[0]),
        "pixels measure {:.3g} mm, in training {:.3g} mm": (float(in_plane.max()), max(trained[1:])),
    }
    for text, (here, there) in pairs.items():
        if max(here / there, there / here) > SPACING_FACTOR:
            yield Flag("spacing", "warning", "", text.format(here, there), here, there)


def _intensity(evidence: Evidence) -> Iterator[Flag]:
    known = evidence.training.muscle_intensity if evidence.training else {}
    for each in evidence.structures:
        if each.structure.key not in known or not np.isfinite(each.intensity_z):
            continue
        mean, sd = known[each.structure.key]
        off = abs(each.intensity_z - mean) / sd if sd > 0 else float("nan")
        if off > INTENSITY_SDS:
            text = (
                f"{each.structure.display_name}: normalised mean intensity {each.intensity_z:.2f}, {off:.1f} SD from "
                f"the training cases' {mean:.2f}"
            )
            yield Flag("intensity", "warning", each.structure.key, text, off, INTENSITY_SDS)


def _unlike_training(evidence: Evidence) -> Iterator[Flag]:
    serious = len(evidence.unlike) > 1 or any(each.name in SERIOUS_ALONE for each in evidence.unlike)
    for each in evidence.unlike:
        nearest = each.low if each.value < each.low else each.high
        yield Flag("unlike training", "serious" if serious else "warning", "", str(each), each.value, nearest)


def _folds(evidence: Evidence) -> Iterator[Flag]:
    for key, value in evidence.disagreement.items():
        if value > DISAGREEMENT:
            alone = evidence.training and evidence.training.computed_only
            who = "masks of the scan in other contrast and frame" if alone else "the folds' masks"
            text = f"{BY_KEY[key].display_name}: {who} differ by 1 - Dice = {value:.2f} on average"
            yield Flag("folds", _graded(value, DISAGREEMENT_SERIOUS), key, text, value, DISAGREEMENT)


def _training(evidence: Evidence) -> Iterator[Flag]:
    if evidence.training and evidence.training.computed_only:
        yield Flag("training", "info", "", f"the model was {CAUTION}", float("nan"), float("nan"))


_CHECKS: tuple[Callable[[Evidence], Iterator[Flag]], ...] = (
    *(
        _missing,
        _scheme,
        _sides,
        _pieces_beyond_the_midline,
        _fragments,
        _volumes,
        _asymmetry,
        _border,
        _ends,
        _gaps,
        _no_fat,
        _more_fat_than_water,
        _field_of_view,
    ),
    *(_spacing, _intensity, _unlike_training, _folds, _training),
)


def _graded(value: float, serious: float) -> Severity:
    return "serious" if value > serious else "warning"
