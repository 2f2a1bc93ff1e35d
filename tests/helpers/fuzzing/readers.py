"""Every reader of other people's files: valid files for it, how they are broken, and how it is called."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers.command_line import quietly
from helpers.fuzzing import seeds
from helpers.fuzzing.mutations import (
    Mutation,
    inside_gzip,
    inside_zip,
    of_bytes,
    of_dicom,
    of_json,
    of_protobuf,
    of_stored_zip,
    of_text,
)


@dataclass(frozen=True)
class Reader:
    """One way in.

    Attributes:
        make: Fills an empty folder with valid files.
        targets: Pattern of the files that are broken, one at a time -> how.
        read: Reads what lies in such a folder.
    """

    make: Callable[[Path], object]
    targets: Mapping[str, Mutation]
    read: Callable[[Path], object]


def read_images(folder):
    from paraspinal_nnunet.image_io.images import images_in, read_image, read_labels, read_uint8_labels

    for path in images_in(folder):
        volume = read_image(path)
        assert volume.array.ndim == 3, path
        read_labels(path)
    if (folder / "mask.nii.gz").is_file():
        read_uint8_labels(folder / "mask.nii.gz")


def one_nifti(name):
    def make(folder):
        seeds.nifti_images(folder)
        for path in folder.iterdir():
            if path.name != name:
                path.unlink()

    return make


def one_itk(name):
    def make(folder):
        seeds.itk_images(folder)
        for path in folder.iterdir():
            if path.name.split(".")[0] != name.split(".")[0] or not path.name.endswith((name[-4:], ".raw")):
                path.unlink()

    return make


def read_dicom(folder):
    from paraspinal_nnunet.errors import InputError
    from paraspinal_nnunet.inference.dicom.inputs import find_dicom
    from paraspinal_nnunet.inference.scans import InputChoice

    found = find_dicom(folder / "a.zip" if (folder / "a.zip").exists() else folder, InputChoice())
    if not found.scans:
        raise InputError(found.refused[0].reason if found.refused else f"{folder}: none")
    for scan in found.scans:
        scan.read()


def read_seg(folder):
    from paraspinal_nnunet.dicom.find import find_series
    from paraspinal_nnunet.dicom.segmentation.read import read_segmentation
    from paraspinal_nnunet.dicom.stack import read_stack
    from paraspinal_nnunet.errors import InputError

    found = find_series(folder / "seg")
    if not found:
        raise InputError(f"{folder}: no DICOM")
    read_segmentation(found[0], read_stack(find_series(folder / "image")[0]))


def read_label_files(folder):
    from paraspinal_nnunet.dataset_conversion.labels.files import read_label_file, read_structure_file

    for path in sorted(folder.glob("?.*")):
        read_label_file(path)
    read_structure_file(folder / "structures.json")


def make_label_files(folder):
    seeds.label_files(folder)
    (folder / "structures.json").write_text('{"MF_right": "multifidus_right", "MF_left": "multifidus_left"}')


def read_small_tables(folder):
    from paraspinal_nnunet.dataset_conversion.participants import read_participants
    from paraspinal_nnunet.evaluation.comparison.design import read_design
    from paraspinal_nnunet.image_io.level_table import read_levels
    from paraspinal_nnunet.measures.level_names import read_level_names
    from paraspinal_nnunet.nnunet.datasets import read_case_table

    read_levels(folder / "levels.csv")
    read_participants(folder / "participants.tsv")
    read_case_table(folder / "cases.tsv", ["a", "b"])
    read_design(folder / "design.tsv", ["near", "far"])
    for name in ("names.json", "names.yaml"):
        read_level_names(folder / name)


def convert_bids(folder):
    from paraspinal_nnunet.errors import InputError

    raw = folder.parent / "raw"
    words = ("convert", "bids", "-i", folder, "-d", "501", "-np", "1", "--raw", raw, "--overwrite")
    if quietly(*words):
        raise InputError("said in the report")


def read_trained(folder):
    from paraspinal_nnunet.models.description import describe_model
    from paraspinal_nnunet.models.trained import read_trained_model

    describe_model(folder)
    read_trained_model(folder).resolved_configuration()


def predict_trained(folder):
    predict(folder)


def predict(model):
    import numpy as np

    from paraspinal_nnunet.image_io.volume import Volume
    from paraspinal_nnunet.inference.options import PredictionOptions
    from paraspinal_nnunet.inference.segmenters import opened_segmenter

    importlib.import_module("nnunetv2.inference.predict_from_raw_data")  # else a file taken for nnU-Net's pays for it
    scan = Volume(seeds.grey(shape=(24, 20, 4)).astype(np.float32), np.diag([1.0, 1.0, 4.0, 1.0]))
    with opened_segmenter(model, PredictionOptions(device="cpu", timeout=30.0)) as segmenter:
        segmenter.segment(scan)


def predict_archive(folder):
    from paraspinal_nnunet.models.description import describe_model, identify_model

    describe_model(folder / "model.zip")
    identify_model(folder / "model.zip")
    predict(folder / "model.zip")


def import_archive(folder):
    from paraspinal_nnunet.models.exported import import_model

    import_model(folder / "model.zip", folder.parent / "results", overwrite=True)


def read_study_yaml(folder):
    from paraspinal_nnunet.workflow.settings import read_study

    read_study(folder)


def make_study_yaml(folder):
    from helpers.studies import SETTINGS, STUDY

    text = STUDY.replace("SETTINGS", SETTINGS).replace("ITERATIONS", "8")
    (folder / "study.yaml").write_text(text)


def go_on_converting(folder):
    from paraspinal_nnunet.errors import InputError

    if seeds.convert_author(folder):
        raise InputError("said in the report")


def read_raw_data(folder):
    from paraspinal_nnunet.nnunet.datasets import read_cases
    from paraspinal_nnunet.nnunet.splits import check_fold_cases, check_splits, planned_subjects, read_splits
    from paraspinal_nnunet.planning.dataset_json import read_description
    from paraspinal_nnunet.planning.raw_data import check_raw_data

    (raw,) = (folder / "raw").glob("Dataset*")
    read_description(raw)
    cases = read_cases(raw)
    path, subjects = folder / "splits_final.json", dict(zip(cases["case"], cases["subject"], strict=True))
    splits = read_splits(path)
    check_splits(splits, subjects, folds=2, path=path)
    check_fold_cases(splits[0], 0, planned_subjects(folder), path)
    check_raw_data(raw, processes=1)


def read_evaluated(folder):
    from paraspinal_nnunet.evaluation.predictions import gather_predictions
    from paraspinal_nnunet.evaluation.references import find_references

    references = find_references(folder / "labelsTr")
    for name in ("near", "far"):
        gather_predictions(name, folder / name, references)


def read_evaluation(folder):
    from paraspinal_nnunet.evaluation.comparison.data import load_study
    from paraspinal_nnunet.evaluation.record import read_record
    from paraspinal_nnunet.evaluation.report.methods import model_settings
    from paraspinal_nnunet.evaluation.report.statistics import further_tables, read_statistics, report_tables

    for model in read_record(folder / "evaluation").models.values():
        model_settings(model)
    load_study(folder / "evaluation", average_cases=True)
    study, _ = read_statistics(folder / "statistics", folder / "evaluation", folder / "report")
    report_tables(study)
    further_tables(study)


def predict_over(folder):
    from paraspinal_nnunet.errors import InputError

    words = ("measure", "-l", folder / "out", "-i", folder / "scans", "-o", folder / "measured", "-np", "1")
    if seeds.predict_again(folder) or quietly(*words):
        raise InputError("said of the case")


def read_workflow(folder):
    from paraspinal_nnunet.workflow.provenance import is_complete
    from paraspinal_nnunet.workflow.settings import read_study
    from paraspinal_nnunet.workflow.state import marker
    from paraspinal_nnunet.workflow.status import expected_jobs, status_text

    study = read_study(folder)
    status_text(study)
    for job in expected_jobs(study):
        is_complete(marker(study.folder, job), "x")


def resume_training(folder):
    trainer = seeds.trainer_at(folder)
    trainer.resuming = True
    trainer.initialize()
    trainer.do_split()
    trainer.load_checkpoint(str(folder / "checkpoint_latest.pth"))


def begin_with_weights(folder):
    from paraspinal_nnunet.trainers.pretrained import load_pretrained

    trainer = seeds.trainer_at(folder)
    trainer.initialize()
    load_pretrained(trainer, folder / "checkpoint_latest.pth")


TABLES_AND_RECORDS = (("json", of_json), ("tsv", of_text))
IN_MODEL = {".json": of_json, ".onnx": of_protobuf, ".pth": of_stored_zip}

READERS: dict[str, Reader] = {
    **{
        name: Reader(one_nifti(name), {name: inside_gzip(of_bytes) if name.endswith(".gz") else of_bytes}, read_images)
        for name in ("a.nii", "b.nii", "a.nii.gz", "b.nii.gz")
    },
    **{
        name: Reader(one_itk(name), {f"*{name[-5:]}": of_bytes, f"*.{name.split('.')[1]}": of_text}, read_images)
        for name in ("a.mha", "packed.mha", "a.nrrd", "packed.nrrd", "a.mhd", "a.nhdr")
    },
    "dicom series": Reader(seeds.dicom_series, {"IM*": of_dicom}, read_dicom),
    "dicom enhanced": Reader(seeds.dicom_enhanced, {"a.dcm": of_dicom}, read_dicom),
    "dicom deflated": Reader(seeds.dicom_deflated, {"*.dcm": of_dicom}, read_dicom),
    "dicom zip": Reader(seeds.dicom_zip, {"a.zip": inside_zip({"": of_dicom})}, read_dicom),
    "dicom seg": Reader(seeds.dicom_seg, {"seg/seg.dcm": of_dicom}, read_seg),
    "label files": Reader(make_label_files, {"*.json": of_json, "a.[!j]*": of_text}, read_label_files),
    "small tables": Reader(
        seeds.small_tables, {"*.[ct]sv": of_text, "*.json": of_json, "*.yaml": of_text}, read_small_tables
    ),
    "bids": Reader(
        seeds.bids,
        {"**/*.json": of_json, "**/*.tsv": of_text, ".bidsignore": of_text, "sub-01/**/*.gz": inside_gzip(of_bytes)},
        convert_bids,
    ),
    "study.yaml": Reader(make_study_yaml, {"study.yaml": of_text}, read_study_yaml),
    "trained model": Reader(
        seeds.trained_model, {"**/*.json": of_json, "**/*.pth": of_stored_zip}, read_trained
    ),
    "trained predict": Reader(
        seeds.trained_model, {"*.json": of_json, "**/*.pth": of_stored_zip}, predict_trained
    ),
    "exported predict": Reader(
        seeds.exported_archive, {"model.zip": inside_zip(IN_MODEL, seeds.rehash)}, predict_archive
    ),
    "exported import": Reader(
        seeds.exported_archive, {"model.zip": inside_zip(IN_MODEL, seeds.rehash)}, import_archive
    ),
    "portable predict": Reader(
        seeds.portable_archive, {"model.zip": inside_zip(IN_MODEL, seeds.rehash)}, predict_archive
    ),
    "stopped conversion": Reader(
        seeds.stopped_conversion,
        {"raw/.Dataset501*/**/*.json": of_json, "**/*.gz": inside_gzip(of_bytes)},
        go_on_converting,
    ),
    "raw data": Reader(
        seeds.raw_data,
        {"**/*.json": of_json, "**/*.tsv": of_text, "raw/*/imagesTr/a*": inside_gzip(of_bytes)},
        read_raw_data,
    ),
    "evaluated folders": Reader(
        seeds.evaluation, {"dataset.json": of_json, "cases.tsv": of_text, "near/*.json": of_json}, read_evaluated
    ),
    "evaluation": Reader(
        seeds.evaluation,
        {"evaluation/*.json": of_json, "evaluation/*.tsv": of_text, "statistics/*.json": of_json},
        read_evaluation,
    ),
    "predictions": Reader(
        seeds.predictions,
        {f"{folder}/**/*.{ending}": how for folder in ("out", "measured") for ending, how in TABLES_AND_RECORDS},
        predict_over,
    ),
    "workflow": Reader(seeds.workflow, {"state/**/*.json": of_json}, read_workflow),
    "training": Reader(
        seeds.tiny_training, {"*.pth": of_stored_zip, "preprocessed/*/[Tds]*.json": of_json}, resume_training
    ),
    "first weights": Reader(seeds.tiny_training, {"*.pth": of_stored_zip}, begin_with_weights),
}  # fmt: skip
