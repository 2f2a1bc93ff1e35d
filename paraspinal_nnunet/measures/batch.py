"""Measuring many cases: label maps with the scans, levels and Dixon images of the same name."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from paraspinal_nnunet.errors import InputError, ParaspinalError, reason_of
from paraspinal_nnunet.image_io.images import ENDINGS, ending_of, images_in, stem_of
from paraspinal_nnunet.image_io.pairing import no_images, partners, warn_left_out
from paraspinal_nnunet.measures.case import MeasureOptions, check_options, measure_with_maps, methods_of, settings
from paraspinal_nnunet.measures.outputs.columns import TABLES
from paraspinal_nnunet.measures.outputs.writing import (
    DICTIONARY,
    WIDE,
    WORKBOOK_FILE,
    known_origin,
    table_file,
    what_changed,
    write_case,
    write_cohort,
)
from paraspinal_nnunet.utils.files import refuse_overwriting_inputs
from paraspinal_nnunet.utils.fingerprint import fingerprint
from paraspinal_nnunet.utils.names import name_fault
from paraspinal_nnunet.utils.text import some
from paraspinal_nnunet.utils.workers import default_workers

MASK_SUFFIXES = ("_dseg", "_seg", "_GT", "_mask", "_labels", "_label", ".seg")
"""Endings of label maps' names that are no part of the case's name; the last is 3D Slicer's, of ``a.seg.nrrd``."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchRequest:
    """What to measure.

    Attributes:
        labels: A label map, or a folder of them: one case each.
        output: Folder for the results.
        scans: A scan, or the folder with each case's; None measures sizes alone.
        levels: A table of slices, a levels label map, or a folder of these maps; None without levels.
        water: Dixon water image or folder.
        fat: Dixon fat image or folder.
        options: How to measure.
        fat_maps: Write maps of fat.
        xlsx: Write all tables as a workbook, too.
        overwrite: Measure again what is there already.
        workers: Cases at a time; None takes one per core.
    """

    labels: Path
    output: Path
    scans: Path | None = None
    levels: Path | None = None
    water: Path | None = None
    fat: Path | None = None
    options: MeasureOptions = field(default_factory=MeasureOptions)
    fat_maps: bool = False
    xlsx: bool = False
    overwrite: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class BatchResult:
    """What became of the cases.

    Attributes:
        measured: Cases that were measured, in order.
        kept: Cases whose results stood there already.
        again: Case -> why it was measured again although results stood there.
        failed: Case -> why it could not be measured.
        files: Tables of all cases and the data dictionary.
    """

    measured: tuple[str, ...]
    kept: tuple[str, ...]
    again: Mapping[str, str]
    failed: Mapping[str, str]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Case:
    name: str
    mask: Path


@dataclass(frozen=True)
class _Kept:
    """A case whose results stay."""


@dataclass(frozen=True)
class _Measured:
    """A case that was measured; `again` says why where results stood there."""

    again: str = ""


_Outcome = _Kept | _Measured | ParaspinalError

_Listed = Mapping[Path, Sequence[Path]]
"""Folder -> its image files."""


def measure_batch(request: BatchRequest) -> BatchResult:
    """Measure all cases; one that cannot be measured does not stop the others.

    Writes ``OUT/CASE/`` for each case and the tables of all cases, with their data dictionary, into ``OUT``.

    Raises:
        InputError: Nothing to measure, folders that do not exist, options that are not known.
    """
    _check(request)
    cases = _cases(request)
    listed = _listed(request)
    _tell_left_out(request, cases, listed)
    _check_outputs(request, cases, listed)
    outcomes: dict[str, _Outcome] = {}
    workers = request.workers or default_workers()
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(cases), desc="measure", unit="case") as bar:
        try:
            for case, outcome in pool.map(lambda c: (c, _outcome(request, c, listed, alone=len(cases) == 1)), cases):
                outcomes[case.name] = outcome
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    good = [name for name, outcome in outcomes.items() if not isinstance(outcome, ParaspinalError)]
    measured = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, _Measured)}
    files = write_cohort(request.output, [request.output / name for name in good], xlsx=request.xlsx) if good else []
    return BatchResult(
        measured=tuple(measured),
        kept=tuple(name for name, outcome in outcomes.items() if isinstance(outcome, _Kept)),
        again={name: outcome.again for name, outcome in measured.items() if outcome.again},
        failed={name: str(error) for name, error in outcomes.items() if isinstance(error, ParaspinalError)},
        files=tuple(files),
    )


def _check(request: BatchRequest) -> None:
    check_options(request.options)
    if (request.water is None) != (request.fat is None):
        raise InputError("the Dixon fat fraction needs both the water and the fat images; give both")
    if request.workers is not None and request.workers < 1:
        raise InputError(f"{request.workers} workers cannot measure; give 1 or more")
    if request.output.exists() and not request.output.is_dir():
        raise InputError(f"output {request.output} is a file; give a folder")
    for path in (request.labels, request.scans, request.levels, request.water, request.fat):
        if path is not None and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: no such file or folder")


def _cases(request: BatchRequest) -> list[_Case]:
    """One case per label map; in a folder that holds scans too, label maps are known by their ending."""
    labels = request.labels
    masks = [labels] if labels.is_file() else images_in(labels)
    if labels in (request.scans, request.levels, request.water, request.fat):
        masks = [mask for mask in masks if _is_mask(mask)]
    if not masks:
        raise InputError(
            f"{labels}: holds no label map ({' or '.join(ENDINGS)}; beside scans named *{', *'.join(MASK_SUFFIXES)})"
        )
    cases = [_Case(_case_of(mask), mask) for mask in masks]
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{labels}: two label maps are of case {twice[0]}; keep one")
    return cases


def _tell_left_out(request: BatchRequest, cases: Sequence[_Case], listed: _Listed) -> None:
    """Name what lies in the folders and is not measured, and scans that several label maps are measured in."""
    folders = [request.labels, request.scans, request.levels, request.water, request.fat]
    for folder in dict.fromkeys(path for path in folders if path is not None and path.is_dir()):
        warn_left_out(log, folder, no_images(folder), "no image that can be read")
    scans = request.scans
    if scans is not None and scans in listed and len(cases) > 1:
        stems = {stem_of(path.name) for path in listed[scans]}
        used: dict[str, list[str]] = {}
        for case in cases:
            for name in partners(case.name, stems):
                used.setdefault(name, []).append(case.name)
        for name, owners in used.items():
            if len(owners) > 1:
                log.warning("%s: scan %s is taken for %s, by its name; are all drawn on it?", scans, name, some(owners))
        unused = [path for path in listed[scans] if stem_of(path.name) not in used]
        warn_left_out(log, scans, unused, "without label map")


def _check_outputs(request: BatchRequest, cases: Sequence[_Case], listed: _Listed) -> None:
    """Refuse names that no folder can have, and outputs that are inputs."""
    names = (*TABLES, WIDE, DICTIONARY)
    tables = [*(table_file(name) for name in names), *(f"{name}.json" for name in names), WORKBOOK_FILE]
    for case in cases:
        if fault := name_fault(case.name, reserved=tables):
            raise InputError(f"{case.mask}: {fault}; rename the label map")
    single = [p for p in (request.scans, request.levels, request.water, request.fat) if p is not None and p.is_file()]
    refuse_overwriting_inputs(
        [*(case.mask for case in cases), *single, *(path for files in listed.values() for path in files)],
        [request.output / name for name in tables],
        replaced=[request.output / case.name for case in cases],
    )


def _listed(request: BatchRequest) -> dict[Path, list[Path]]:
    """The image files of each folder in which cases look for theirs; without label maps where these lie among them."""
    places = (request.scans, request.levels, request.water, request.fat)
    return {
        place: [path for path in images_in(place) if place != request.labels or not _is_mask(path)]
        for place in places
        if place is not None and place.is_dir()
    }


def _outcome(request: BatchRequest, case: _Case, listed: _Listed, *, alone: bool) -> _Outcome:
    """Whatever goes wrong with a case is that case's failure and no other's."""
    try:
        return _measure_case(request, case, listed, alone=alone)
    except ParaspinalError as error:
        return error
    except Exception as error:
        log.debug("case %s", case.name, exc_info=error)
        return InputError(f"{case.mask}: {reason_of(error)}")


def _measure_case(request: BatchRequest, case: _Case, listed: _Listed, *, alone: bool) -> _Outcome:
    places = {"image": request.scans, "water": request.water, "fat": request.fat}
    images = {
        what: _partner(place, case, what, listed, alone=alone) for what, place in places.items() if place is not None
    }
    levels = _levels_of(request, case, listed, alone=alone)
    folder = request.output / case.name
    options = request.options
    methods = methods_of(options, images)
    files = {"labels": case.mask, **images, **({"levels": levels} if levels else {})}
    known = known_origin(folder)
    inputs = {what: fingerprint(path, known=known.get(what)) for what, path in files.items()}
    again = ""
    if folder.exists() and not request.overwrite:
        again = what_changed(folder, settings(options, methods), inputs, fat_maps=methods if request.fat_maps else ())
        if not again:
            return _Kept()
    found = measure_with_maps(images, case.mask, levels=levels, case=case.name, options=options)
    write_case(folder, found, fat_maps=request.fat_maps, inputs=inputs)
    return _Measured(again)


def _levels_of(request: BatchRequest, case: _Case, listed: _Listed, *, alone: bool) -> Path | None:
    if request.levels is None or _is_table(request.levels):
        return request.levels
    return _partner(request.levels, case, "levels map", listed, alone=alone)


def _is_table(path: Path) -> bool:
    return path.is_file() and not ending_of(path.name)


def _partner(place: Path, case: _Case, what: str, listed: _Listed, *, alone: bool) -> Path:
    """The file of a case: of its name, or the only one that `partners` finds."""
    if place.is_file():
        if alone:
            return place
        raise InputError(f"case {case.name}: {place} is one file for several cases; give a folder")
    goes_with = partners(case.name, {stem_of(path.name) for path in listed[place]})
    found = [path for path in listed[place] if stem_of(path.name) in goes_with]
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:3]) or "none"
        raise InputError(f"case {case.name}: needs one {what} in {place} of its name; found {names}")
    return found[0]


def _case_of(mask: Path) -> str:
    name = stem_of(mask.name)
    return next((name.removesuffix(s) for s in MASK_SUFFIXES if name.endswith(s) and len(name) > len(s)), name)


def _is_mask(path: Path) -> bool:
    return _case_of(path) != stem_of(path.name)


def summary_lines(result: BatchResult) -> Sequence[str]:
    """What to tell the user."""
    lines = [f"measured: {len(result.measured)}, kept: {len(result.kept)}, failed: {len(result.failed)}"]
    reasons: dict[str, list[str]] = {}
    for case, reason in result.again.items():
        reasons.setdefault(reason, []).append(case)
    for reason, names in reasons.items():
        told = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        lines.append(f"made again, {reason}: {told}")
    if result.files:
        lines.append(f"written: {', '.join(path.name for path in result.files)} in {result.files[0].parent}")
    return lines
