"""What is made of a mask beside it: measures with flags, a picture, a page, and for DICOM a SEG object."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import PARASPINAL, Structure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import images_in, stem_of
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.inputs import Scan
from paraspinal_nnunet.inference.records import CaseFiles, CaseRecord, encoded_picture, write_record
from paraspinal_nnunet.utils.files import atomic_path, write_text

if TYPE_CHECKING:
    from paraspinal_nnunet.html import PageCase
    from paraspinal_nnunet.measures.case import Measured

MEASURES, PAGE, PREVIEW, SEGMENTATION = "measures", "page", "preview", "segmentation"


@dataclass(frozen=True)
class Products:
    """What is wanted beside each mask.

    Attributes:
        measures: Tables and flags.
        pages: A page and a picture per case, and a page of all.
        segmentation: A DICOM SEG per DICOM study.
        fat: Thresholds that part fat from muscle; see `measures.case.MeasureOptions`.
        levels: A table of levels, a levels label map, or a folder of these maps; None without levels.
        patient_facts: Show on the page what the DICOM header says of the patient.
    """

    measures: bool = True
    pages: bool = True
    segmentation: bool = True
    fat: tuple[str, ...] = ("otsu",)
    levels: Path | None = None
    patient_facts: bool = False


@dataclass(frozen=True)
class Model:
    """What products say of the model.

    Attributes:
        name: Its name.
        structures: What its labels stand for.
        training: As a manifest holds it, for flags of scans unlike those of the training.
    """

    name: str = ""
    structures: tuple[Structure, ...] = PARASPINAL
    training: Mapping[str, Any] = field(default_factory=dict)


def check_products(products: Products) -> None:
    """Refuse what cannot be made, before anything is predicted.

    Raises:
        InputError: An unknown threshold, or levels that do not exist.
    """
    from paraspinal_nnunet.measures.columns import THRESHOLD_METHODS

    unknown = [method for method in products.fat if method not in THRESHOLD_METHODS]
    if unknown:
        raise InputError(f"fat by '{unknown[0]}' is unknown; choose from {', '.join(THRESHOLD_METHODS)}")
    if products.levels is not None and not products.levels.exists():
        raise InputError(f"{products.levels}: no such file or folder")


def wanted_products(scan: Scan, products: Products) -> dict[str, dict[str, Any]]:
    """What is to stand beside a case's mask, and the settings that it is made with."""
    measured = {"fat": list(products.fat), "levels": products.levels.name if products.levels else None}
    wanted: dict[str, dict[str, Any]] = {}
    if products.measures:
        wanted[MEASURES] = measured
    if products.pages:
        shown = products.patient_facts and bool(scan.facts)
        wanted[PAGE] = {"measures": measured if products.measures else None, "patient_facts": shown}
        wanted[PREVIEW] = {}
    if products.segmentation and scan.study is not None:
        wanted[SEGMENTATION] = {}
    return wanted


def missing_products(
    files: CaseFiles, record: CaseRecord | None, wanted: Mapping[str, dict[str, Any]]
) -> frozenset[str]:
    """What of it is not there, or was made with other settings."""
    paths = {
        MEASURES: files.measures / "measures.json",
        PAGE: files.page,
        PREVIEW: files.preview,
        SEGMENTATION: files.segmentation,
    }
    made: Mapping[str, Any] = record.products if record else {}
    return frozenset(
        name for name, settings in wanted.items() if made.get(name) != settings or not paths[name].is_file()
    )


def make_products(
    files: CaseFiles,
    scan: Scan,
    image: Volume,
    labels: Volume,
    record: CaseRecord,
    *,
    missing: Collection[str],
    products: Products,
    model: Model,
) -> None:
    """Make what is missing, and write the record last.

    Args:
        files: Where to.
        scan: The input.
        image: Its voxels.
        labels: Canonical labels on its grid.
        record: What is known of the case.
        missing: As `missing_products` says.
        products: How.
        model: What made the mask.

    Raises:
        InputError: No levels for this case, or slices that are not axial.
        SetupError: The package for DICOM SEG is missing.
    """
    measured = _measured(scan, image, labels, record, products, model) if {MEASURES, PAGE} & set(missing) else None
    made: dict[str, Callable[[], None]] = {
        SEGMENTATION: lambda: _write_segmentation(files, scan, labels, model),
        MEASURES: lambda: _write_measures(files, measured),
        PREVIEW: lambda: _write_preview(files, image, labels),
    }
    wanted = wanted_products(scan, products)
    for name in [n for n in made if n in missing]:
        made[name]()
    done = dict(record.products) | {name: wanted[name] for name in missing}
    summary = record.summary
    if PAGE in missing:
        summary = _write_page(files, scan, image, labels, record, measured, products, model)
    write_record(files.record, replace(record, products=done, summary=summary))


def levels_of(scan: Scan, levels: Path | None) -> Path | None:
    """The levels of a case: a table as it is, else the map of its name, or the only one that begins with it.

    Raises:
        InputError: None, or several.
    """
    if levels is None or levels.is_file():
        return levels
    files = images_in(levels)
    exact = [p for p in files if stem_of(p.name) == scan.name]
    found = exact or [p for p in files if p.name.startswith(f"{scan.name}_")]
    if len(found) != 1:
        names = ", ".join(p.name for p in found[:3]) or "none"
        raise InputError(f"{scan.name}: needs one levels map in {levels} whose name begins with it; found {names}")
    return found[0]


def _measured(
    scan: Scan, image: Volume, labels: Volume, record: CaseRecord, products: Products, model: Model
) -> "Measured | None":
    if not products.measures:
        return None
    from paraspinal_nnunet.measures.case import MeasureOptions, measure_with_maps
    from paraspinal_nnunet.measures.inputs import Input
    from paraspinal_nnunet.measures.quality import TrainingDescription

    training = TrainingDescription.from_entry(model.training)
    muscles = tuple(dict.fromkeys(s.muscle for s in model.structures))
    return measure_with_maps(
        {"image": Input(image, scan.source)},
        Input(labels, record.mask),
        levels=levels_of(scan, products.levels),
        case=scan.name,
        disagreement=record.disagreement,
        options=MeasureOptions(fat_methods=products.fat, muscles=muscles, training=training),
    )


def _write_measures(files: CaseFiles, measured: "Measured | None") -> None:
    from paraspinal_nnunet.measures.writing import write_case

    if measured is not None:
        write_case(files.measures, measured)


def _write_preview(files: CaseFiles, image: Volume, labels: Volume) -> None:
    from paraspinal_nnunet.html import preview_png

    with atomic_path(files.preview) as temporary:
        temporary.write_bytes(preview_png(image, labels, title=files.case))


def _write_segmentation(files: CaseFiles, scan: Scan, labels: Volume, model: Model) -> None:
    from paraspinal_nnunet.dicom.write_seg import write_segmentation

    if scan.study is None:
        return
    with scan.study.opened() as series:
        write_segmentation(files.segmentation, labels, series.files, model.structures, model_name=model.name)


def _write_page(
    files: CaseFiles,
    scan: Scan,
    image: Volume,
    labels: Volume,
    record: CaseRecord,
    measured: "Measured | None",
    products: Products,
    model: Model,
) -> dict[str, Any]:
    from paraspinal_nnunet.html import case_page, summarise_case

    page = _page_case(scan, image, labels, record, measured, products, model)
    write_text(files.page, case_page(page))
    summary = summarise_case(page)
    return {
        "thumbnail": encoded_picture(summary.thumbnail),
        "volumes_ml": {muscle.value: list(sides) for muscle, sides in summary.volumes_ml.items()},
        "flags": None if summary.flags is None else [list(flag) for flag in summary.flags],
        "review_order": summary.review_order,
    }


def _page_case(
    scan: Scan,
    image: Volume,
    labels: Volume,
    record: CaseRecord,
    measured: "Measured | None",
    products: Products,
    model: Model,
) -> "PageCase":
    from paraspinal_nnunet.html import PageCase, PageMeta
    from paraspinal_nnunet.measures.plots import measure_plots

    result = measured.measures if measured else None
    settings = {name: _text(value) for name, value in record.prediction.items() if name not in ("model", "date")}
    remarks = record.input.get("remarks")
    meta = PageMeta(
        model=str(record.prediction.get("model", "not recorded")),
        version=__version__,
        date=str(record.prediction.get("date", "")) or date.today().isoformat(),
        settings={**settings, **({"Remarks on the header": "; ".join(remarks)} if remarks else {})},
    )
    return PageCase(
        case=scan.name,
        image=image,
        labels=labels,
        measures={name: result.table(name) for name in ("measures", "asymmetry", "levels")} if result else None,
        flags=result.flags if result else None,
        plots=measure_plots(result) if result else None,
        meta=meta,
        patient=scan.facts if products.patient_facts else None,
        severity=result.severity if result else None,
    )


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
