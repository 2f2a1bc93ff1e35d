"""All verbs that write, as they are killed here: what each reads, its command, and what equal runs have in common.

Inputs are made once per folder, when the first verb asks for them.
"""

import functools
import gzip
import hashlib
import json
import shutil
import zipfile

from helpers.command_line import paraspinal, quietly
from helpers.faults import Verb, environment, hashes, out_of

SETTINGS = ("spacing=15.625,3.12,3.12", "patch_size=32,32", "batch_size=4", "crops_per_case=2", "threads=1")
ITERATIONS = ("iterations=12", "iterations_per_epoch=2", "val_iterations=1")
PLANS = ("-p", "Tiny")


def once(make):
    """Let inputs be made once per folder."""

    @functools.wraps(make)
    def made(folder):
        done = folder / f".{make.__name__}"
        if not done.exists():
            make(folder)
            done.touch()
        return folder

    return made


@once
def scans(folder):
    """Three painted scans, their masks, other masks, and measures of both."""
    from helpers.fuzzing import seeds
    from helpers.tiny_portable import AFFINE, boxes, painted, write_tiny_model

    write_tiny_model(folder / "tiny")
    for number, case in enumerate("abc"):
        seeds.write_nifti(folder / "images" / f"{case}.nii.gz", painted(boxes(), number), AFFINE)
        seeds.write_nifti(folder / "later" / f"{case}.nii.gz", painted(boxes(), number + 3), AFFINE)
        for name in ("labelsTr", "near"):
            seeds.write_nifti(folder / name / f"{case}.nii.gz", boxes(), AFFINE)


@once
def measured(folder):
    scans(folder)
    for name in ("images", "later"):
        words = ("-l", folder / "labelsTr", "-i", folder / name, "-o", folder / f"measured_{name}", "-np", "1")
        quietly("measure", *words)
    (folder / "people.tsv").write_text("case\tsex\nx\tF\n")


@once
def many_measured(folder):
    """Measures of eight cases, and whose they are."""
    from helpers.fuzzing import seeds
    from helpers.tiny_portable import AFFINE, boxes, painted

    for number, case in enumerate("abcdefgh"):
        seeds.write_nifti(folder / "eight" / f"{case}.nii.gz", painted(boxes(), number), AFFINE)
        seeds.write_nifti(folder / "eight_masks" / f"{case}.nii.gz", boxes(), AFFINE)
    words = ("-l", folder / "eight_masks", "-i", folder / "eight", "-o", folder / "eight_measured", "-np", "1")
    quietly("measure", *words)
    rows = [f"{case}\t{'FM'[n % 2]}\t{40 + 3 * n % 17}\n" for n, case in enumerate("abcdefgh")]
    (folder / "eight.tsv").write_text("case\tsex\tage\n" + "".join(rows))


@once
def evaluated(folder):
    scans(folder)
    quietly("evaluate", "-ref", folder / "labelsTr", *_models(folder), "-o", folder / "evaluated", "-np", "1")


def _models(folder):
    return ("--pred", f"a={folder}/near", f"b={folder}/labelsTr")


@once
def author_scans(folder):
    from helpers.fuzzing import seeds

    seeds.author_scans(folder / "scans")
    (folder / "raw").mkdir()
    seeds.convert_author(folder)


@once
def dicom_archive(folder):
    from helpers.fuzzing import seeds

    (folder / "dicom").mkdir()
    seeds.dicom_zip(folder / "dicom")


@once
def model(folder):
    """nnU-Net's model folder, and an exported one."""
    from helpers.fuzzing import seeds

    seeds.trained_model(folder / "trained")
    (folder / "exported").mkdir()
    seeds.exported_archive(folder / "exported")


@once
def cohort(folder):
    quietly("phantom", "-o", folder / "cohort", "-n", "6", "--shape", "64", "64", "16", "-np", "1")
    (folder / "cohort_raw").mkdir()
    words = ("-i", folder / "cohort", "-d", "503", "-n", "Tiny", "-np", "1", "--raw", folder / "cohort_raw")
    quietly("convert", "author", *words, "--allow-empty-label")


@once
def planned(folder):
    import subprocess

    cohort(folder)
    (folder / "planned").mkdir()
    verb = VERBS["plan"](folder)
    places = {**environment(folder, verb), "nnUNet_preprocessed": str(folder / "planned")}
    (folder / "tmp").mkdir(exist_ok=True)
    out_of(folder).mkdir(exist_ok=True)
    subprocess.run(paraspinal(*verb.words), env=places, check=True, capture_output=True)


@once
def study(folder):
    from helpers.studies import make_study

    make_study(folder / "study")


def begin_study(folder):
    shutil.copytree(folder / "study", out_of(folder), dirs_exist_ok=True)


def study_tables(out):
    from helpers.studies import tables

    return tables(out)


def training(out):
    """Weights and validation masks; names of all but logs."""
    import torch

    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = path.relative_to(out).as_posix()
        if path.name == "checkpoint_final.pth":
            weights = torch.load(path, weights_only=False)["network_weights"]
            content = b"".join(key.encode() + tensor.numpy().tobytes() for key, tensor in weights.items())
        elif path.name.endswith(".nii.gz"):
            content = gzip.decompress(path.read_bytes())  # the archive's header holds the time
        else:
            content = b""
        if "training_log" not in name:
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def archived(out):
    """As `hashes`, of the members of archives."""
    endings = (".zip", ".xlsx")
    found = {name: mark for name, mark in hashes(out).items() if not name.endswith((*endings, ".pt"))}
    for path in (p for p in out.rglob("*") if p.name.endswith(endings)):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name != "docProps/core.xml"]  # when a workbook was made
            found |= {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}
    return found


def preprocessed(out):
    """As `hashes`, but for blosc2's files, which hold the time: their voxels."""
    import blosc2

    found = {}
    for name, mark in hashes(out).items():
        if name.endswith(".b2nd"):
            mark = hashlib.sha256(blosc2.open(str(out / name), mode="r")[:].tobytes()).hexdigest()
        if name.endswith(".pkl"):
            mark = ""
        found[name] = mark
    return found


def dicom_objects(out):
    """As `hashes`, but for when DICOM objects were made, and the UIDs that every making of one has for itself."""
    import pydicom

    def without_makings(dataset, element):
        if element.VR in ("DA", "TM", "DT", "UI"):
            element.clear()

    found = hashes(out)
    for path in out.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.walk(without_makings)
        found[path.relative_to(out).as_posix()] = hashlib.sha256(str(dataset.to_json()).encode()).hexdigest()
    return found


def names(out):
    """Names alone, of what holds measured times; all JSON can be read."""
    for path in out.rglob("*.json"):
        json.loads(path.read_text())
    return {p.relative_to(out).as_posix(): "" for p in out.rglob("*") if p.is_file()}


def _out(folder):
    return ("-o", str(out_of(folder)))


def _raw(folder, name="cohort_raw"):
    return {"nnUNet_raw": str(folder / name)}


def _planned(folder):
    return {**_raw(folder), "nnUNet_preprocessed": str(folder / "planned")}


PREDICT = ("--runtime", "onnxruntime", "--threads", "1")
TRAIN_DEFAULT = ("--iterations", "3", "--cases", "2", "-np", "0")


def _verb(make_inputs, words, **more):
    """Name -> the verb in a folder, its inputs made."""

    def verb(folder):
        make_inputs(folder)
        options = {name: value(folder) if name == "places" else value for name, value in more.items()}
        return Verb(tuple(str(word) for word in words(folder)), **options)

    return verb


def _nothing(folder):
    return folder


def _lenient():
    from helpers.fuzzing.seeds import LENIENT

    return LENIENT


VERBS = {
    "phantom": _verb(
        _nothing, lambda f: ("phantom", "-o", out_of(f) / "cohort", "-n", 2, "--shape", 40, 40, 13, "-np", 2)
    ),
    "convert": _verb(
        author_scans,
        lambda f: ("convert", "author", "-i", f / "scans", "-d", 502, "-np", 2, "--raw", out_of(f)),
    ),
    "convert previews": _verb(
        author_scans,
        lambda f: (
            "convert", "author", "-i", f / "scans", "-d", 502, "-np", 2, "--raw", out_of(f), "--previews",
            "--report", out_of(f) / "report.json",
        ),
    ),
    "inspect": _verb(author_scans, lambda f: ("inspect", "-d", 501, "--raw", f / "raw", *_out(f), "-np", 2)),
    "plan": _verb(
        cohort,
        lambda f: ("plan", "-d", 503, *PLANS, "-np", 2, "-c", "2d", "--set", *SETTINGS, *ITERATIONS),
        places=_raw, contents=preprocessed,
    ),
    "plan baseline": _verb(
        cohort,
        lambda f: ("plan", "-d", 503, "--baseline", "-np", 2, "-c", "2d"),
        places=_raw, contents=preprocessed,
    ),
    "augment": _verb(
        planned,
        lambda f: ("augment", "-d", 503, "-f", 0, *_out(f), *PLANS, "--count", 8, "-np", 2),
        places=_planned,
    ),
    "train": _verb(
        planned,
        lambda f: ("train", "-d", 503, "-c", "2d", "-f", 0, *PLANS, "-device", "cpu", "--resume"),
        places=_planned, contents=training,
    ),
    "train-default": _verb(
        _nothing, lambda f: ("train-default", *_out(f), *TRAIN_DEFAULT), contents=archived
    ),
    "predict": _verb(scans, lambda f: ("predict", "-i", f / "images", *_out(f), "-m", f / "tiny", *PREDICT)),
    "predict nnU-Net": _verb(
        lambda f: (scans(f), model(f)),
        lambda f: ("predict", "-i", f / "images", *_out(f), "-m", f / "trained", "-device", "cpu"),
    ),
    "predict DICOM": _verb(
        lambda f: (scans(f), dicom_archive(f)),
        lambda f: ("predict", "-i", f / "dicom" / "a.zip", *_out(f), "-m", f / "tiny", *PREDICT),
        contents=dicom_objects,
    ),
    "measure": _verb(
        scans, lambda f: ("measure", "-l", f / "labelsTr", "-i", f / "images", *_out(f), "-np", 2)
    ),
    "measure all": _verb(
        scans,
        lambda f: (
            "measure", "-l", f / "labelsTr", "-i", f / "images", *_out(f), "-np", 2, "--fat-maps", "--xlsx"
        ),
        contents=archived,
    ),
    "compare": _verb(measured, lambda f: ("compare", f / "measured_images", f / "measured_later", *_out(f))),
    "evaluate": _verb(
        scans,
        lambda f: (
            "evaluate", "-ref", f / "labelsTr", *_models(f), *_out(f), "-np", 2, "--surface", "--per-slice", "--volumes"
        ),
        contents=archived,
    ),
    "statistics": _verb(evaluated, lambda f: ("statistics", f / "evaluated", *_out(f), *_lenient())),
    "associate": _verb(
        many_measured,
        lambda f: (
            "associate", f / "eight_measured", "--people", f / "eight.tsv", *_out(f), "--outcome", "intensity_mean"
        ),
    ),
    "report": _verb(evaluated, lambda f: ("report", "-e", f / "evaluated", *_out(f), "-np", 2)),
    "export": _verb(model, lambda f: ("export", "-m", f / "trained", "-o", out_of(f) / "model.zip"), contents=archived),
    "export ONNX": _verb(
        model,
        lambda f: ("export", "-m", f / "trained", "-o", out_of(f) / "model", "--format", "onnx"),
    ),
    "import": _verb(model, lambda f: ("import", f / "exported" / "model.zip")),
    "study init": _verb(_nothing, lambda f: ("study", "init", "-s", out_of(f), "--overwrite")),
    "study run": _verb(
        study, lambda f: ("study", "run", "-s", out_of(f)), begin=begin_study, contents=study_tables
    ),
    "benchmark": _verb(
        _nothing,
        lambda f: (
            "benchmark", "-o", out_of(f) / "speed.json", "--arms", "2d", "--seconds", "0.1", "-device", "cpu",
            "--shape", 64, 64, 16, "--set", "patch_size=32,32", "batch_size=4", "crops_per_case=2", "threads=1",
        ),
        contents=names,
    ),
}  # fmt: skip
"""Name -> function of a folder; the first word of a name is the program's verb."""
