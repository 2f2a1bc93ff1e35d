"""What all cases of an output folder share: the page of all, the tables of all, and colour tables for the masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.inference.records import (
    INDEX_FILE,
    MEASURES,
    MEASURES_FOLDER,
    PAGE,
    PAGES_FOLDER,
    RECORDS_FOLDER,
    OutputPaths,
    PredictionRecord,
    decoded_picture,
    read_record,
)
from paraspinal_nnunet.utils.files import write_text
from paraspinal_nnunet.utils.fingerprint import Fingerprint


def write_overview(output: Path, failures: Mapping[str, str], *, model: str = "") -> list[Path]:
    """Join what the cases of a folder have: tables of all measures, and a page in the order of review.

    All cases that stand in the folder count, also those of earlier calls and of other shards.

    Args:
        output: The folder.
        failures: Case -> why it has no result, of this call; what stands of it is of an earlier scan and left out.
        model: Name of the model, for the page.

    Returns:
        The page and the tables, as far as there is something for them.
    """
    records = standing_records(output)
    written = []
    records = [r for r in records if r.case not in failures]
    measured = [r for r in records if MEASURES in r.products and (output / MEASURES_FOLDER / r.case).is_dir()]
    if measured:
        from paraspinal_nnunet.measures.outputs.writing import write_cohort

        folder = output / MEASURES_FOLDER
        written += write_cohort(folder, [folder / r.case for r in measured])
    shown = [r for r in records if PAGE in r.products]
    if shown or ((output / PAGES_FOLDER).is_dir() and failures):
        written.insert(0, _write_index(output, shown, failures, model))
    return written


def is_current(output: Path, *, measures: bool, pages: bool) -> bool:
    """Whether the page and the tables of all cases are there, and no case changed after them.

    Args:
        output: The folder.
        measures: Tables are wanted.
        pages: The page is wanted.
    """
    wanted = [output / INDEX_FILE] * pages + [output / MEASURES_FOLDER / "measures.tsv"] * measures
    if not all(path.is_file() for path in wanted):
        return False
    written = min((path.stat().st_mtime_ns for path in wanted), default=None)
    records = (output / RECORDS_FOLDER).glob("*.json")
    return written is None or all(path.stat().st_mtime_ns <= written for path in records)


def standing_records(output: Path) -> list[PredictionRecord]:
    """The records of all cases whose masks stand in a folder, by name."""
    found = (read_record(path) for path in sorted((output / RECORDS_FOLDER).glob("*.json")))
    return [r for r in found if r is not None and OutputPaths(output, r.case, r.mask).mask.is_file()]


def known_model(output: Path) -> Fingerprint | None:
    """Which model made the masks of an output folder, as far as a record says so."""
    for path in sorted((output / RECORDS_FOLDER).glob("*.json")):
        record = read_record(path)
        if record is not None and record.fingerprints.get("model"):
            return Fingerprint(str(record.fingerprints["model"]), str(record.times.get("model_look", "")))
    return None


def _write_index(output: Path, records: Sequence[PredictionRecord], failures: Mapping[str, str], model: str) -> Path:
    from paraspinal_nnunet.html import CaseSummary, PageMeta, batch_pages

    lines = [_summary(record) for record in records]
    lines += [CaseSummary(case=name, failure=reason) for name, reason in failures.items()]
    first = Path(INDEX_FILE)
    earlier = set(output.glob(f"{first.stem}_[0-9]*{first.suffix}"))
    for name, page in batch_pages(lines, meta=PageMeta(model=model)):
        write_text(output / name, page)
        earlier.discard(output / name)
    for path in earlier:
        path.unlink()
    return output / INDEX_FILE


def _summary(record: PredictionRecord) -> Any:
    from paraspinal_nnunet.html import CaseSummary

    kept = record.summary
    flags = kept.get("flags")
    return CaseSummary(
        case=record.case,
        thumbnail=decoded_picture(kept.get("thumbnail", "")),
        volumes_ml={Muscle(name): (sides[0], sides[1]) for name, sides in kept.get("volumes_ml", {}).items()},
        flags=None if flags is None else tuple((flag[0], flag[1]) for flag in flags),
        review_order=float(kept.get("review_order", 0.0)),
        link=f"{PAGES_FOLDER}/{record.case}.html",
    )
