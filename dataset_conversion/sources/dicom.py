"""Studies as scanners and archives give them: one folder or zip per study, labels as DICOM SEG or as label maps.

Case ids are pseudonyms, and neither names nor ids, dates or UIDs of patients are written, unless that is asked for.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from paraspinal_nnunet.anatomy import BY_KEY, LABEL_SCHEMES, STRUCTURES
from paraspinal_nnunet.dataset_conversion.case import Case, Source
from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation, from_entries, label_map
from paraspinal_nnunet.dataset_conversion.patterns.pairing import pattern
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.dataset_conversion.sources.dicom_studies import Choices, DicomCase, find_studies
from paraspinal_nnunet.dicom import Series, opened_source, read_grid, read_segmentation, read_stack
from paraspinal_nnunet.dicom.deidentify import without_identifiers
from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.volume import Volume

HELP = "DICOM studies, one folder or zip each, with DICOM SEG objects or label maps"
LAYOUT = "STUDY/... or STUDY.zip, any files below [+ a DICOM SEG among them | labels by --label-pattern]"
DEFAULT_NAME = "Dicom"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--series",
        metavar="NUMBER|UID|REGEX",
        help="the series to take in every study (default: the axial T2 stack, by the rules)",
    )
    parser.add_argument(
        "--segmentation", metavar="NUMBER|UID|REGEX", help="the DICOM SEG to take where a study holds several"
    )
    parser.add_argument(
        "--rater2-segmentation", metavar="NUMBER|UID|REGEX", help="the DICOM SEG of a second rater, for --rater2"
    )
    parser.add_argument(
        "--label-pattern",
        metavar="GLOB",
        help="label maps instead of DICOM SEG, e.g. 'labels/{case}.nii.gz', where {case} is the name of the study's "
        "folder or zip",
    )
    parser.add_argument(
        "--labels",
        metavar="FILE|SCHEME",
        help="label value, or number of the DICOM SEG's segment, -> class (default: 'author' for label maps; codes and "
        "names of the segments for DICOM SEG)",
    )
    parser.add_argument("--quadratus", action="store_true", help="keep quadratus lumborum as a class")
    parser.add_argument("--ids", type=Path, metavar="TSV", help="table of PatientID and subject id, for case ids")
    parser.add_argument(
        "--keep-identifiers",
        action="store_true",
        help="name cases by their folders and subjects by PatientID, and write file names (default: pseudonyms)",
    )
    parser.add_argument("--explain", action="store_true", help="print why each series was chosen or rejected")


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    choices = Choices(
        series=args.series,
        segmentation=args.segmentation,
        second_segmentation=args.rater2_segmentation,
        label_pattern=pattern(args.label_pattern) if args.label_pattern else None,
        ids=args.ids,
        keep_identifiers=args.keep_identifiers,
        explain=args.explain,
    )
    return dicom_source(choices, labels=args.labels, quadratus=args.quadratus, **given_texts(args))


def dicom_source(
    choices: Choices | None = None,
    *,
    labels: str | None = None,
    quadratus: bool = False,
    licence: str = "",
    reference: str = "",
) -> Source:
    """Declare a folder of studies.

    Args:
        choices: What was chosen about studies.
        labels: Scheme or file: label values, or numbers of segments, and their classes.
        quadratus: Keep quadratus lumborum.
        licence: Of the data.
        reference: To the data.

    Raises:
        LabelError: No such scheme or file.
        InputError: Identifiers are both kept and replaced.
    """
    choices = choices or Choices()
    if choices.keep_identifiers and choices.ids:
        raise InputError("--keep-identifiers and --ids exclude each other; give one of them")
    own = label_map(labels, quadratus=quadratus) if labels else None
    if choices.label_pattern:
        values = own or label_map(next(iter(LABEL_SCHEMES)), quadratus=quadratus)
        mapping = None
    else:
        values, mapping = _segment_labels(own, quadratus)
    return Source(
        "dicom",
        values,
        partial(find_studies, choices=choices),
        read_images=read_series,
        read_labels=partial(read_series_labels, mapping=mapping),
        licence=licence,
        reference=reference,
        settings=_settings(choices),
        private=not choices.keep_identifiers,
    )


def read_series(case: Case) -> tuple[Volume, ...]:
    """The chosen series of a study.

    Raises:
        InputError: As `dicom.read_stack`, without what identifies the patient.
    """
    with _opened(case) as (image,):
        return (read_stack(image, name=_shown(case, image)).volume,)


def read_series_labels(case: Case, *, mapping: Mapping[int, str] | None) -> Volume:
    """The labels of a study: a label map in source values, or a DICOM SEG in canonical ones.

    Raises:
        InputError: As `dicom.read_segmentation`, without what identifies the patient.
    """
    segmentation = case.segmentations.get(case.label) if isinstance(case, DicomCase) else None
    if segmentation is None:
        return read_labels(case.label)
    with _opened(case, segmentation) as (image, there):
        grid = read_grid(image, name=_shown(case, image))
        return read_segmentation(there, grid, mapping=mapping, name=_shown(case, there))


def _segment_labels(own: LabelTranslation | None, quadratus: bool) -> tuple[LabelTranslation, dict[int, str] | None]:
    """The label map of canonical values, and what the numbers of segments stand for, where that is given."""
    if own is None:
        return from_entries("DICOM SEG", {s.label: s.key for s in STRUCTURES}, quadratus=quadratus), None
    canonical = {BY_KEY[key].label: key for key in own.values.values()}
    mapping = {**own.values, **dict.fromkeys(own.dropped, "ignore")}
    return from_entries(own.name, canonical, quadratus=quadratus), mapping


def _settings(choices: Choices) -> dict[str, str]:
    return {
        "series": "asked for" if choices.series else "axial T2 stack by the rules",
        "labels": "label maps" if choices.label_pattern else "DICOM SEG",
        "identifiers": "kept" if choices.keep_identifiers else "removed",
    }


def _shown(case: Case, series: Series) -> str:
    """What messages call a series: its description may hold anything."""
    return f"{case.case}: series {series.key}"


@contextmanager
def _opened(case: Case, *series: Series) -> Iterator[list[Series]]:
    """The image series of a case and others of its study, with files that exist meanwhile."""
    if not isinstance(case, DicomCase) or case.series is None:
        raise InputError(f"{case.image}: was not found as a DICOM study")
    wanted = [case.series, *series]
    try:
        if case.archive is None:
            yield wanted
        else:
            with opened_source(case.archive) as folder:
                yield [s.moved(folder) for s in wanted]
    except ParaspinalError as error:
        reason = without_identifiers(str(error), [case.series.header.patient])
        raise type(error)(f"{case.image}: {reason}") from error
