"""What a prediction may write where: over nothing that is read, and under names that no two files share."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.viewers.lookup_tables import ITKSNAP_FILE, SLICER_FILE
from paraspinal_nnunet.inference.bids import FILES as BIDS_FILES
from paraspinal_nnunet.inference.records import INDEX_FILE, MEASURES_FOLDER, OutputPaths
from paraspinal_nnunet.inference.scans import FoundScans, Refused, Scan
from paraspinal_nnunet.utils.files import refuse_overwriting_inputs
from paraspinal_nnunet.utils.names import name_fault

if TYPE_CHECKING:
    from paraspinal_nnunet.prediction import PredictionRequest

COHORT_FILES = tuple(
    f"{name}.{ending}"
    for name in ("measures", "asymmetry", "levels", "slices", "flags", "measures_wide", "measures_dictionary")
    for ending in ("tsv", "json")
)
"""Tables of all cases, among the folders of the cases."""


def check_outputs(request: "PredictionRequest", found: FoundScans) -> FoundScans:
    """Refuse to write over an input, and set scans aside whose names cannot be files.

    Returns:
        What was found; scans without a usable name are among the refused.

    Raises:
        InputError: An output that is an input, or lies where it would be read as one the next time.
    """
    good, refused = _by_name(found.scans)
    inputs, trees = _read(request, found)
    written = _written(request.output, good) if request.output.exists() else []
    levels = request.products.levels if request.products else None
    models = [model for model in (request.model, request.then) if model]
    refuse_overwriting_inputs(
        [*inputs, *models, levels], written, folders=[request.output], trees=[*trees, *_folders(models)]
    )
    if not refused:
        return found
    return FoundScans(found.kind, found.line, good, (*found.refused, *refused), found.notes)


def _by_name(scans: Iterable[Scan]) -> tuple[tuple[Scan, ...], list[Refused]]:
    good, refused = [], []
    for scan in scans:
        fault = name_fault(scan.name, reserved=COHORT_FILES)
        if fault is None:
            good.append(scan)
        else:
            refused.append(Refused(scan.source, f"{scan.source}: {fault}; rename it"))
    return tuple(good), refused


def _read(request: "PredictionRequest", found: FoundScans) -> tuple[list[Path], list[Path]]:
    """Files and folders that are read, and folders that are read with all below them."""
    if found.kind == "DICOM" and request.scans.is_dir():
        return [], [request.scans]
    if found.kind == "BIDS" and (request.scans / "derivatives").resolve() not in request.output.resolve().parents:
        return [], [request.scans]
    files = [file for scan in found.scans for file in _sources(scan)]
    return ([request.scans, *files] if found.kind != "BIDS" else files), []


def _sources(scan: Scan) -> tuple[Path, ...]:
    try:
        return scan.sources
    except InputError:  # told when it is loaded
        return scan.files


def _folders(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_dir()]


def _written(output: Path, scans: Iterable[Scan]) -> list[Path]:
    names = (INDEX_FILE, SLICER_FILE, ITKSNAP_FILE, *BIDS_FILES)
    common = [output / name for name in names] + [output / MEASURES_FOLDER / name for name in COHORT_FILES]
    of_cases = (OutputPaths(output, scan.name, scan.mask_name) for scan in scans)
    return common + [path for paths in of_cases for path in (paths.mask, paths.record, *paths.of_outputs.values())]
