"""Valid files of every kind that is read, as small as they can be."""

import contextlib
import gzip
import json
import shutil
import zipfile

import numpy as np

from helpers.command_line import quietly
from paraspinal_nnunet.errors import DatasetError, InputError

SHAPE = (12, 10, 4)
AFFINE = np.diag([3.0, 3.0, 6.0, 1.0])
KEYS = (
    *("multifidus_right", "multifidus_left", "erector_spinae_right", "erector_spinae_left"),
    *("psoas_major_right", "psoas_major_left"),
)


def write_nifti(path, array, affine=AFFINE, version=1):
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    nib.save(kind(array, affine), path)
    return path


def grey(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(1, 400, shape).astype(np.int16)


def masks(shape=SHAPE):
    """Six boxes in RAS order: right at large x, the psoas in front."""
    labels = np.zeros(shape, np.uint8)
    half = shape[0] // 2
    for label, x in ((1, half), (2, half - 2), (3, half + 2), (4, half - 4), (5, half + 1), (6, half - 3)):
        labels[x : x + 2, 7 if label > 4 else 1 : 10 if label > 4 else 5, 1:3] = label
    return labels


def itk_images(folder):
    """Images of the formats that ITK writes, packed and not."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(grey().T)
    image.SetSpacing((3.0, 3.0, 6.0))
    for name in ("a.mha", "packed.mha", "a.nrrd", "packed.nrrd", "a.mhd", "a.nhdr"):
        sitk.WriteImage(image, str(folder / name), name.startswith("packed"))


def nifti_images(folder):
    for version, name in ((1, "a.nii"), (2, "b.nii")):
        write_nifti(folder / name, grey(), version=version)
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes(), 1, mtime=0))


def dicom_series(folder):
    from helpers import dicom_files

    made = dicom_files.slices(dicom_files.voxels((8, 6, 8)))
    dicom_files.save_series(made, folder)


def dicom_enhanced(folder):
    from helpers import dicom_files

    dicom_files.save(dicom_files.enhanced(dicom_files.voxels((8, 6, 8))), folder / "a.dcm")


def dicom_deflated(folder):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    from helpers import dicom_files

    made = dicom_files.slices(dicom_files.voxels((8, 6, 8)))
    for place, dataset in enumerate(made):
        dicom_files.save(dataset, folder / f"{place}.dcm", syntax=DeflatedExplicitVRLittleEndian)


def dicom_zip(folder):
    dicom_series(folder / "in")
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "in").iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(folder / "in")


def dicom_seg(folder):
    from helpers import dicom_files

    made = dicom_files.slices(dicom_files.voxels())
    dicom_files.save_series(made, folder / "image")
    dicom_files.save_seg(dicom_files.segmentation(made, dicom_files.phantom_labels()), folder / "seg" / "seg.dcm")


def label_files(folder):
    """A label map or table in each of its forms."""
    names = dict(enumerate(KEYS, start=1))
    (folder / "a.json").write_text(json.dumps(names))
    (folder / "b.json").write_text(json.dumps({key: [value] for value, key in names.items()}))
    (folder / "a.yaml").write_text("".join(f"{value}: {key}\n" for value, key in names.items()))
    (folder / "a.tsv").write_text("index\tname\n" + "".join(f"{v}\t{key}\n" for v, key in names.items()))
    (folder / "a.csv").write_text("value,name,side\n1,multifidus,right\n2,multifidus,left\n9,L4,\n")
    (folder / "a.label").write_text('# ITK-SNAP\n 0 0 0 0 0 0 0 "Clear Label"\n 1 255 0 0 1 1 1 "multifidus_right"\n')
    (folder / "a.ctbl").write_text("# Color\n1 multifidus_right 250 0 0 255\n2 multifidus_left 0 250 0 255\n")


def small_tables(folder):
    """Tables that people bring."""
    (folder / "levels.csv").write_text("case,level,slice\na,L4,3\na,L5,2\nb,L4-L5,1\n")
    (folder / "participants.tsv").write_text("participant_id\tsex\tage\tbmi\nsub-01\tF\t41\t23.5\nsub-02\tM\tn/a\t\n")
    (folder / "cases.tsv").write_text(
        "case\tsubject\tsex\tage\tbmi\tsource\tlabel_source\na\ts1\tF\t40\t22.5\tx\ty\nb\ts2\tM\t51\tn/a\tx\ty\n"
    )
    (folder / "design.tsv").write_text(
        "model,dimension,augmentation,depth,is_baseline\nnear,2D,yes,5,no\nfar,3D,no,5,\n"
    )
    (folder / "names.json").write_text(json.dumps({"1": "L1", "2": "L1-L2", "3": "L2"}))
    (folder / "names.yaml").write_text("L1: 1\nL1-L2: 2\nL2: 3\n")


def bids(folder):
    """Two subjects with sidecars, tables and a rule of what to ignore."""
    (folder.parent / "raw").mkdir()
    for subject in ("sub-01", "sub-02"):
        image = write_nifti(folder / subject / "anat" / f"{subject}_T2w.nii.gz", grey(int(subject[-1]), (24, 20, 4)))
        image.with_name(f"{subject}_T2w.json").write_text(json.dumps({"EchoTime": 0.1, "Manufacturer": "Maker"}))
        write_nifti(folder / "derivatives" / "x" / subject / "anat" / f"{subject}_dseg.nii.gz", masks((24, 20, 4)))
    table = "index\tname\n" + "".join(f"{value}\t{key}\n" for value, key in enumerate(KEYS, start=1))
    (folder / "derivatives" / "x" / "dseg.tsv").write_text(table)
    description = {"Name": "n", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    for place in (folder, folder / "derivatives" / "x"):
        (place / "dataset_description.json").write_text(json.dumps(description))
    (folder / "participants.tsv").write_text("participant_id\tsex\tage\nsub-01\tF\t41\nsub-02\tM\tn/a\n")
    (folder / ".bidsignore").write_text("extra/\n*_ct.nii.gz\n")


def trained_model(folder):
    """nnU-Net's folder of a 2D model with weights that nobody trained."""
    import torch

    from helpers.portable_models import make_model, make_plans

    model = make_model(folder, make_plans())
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(model.plans))
    (folder / "dataset.json").write_text(json.dumps(model.dataset_json))
    fingerprint = {"spacings": [[4.0, 1.0, 1.0]], "shapes_after_crop": [[10, 30, 40]]}
    (folder / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    (folder / "fold_0" / "protocol.json").write_text(json.dumps({"settings": [], "versions": {}}))
    content = {
        "network_weights": model.weights["0"], "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "2d", "plans": model.plans, "dataset_json": model.dataset_json},
        "inference_allowed_mirroring_axes": None,
    }  # fmt: skip
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")


def exported_archive(folder):
    """The same for nnU-Net, packed to travel."""
    from paraspinal_nnunet.utils.zip import write_zip

    trained_model(folder / "made")
    quietly("export", "-m", folder / "made", "-o", folder / "model")
    if (folder / "model").is_dir():
        write_zip(folder / "model", folder / "model.zip")
        shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "made")


def portable_archive(folder):
    """A portable model whose classes are grey values."""
    from helpers.tiny_portable import write_tiny_model
    from paraspinal_nnunet.utils.zip import write_zip

    write_tiny_model(folder / "model")
    write_zip(folder / "model", folder / "model.zip")
    shutil.rmtree(folder / "model")


def rehash(files):
    """Let a manifest tell the truth of the other members again."""
    import hashlib

    try:
        manifest = json.loads(files["manifest.json"])
        for entry in manifest["files"]:
            content = files[entry["path"]]
            entry["size_bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
        files["manifest.json"] = json.dumps(manifest).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return  # it was the manifest that was broken


def author_scans(folder):
    """Two cases as `convert author` takes them."""
    for case in ("a", "b"):
        write_nifti(folder / f"{case}_img.nii.gz", grey(len(case) + ord(case), (24, 20, 4)))
        write_nifti(folder / f"{case}_GT.nii.gz", masks((24, 20, 4)))


def stopped_conversion(folder):
    """One case converted, the other refused: what a later conversion goes on with."""
    author_scans(folder / "scans")
    whole = (folder / "scans" / "b_GT.nii.gz").read_bytes()
    (folder / "scans" / "b_GT.nii.gz").write_bytes(whole[:-20])
    (folder / "raw").mkdir()
    with contextlib.suppress(InputError, DatasetError):
        convert_author(folder)
    (folder / "scans" / "b_GT.nii.gz").write_bytes(whole)


def convert_author(folder):
    words = ("convert", "author", "-i", folder / "scans", "-d", "501", "-np", "1", "--raw", folder / "raw")
    return quietly(*words, "--allow-empty-label")


def raw_data(folder):
    """A data set of two cases, and folds of them."""
    author_scans(folder / "scans")
    (folder / "raw").mkdir()
    convert_author(folder)
    shutil.rmtree(folder / "scans")
    folds = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    (folder / "subjects.json").write_text(json.dumps({"a": "a", "b": "b"}))


LENIENT = ("--missing", "complete-case", "--average-cases", "--no-mixed-model")


def evaluation(folder):
    """References, two models, their evaluation and its statistics."""
    for case in range(4):
        labels = masks((24, 20, 4))
        write_nifti(folder / "labelsTr" / f"c{case}.nii.gz", labels)
        for model, step in (("near", 1), ("far", 2)):
            write_nifti(folder / model / f"c{case}.nii.gz", np.roll(labels, step + case % 2, axis=1))
    (folder / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, **{k: v for v, k in enumerate(KEYS, 1)}}})
    )
    rows = "".join(f"c{case}\ts{case // 2}\tF\t4{case // 2}\t22.5\tx\ty\n" for case in range(4))
    (folder / "cases.tsv").write_text("case\tsubject\tsex\tage\tbmi\tsource\tlabel_source\n" + rows)
    (folder / "near" / "predict_from_raw_data_args.json").write_text(json.dumps({"folds": [0], "step_size": 0.5}))
    models = ("--pred", f"near={folder / 'near'}", f"far={folder / 'far'}")
    quietly("evaluate", "-ref", folder / "labelsTr", *models, "-o", folder / "evaluation", "-np", "1")
    from paraspinal_nnunet.evaluation.comparison.costs import COST_COLUMNS

    costs = [f"{name}\tarm\tT\t2d\t0\tCPU\t1.5\t2.5\t1000\t500\t0.1\t4\n" for name in ("near", "far")]
    (folder / "evaluation" / "costs.tsv").write_text("\t".join(COST_COLUMNS) + "\n" + "".join(costs))
    quietly("statistics", folder / "evaluation", "-o", folder / "statistics", *LENIENT)
    for path in folder.rglob("*.png"):
        path.unlink()


def predictions(folder):
    """Two scans, a model, and what was predicted and measured with it."""
    from helpers.tiny_portable import AFFINE as PAINTED_AFFINE
    from helpers.tiny_portable import boxes, painted, write_tiny_model

    write_tiny_model(folder / "model")
    for number, case in enumerate("ab"):
        write_nifti(folder / "scans" / f"{case}.nii.gz", painted(boxes(), number), PAINTED_AFFINE)
    predict_again(folder)
    quietly("measure", "-l", folder / "out", "-i", folder / "scans", "-o", folder / "measured", "-np", "1")


def predict_again(folder):
    words = ("predict", "-i", folder / "scans", "-o", folder / "out", "-m", folder / "model")
    return quietly(*words, "--runtime", "onnxruntime", "--threads", "1", "--no-pages")


def workflow(folder):
    """A study.yaml and what its finished steps left."""
    from helpers.studies import SETTINGS, STUDY

    text = STUDY.replace("SETTINGS", SETTINGS).replace("ITERATIONS", "8")
    (folder / "study.yaml").write_text(text)
    from paraspinal_nnunet.workflow.settings import read_study
    from paraspinal_nnunet.workflow.state import failure, marker
    from paraspinal_nnunet.workflow.status import expected_jobs

    for place, job in enumerate(expected_jobs(read_study(folder))):
        path = marker(folder, job) if place % 3 else failure(folder, job)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = (
            {"seconds": 3.5, "inputs": "x", "outputs": {"a": "b"}} if place % 3 else {"error": "no", "seconds": 1.0}
        )
        path.write_text(json.dumps(content))


def tiny_training(folder):
    """A planned data set, and the checkpoint of a training that was stopped."""
    from conftest import TINY_SETTINGS

    for name in NNUNET_FOLDERS:
        (folder / name).mkdir()
    point_nnunet_at(folder)
    quietly("phantom", "-o", folder / "cohort", "-n", "6", "--shape", "64", "64", "16", "-np", "1")
    quietly("convert", "author", "-i", folder / "cohort", "-d", "501", "-np", "1", "--raw", folder / "raw")
    quietly("plan", "-d", "501", "-p", "Tiny", "-np", "1", "-c", "2d", "--set", *TINY_SETTINGS)
    for name in ("cohort", "raw"):
        shutil.rmtree(folder / name)
    (folder / "raw").mkdir()
    trainer = trainer_at(folder)
    trainer.initialize()
    trainer.on_train_start()
    trainer.save_checkpoint(str(folder / "checkpoint_latest.pth"))
    shutil.rmtree(folder / "results")


NNUNET_FOLDERS = ("raw", "preprocessed", "results")


def point_nnunet_at(folder):
    import os

    for name in NNUNET_FOLDERS:
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ["nnUNet_n_proc_DA"] = "0"


def trainer_at(folder):
    """The paper's trainer on the data set of a folder; nnU-Net remembers the folders that it was imported under."""
    import torch

    from paraspinal_nnunet.trainers import nnUNetTrainerParaspinal
    from paraspinal_nnunet.utils.files import read_json

    (preprocessed,) = (folder / "preprocessed").iterdir()
    plans, dataset = (read_json(preprocessed / name) for name in ("Tiny.json", "dataset.json"))
    return nnUNetTrainerParaspinal({**plans, "continue_training": False}, "2d", 0, dataset, torch.device("cpu"))
