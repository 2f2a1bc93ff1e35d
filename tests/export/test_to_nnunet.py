"""Exported models: checkpoints here come from the trainers' own code with untrained weights."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError, SetupError
from paraspinal_nnunet.export.run import CITE_NNUNET, CITE_PAPER, ExportRequest, export
from paraspinal_nnunet.models import checkpoints
from paraspinal_nnunet.models.description import describe_model
from paraspinal_nnunet.models.exported import import_model, opened_model
from paraspinal_nnunet.models.manifest import FILE_NAME, file_entries, read_manifest
from paraspinal_nnunet.models.planned import NETWORKS
from paraspinal_nnunet.network import IMPORT_PATH, ORTHOGONAL_PATH
from paraspinal_nnunet.prediction import PredictionRequest, predict
from paraspinal_nnunet.utils.zip import write_zip

BASELINE_PLANS = "TinyBaseline"
DEEP = "nnUNetTrainerParaspinalDeep"
PAPERS = "nnUNetTrainerParaspinal"
BASELINE = "nnUNetTrainerBaseline"
RESAMPLER = "resample_data_or_seg_to_shape"
CASES = tuple(f"sub-00{n}" for n in range(1, 7))


class Models:
    """Model folders as nnU-Net leaves them, each in a place of its own."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.made = 0

    def make(self, trainer, configuration, folds=(0,), plans_name=None):
        import paraspinal_nnunet.trainers as trainers

        plans_name = plans_name or self.dataset.plans_name
        plans = json.loads((self.dataset.preprocessed / f"{plans_name}.json").read_text())
        dataset_json = json.loads((self.dataset.preprocessed / "dataset.json").read_text())
        for fold in folds:
            made = getattr(trainers, trainer)(plans, configuration, fold, dataset_json, torch.device("cpu"))
            made.initialize()
            made.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
            torch.manual_seed(fold)
            for weight in made.network.parameters():  # away from the start, where much is zero
                weight.data += 0.1 * torch.randn_like(weight)
            made.save_checkpoint(str(Path(made.output_folder) / "checkpoint_final.pth"))
            if hasattr(made, "record"):
                record = json.dumps(made.record())
                (Path(made.output_folder) / "protocol.json").write_text(record)
        folder = Path(made.output_folder_base)
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset_json))
        shutil.copy(self.dataset.preprocessed / "dataset_fingerprint.json", folder)
        self.made += 1
        place = self.dataset.root / f"model{self.made}"
        place.mkdir()
        return Path(shutil.move(folder, place))


@pytest.fixture(scope="module")
def models(tiny_original, tmp_path_factory):
    dataset = type(tiny_original)(tmp_path_factory.mktemp("models") / "tiny")
    shutil.copytree(tiny_original.root, dataset.root)
    with pytest.MonkeyPatch.context() as patch:
        for variable, folder in dataset.variables().items():
            patch.setenv(variable, folder)
        patch.setenv("nnUNet_n_proc_DA", "1")
        for variable in ("nnUNet_extTrainer", "PYTHONPATH"):
            patch.setenv(variable, os.environ.get(variable, ""))
        yield Models(dataset)


@pytest.fixture(scope="module")
def baseline_plans(models, thread_pool_context):
    from paraspinal_nnunet.planning.run import PlanRequest, plan

    with thread_pool_context():
        plan(PlanRequest(501, ["2d"], BASELINE_PLANS, {"iterations": 3}, processes=1, baseline=True))
    return BASELINE_PLANS


@pytest.fixture(scope="module")
def papers(models):
    return models.make(PAPERS, "2d", (0, 1))


@pytest.fixture(scope="module")
def exported(papers, tmp_path_factory):
    return export(ExportRequest(papers, tmp_path_factory.mktemp("exported") / "model", licence="CC-BY-4.0"))


@pytest.fixture
def copied(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "copied"))


@pytest.fixture(scope="module")
def scans(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    scan = nib.load(models.dataset.raw / "imagesTr" / f"{CASES[0]}_0000.nii.gz")
    nib.save(scan.slicer[8:56, 12:52, 6:9], folder / "new_0000.nii.gz")
    return folder


def masks(folder):
    return {p.name: np.asanyarray(nib.load(p).dataobj) for p in sorted(folder.glob("*.nii.gz"))}


def equal(one, other):
    assert one.keys() == other.keys() != set()
    assert all(len(np.unique(mask)) > 2 for mask in one.values())
    return all(np.array_equal(one[name], other[name]) for name in one)


def changed_plans(model, change):
    """Change an exported model's plans and describe them anew in its manifest, as a forger would."""
    path = model / "plans.json"
    plans = json.loads(path.read_text())
    (configuration,) = plans["configurations"].values()
    change(plans, configuration)
    path.write_text(json.dumps(plans))
    described_anew(model)


def described_anew(model):
    content = json.loads((model / FILE_NAME).read_text())
    content["files"] = [vars(entry) for entry in file_entries(model)]
    (model / FILE_NAME).write_text(json.dumps(content))


def test_what_an_exported_model_holds(exported):
    assert sorted(p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()) == [
        "dataset.json",
        "fold_0/checkpoint_final.pth",
        "fold_1/checkpoint_final.pth",
        "manifest.json",
        "plans.json",
    ]


def test_checkpoints_load_with_weights_only(exported, papers):
    for fold in ("fold_0", "fold_1"):
        slim = torch.load(exported / fold / "checkpoint_final.pth", weights_only=True)
        whole = torch.load(papers / fold / "checkpoint_final.pth", weights_only=False)
        weights, trained = slim.pop("network_weights"), whole["network_weights"]
        assert slim == {
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": "2d"},
            "inference_allowed_mirroring_axes": None,
        }
        assert weights.keys() == trained.keys()
        assert all(torch.equal(weights[name], trained[name]) for name in trained)


def test_plans_name_the_network_that_the_trainer_built(models, papers):
    from paraspinal_nnunet.export.to_nnunet import slim_plans
    from paraspinal_nnunet.models.trained import read_trained_model

    def architecture(folder, configuration):
        plans = slim_plans(read_trained_model(folder), "Slim")
        assert plans["plans_name"] == "Slim"
        return plans["configurations"][configuration]["architecture"]

    deep = models.make(DEEP, "2d")
    amp = models.make("nnUNetTrainerParaspinalMixedPrecision", "3d_fullres")
    group = models.make("nnUNetTrainerParaspinalGroupNorm", "2d")
    assert architecture(papers, "2d") == {
        "network_class_name": "paraspinal_nnunet.network.ResidualUNet",
        "arch_kwargs": {
            "spatial_dims": 2,
            "channels": [16, 32, 64, 128, 256],
            "strides": [1, 2, 2, 2],
            "num_res_units": 2,
            "kernel_size": 3,
            "norm": "instance",
            "activation": "leakyrelu",
            "slices": 1,
            "precision": "fp32",
        },
        "_kw_requires_import": [],
    }
    kwargs = architecture(deep, "2d")["arch_kwargs"]
    assert (kwargs["channels"], kwargs["strides"]) == ([16, 32, 64, 128, 256, 512], [1, 2, 2, 2, 2])
    kwargs = architecture(amp, "3d_fullres")["arch_kwargs"]
    assert (kwargs["precision"], kwargs["spatial_dims"]) == ("amp", 3)
    assert architecture(group, "2d")["arch_kwargs"]["norm"] == "group"


def test_no_name_of_a_case_travels(models, tmp_path):
    folder = models.make(PAPERS, "3d_fullres")
    plans, dataset_json = (json.loads((folder / name).read_text()) for name in ("plans.json", "dataset.json"))
    provenance = {**dataset_json["provenance"], "source_folder": "secret-hospital"}
    spiked = {**dataset_json, "provenance": provenance, "training": [f"{CASES[0]}.nii.gz"]}
    (folder / "dataset.json").write_text(json.dumps(spiked))
    model = export(ExportRequest(folder, tmp_path / "model.zip"))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    with zipfile.ZipFile(model) as archive:
        everything = b"".join(archive.read(name) + name.encode() for name in archive.namelist())
        stored = archive.read("fold_0/checkpoint_final.pth")
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        everything += b"".join(archive.read(name) + name.encode() for name in archive.namelist())
    for word in (*CASES, "secret-hospital", str(models.dataset.root), "provenance"):
        assert word.encode() not in everything, word
    assert "provenance" in spiked
    assert plans["dataset_name"].encode() in everything


def test_the_manifest_describes_the_model(exported, papers):
    manifest = read_manifest(exported)
    assert (manifest.trainer, manifest.configuration, manifest.folds) == (PAPERS, "2d", ("0", "1"))
    assert manifest.plans_name == f"Tiny-{PAPERS}"
    assert [label["key"] for label in manifest.labels][:2] == ["multifidus_right", "multifidus_left"]
    assert len(manifest.labels) == 6
    assert (manifest.training["cases"], manifest.training["subjects"]) == (6, 6)
    plans = json.loads((papers / "plans.json").read_text())
    intensities = plans["foreground_intensity_properties_per_channel"]["0"]
    assert manifest.preprocessing == {
        "orientation": "RAS",
        "image_reader_writer": "NibabelIOWithReorient",
        "spacing_mm": [15.625, 3.12, 3.12],
        "normalization": ["ZScoreNormalization"],
        "normalization_nonzero_voxels_only": [True],
        "interpolation_order": 1,
        "interpolation_order_z": 1,
        "patch_size": [32, 32],
        "step_size": 0.5,
        "size_multiple": [8, 8],
        "channels": 1,
        "intensities": [{key: intensities[key] for key in ("mean", "std", "percentile_00_5", "percentile_99_5")}],
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "preprocessor": "DefaultPreprocessor",
        "resampling_data": {"name": RESAMPLER, "is_seg": False, "order": 1, "order_z": 1, "force_separate_z": None},
        "resampling_probabilities": {
            "name": RESAMPLER, "is_seg": False, "order": 1, "order_z": 1, "force_separate_z": None
        },
    }  # fmt: skip
    numbers = {row["key"]: (row["value"], row["is_papers"]) for row in manifest.protocol}
    assert numbers["iterations"] == (7, False)
    assert numbers["learning_rate"] == (0.001, True)
    assert manifest.versions["training"]["nnunetv2"] == manifest.versions["export"]["nnunetv2"]
    assert manifest.licence == "CC-BY-4.0"
    assert manifest.citation == (CITE_PAPER, CITE_NNUNET)


def test_the_manifest_tells_how_bright_the_muscles_were_in_training(exported, models):
    training = read_manifest(exported).training
    assert training["spacing_mm"] == [15.625, 3.12, 3.12]  # the phantom's
    expected = {key: [] for key in ("multifidus_right", "psoas_major_left")}
    for path in sorted((models.dataset.raw / "labelsTr").glob("*.nii.gz")):
        labels = nib.load(path).get_fdata()
        scan = nib.load(models.dataset.raw / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz")).get_fdata()
        body = scan[scan != 0]
        for key, z in expected.items():
            z.append((scan[labels == BY_KEY[key].label].mean() - body.mean()) / body.std())
    for key, z in expected.items():
        assert training["muscle_intensity"][key] == pytest.approx([np.mean(z), np.std(z, ddof=1)], abs=1e-4)


def test_models_say_inside_which_boxes_they_were_trained(papers, tmp_path):
    box = {"muscles": ["multifidus"], "margin_mm": 12.0}
    model = Path(shutil.copytree(papers, tmp_path / papers.name))
    content = json.loads((model / "dataset.json").read_text())
    (model / "dataset.json").write_text(json.dumps({**content, "box": box}))
    folder = export(ExportRequest(model, tmp_path / "out"))
    assert json.loads((folder / "dataset.json").read_text())["box"] == box
    for place in (model, folder):
        assert describe_model(place).box.to_json() == box
    assert describe_model(papers).box is None


def test_exported_models_may_name_all_our_networks():
    assert {IMPORT_PATH, ORTHOGONAL_PATH} <= set(NETWORKS)


def test_subjects_are_unknown_without_the_data_set(papers, tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    manifest = read_manifest(export(ExportRequest(papers, tmp_path / "model")))
    assert (manifest.training["subjects"], manifest.training["muscle_intensity"]) == (None, None)


@pytest.mark.slow
def test_chosen_folds_licence_and_citation(papers, tmp_path, capsys):
    out = tmp_path / "one.zip"
    flags = ["-f", "1", "--licence", "MIT", "--citation", "Doe 2030", "Roe 2031"]
    assert main(["export", "-m", str(papers), "-o", str(out), "--format", "nnunet", *flags]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with opened_model(out) as (folder, manifest):
        assert sorted(p.name for p in folder.glob("fold_*")) == ["fold_1"]
        assert (manifest.folds, manifest.licence) == (("1",), "MIT")
        assert manifest.citation[:2] == ("Doe 2030", "Roe 2031")
    assert main(["export", "-m", str(papers), "-o", str(out)]) == 1
    assert "one.zip: is there already" in capsys.readouterr().err
    assert main(["export", "-m", str(papers), "-o", str(out), "--overwrite"]) == 0
    with opened_model(out) as (_, manifest):
        assert (manifest.folds, manifest.licence) == (("0", "1"), "not stated")


def test_the_same_model_gives_the_same_files(papers, exported, tmp_path):
    again = export(ExportRequest(papers, tmp_path / "again", licence="CC-BY-4.0"))
    assert file_entries(again) == file_entries(exported)


def test_folds_that_do_not_belong_together_are_refused(papers, tmp_path):
    model = Path(shutil.copytree(papers, tmp_path / "model"))
    record = json.loads((model / "fold_1" / "protocol.json").read_text())
    other = {**record, "settings": record["settings"][:-1]}
    (model / "fold_1" / "protocol.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="folds 0 and 1 were trained with different settings"):
        export(ExportRequest(model, tmp_path / "out"))
    (model / "fold_1" / "protocol.json").write_text(json.dumps(record))
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["2d"]["batch_size"] += 1
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(InputError, match="was trained under other plans than those in"):
        export(ExportRequest(model, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_network_that_only_its_trainer_builds_is_refused(papers, tmp_path, monkeypatch):
    from paraspinal_nnunet.export import to_nnunet as export_nnunet

    planned = export_nnunet.trained_architecture

    def other_activation(model, plan):
        found = planned(model, plan)
        found["arch_kwargs"]["activation"] = "relu"
        return found

    monkeypatch.setattr(export_nnunet, "trained_architecture", other_activation)
    with pytest.raises(InputError, match="builds another network than its plans say; not exported"):
        export(ExportRequest(papers, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_that_runs_code_is_not_exported(papers, tmp_path):
    model = Path(shutil.copytree(papers, tmp_path / "model"))
    path = model / "fold_0" / "checkpoint_final.pth"
    torch.save({**torch.load(path, weights_only=False), "extra": Path("x")}, path)
    with pytest.raises(InputError, match="holds more than weights and numbers"):
        export(ExportRequest(model, tmp_path / "out"))


def test_missing_models_are_refused(tmp_path):
    with pytest.raises(InputError, match="is no trained model"):
        export(ExportRequest(tmp_path / "absent", tmp_path / "out"))


def test_an_old_torch_is_named(papers, monkeypatch):
    monkeypatch.delattr(torch.serialization, "safe_globals")
    with pytest.raises(SetupError, match=r"needs torch 2\.6 or newer"):
        checkpoints.read_trained(papers / "fold_0" / "checkpoint_final.pth")


@pytest.mark.slow
def test_predictions_of_folder_and_archive_equal_the_trained_models(papers, exported, scans, tmp_path, caplog):
    archive = tmp_path / "model.zip"
    write_zip(exported, archive)
    made = {}
    for name, model in {"trained": papers, "folder": exported, "archive": archive}.items():
        predict(PredictionRequest(scans, tmp_path / name, model, device="cpu"))
        made[name] = masks(tmp_path / name)
    assert equal(made["trained"], made["folder"])
    assert equal(made["trained"], made["archive"])
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    predict(PredictionRequest(scans, tmp_path / "fold 1", exported, folds=["1"], device="cpu"))
    assert not equal(masks(tmp_path / "fold 1"), made["trained"])


def test_folds_that_an_exported_model_lacks_are_refused(exported, scans, tmp_path):
    with pytest.raises(InputError, match="holds no fold 2, only 0, 1"):
        predict(PredictionRequest(scans, tmp_path / "out", exported, folds=["2"], device="cpu"))


class _Code:
    """Runs as it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def test_a_trained_model_with_code_in_a_checkpoint_is_refused_and_does_not_run(papers, scans, tmp_path):
    model = Path(shutil.copytree(papers, tmp_path / "model"))
    path = model / "fold_1" / "checkpoint_final.pth"
    torch.save({**torch.load(path, weights_only=False), "extra": _Code(tmp_path / "trace")}, path)
    with pytest.raises(InputError, match=r"fold_1/checkpoint_final\.pth: holds more than weights and numbers"):
        predict(PredictionRequest(scans, tmp_path / "out", model, device="cpu"))
    assert not (tmp_path / "trace").exists()


def test_a_trained_model_whose_plans_name_code_is_refused_and_does_not_run(papers, scans, tmp_path):
    """nnU-Net calls ``network.apply(network.initialize)`` of whatever it imported: a mock calls what it was given."""
    model = Path(shutil.copytree(papers, tmp_path / "model"))
    for fold in ("0", "1"):
        path = model / f"fold_{fold}" / "checkpoint_final.pth"
        torch.save({**torch.load(path, weights_only=False), "trainer_name": "nnUNetTrainer"}, path)
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["2d"]["architecture"] = {
        "network_class_name": "unittest.mock.MagicMock",
        "arch_kwargs": {"initialize": f"touch '{tmp_path / 'trace'}'", "apply.side_effect": "os.system"},
        "_kw_requires_import": ["apply.side_effect"],
    }
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(InputError, match=r"plans\.json: names the network 'unittest\.mock\.MagicMock'"):
        predict(PredictionRequest(scans, tmp_path / "out", model, device="cpu"))
    assert not (tmp_path / "trace").exists()


def test_tampered_files_are_refused(copied, scans, tmp_path, capsys):
    path = copied / "fold_1" / "checkpoint_final.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(["predict", "-i", str(scans), "-o", str(tmp_path / "out"), "-m", str(copied), "-device", "cpu"]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "fold_1/checkpoint_final.pth: is not the file that the manifest describes" in error[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, c: c["architecture"].update(network_class_name="os.system"), "names the network 'os.system'"),
        (lambda p, c: c.update(architecture=None), "names the network None"),
        (
            lambda p, c: (
                c["architecture"]["arch_kwargs"].update(norm_op="torch.nn.functional.os.system"),
                c["architecture"].update(_kw_requires_import=["norm_op"]),
            ),
            r"would import 'torch\.nn\.functional\.os\.system' for 'norm_op'",
        ),
        (lambda p, c: c["architecture"].update(arch_kwargs=None), "the network has no arguments"),
        (lambda p, c: c.update(inherits_from="2d"), "is not whole"),
        (lambda p, c: p["configurations"].update(other={}), "holds other configurations than 2d"),
        (lambda p, c: p.update(dataset_name="Dataset502_Other"), "are not the plans that the manifest describes"),
    ],
)
def test_plans_that_name_foreign_code_are_refused(copied, change, message):
    changed_plans(copied, change)
    with pytest.raises(InputError, match=message), opened_model(copied):
        pass


def test_checkpoints_that_are_not_slim_are_refused(copied, papers, tmp_path):
    path = copied / "fold_0" / "checkpoint_final.pth"
    slim = torch.load(path, weights_only=True)
    cases = {
        "holds more than weights and numbers": lambda: torch.save({**slim, "extra": Path("x")}, path),
        "is no checkpoint of the 2d model": lambda: torch.save({**slim, "trainer_name": "other"}, path),
        "that the manifest describes": lambda: torch.save({**slim, "inference_allowed_mirroring_axes": (0,)}, path),
        "holds no weights": lambda: torch.save({**slim, "network_weights": {"a": 1}}, path),
        "is no checkpoint of a supported format": lambda: torch.save(slim, path, _use_new_zipfile_serialization=False),
        "is damaged": lambda: path.write_bytes(path.read_bytes()[:100]),
        "holds a list": lambda: torch.save([1], path),
    }
    for number, (message, write) in enumerate(cases.items()):
        torch.save(slim, path)
        write()
        described_anew(copied)
        with pytest.raises(InputError, match=message):
            import_model(copied, tmp_path / f"results{number}")
        assert not (tmp_path / f"results{number}").exists()


def test_labels_and_files_must_be_those_of_the_manifest(copied, exported, tmp_path):
    dataset = json.loads((copied / "dataset.json").read_text())
    dataset["labels"]["multifidus_right"] = 2
    (copied / "dataset.json").write_text(json.dumps(dataset))
    described_anew(copied)
    with pytest.raises(InputError, match="has other labels than the manifest"), opened_model(copied):
        pass
    shutil.copy(exported / "dataset.json", copied)
    (copied / "plans.json").unlink()
    described_anew(copied)
    with pytest.raises(InputError, match=r"does not name plans\.json"), opened_model(copied):
        pass


def test_archives_with_more_than_the_manifest_names_are_refused(copied, tmp_path):
    (copied / "more.txt").write_text("x")
    write_zip(copied, tmp_path / "model.zip")
    with (
        pytest.raises(InputError, match=r"more\.txt: the manifest does not name this file"),
        opened_model(tmp_path / "model.zip"),
    ):
        pass


def test_archives_that_write_elsewhere_are_refused(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../escaped", "x")
    (tmp_path / "results").mkdir()
    assert main(["import", str(tmp_path / "evil.zip"), "-o", str(tmp_path / "results")]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("paraspinal import: error:")
    assert "leads out of the folder" in error[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.zip", "results"]


def test_models_of_other_formats_are_refused(copied):
    content = json.loads((copied / FILE_NAME).read_text()) | {"format": "onnx"}
    (copied / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(InputError, match="a model of format 'onnx'"), opened_model(copied):
        pass


def test_import_puts_the_model_where_nnunet_looks(exported, tmp_path, capsys, monkeypatch):
    write_zip(exported, tmp_path / "model.zip")
    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setenv("nnUNet_results", str(results))
    folder = results / "Dataset501_Tiny" / f"nnUNetTrainer__Tiny-{PAPERS}__2d"
    assert main(["import", str(tmp_path / "model.zip")]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert file_entries(folder) == file_entries(exported)
    assert main(["import", str(exported)]) == 1
    assert "is there already; --overwrite replaces it" in capsys.readouterr().err
    (folder / "plans.json").write_text("{}")
    assert main(["import", str(exported), "--overwrite"]) == 0
    assert file_entries(folder) == file_entries(exported)


def stock(command, *arguments, **environment):
    """One of nnU-Net's commands as a user without our environment variables runs it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet_") and k != "PYTHONPATH"}
    program = Path(sys.executable).parent / command
    result = subprocess.run(
        [program, *map(str, arguments)],
        env={**kept, "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "configuration", "plans_name", "folds"),
    [
        (PAPERS, "2d", "Tiny", (0, 1, 2)),
        (DEEP, "2d", "Tiny", (0,)),
        (PAPERS, "3d_fullres", "Tiny", (0, 2)),
        (BASELINE, "2d", BASELINE_PLANS, (0, 1)),
        ("nnUNetTrainerBaselineNoMirroring", "2d", BASELINE_PLANS, (0,)),
    ],
)
def test_stock_prediction_gives_the_trained_models_labels(
    models, baseline_plans, scans, tmp_path, trainer, configuration, plans_name, folds
):
    trained = models.make(trainer, configuration, folds, plans_name)
    model = export(ExportRequest(trained, tmp_path / "model", folds=[str(f) for f in folds]))
    predict(PredictionRequest(scans, tmp_path / "ours", trained, folds=[str(f) for f in folds], device="cpu"))
    arguments = ["-i", scans, "-f", *folds, "-device", "cpu", "-npp", 1, "-nps", 1]
    stock("nnUNetv2_predict_from_modelfolder", "-o", tmp_path / "stock", "-m", model, *arguments)
    assert equal(masks(tmp_path / "ours"), masks(tmp_path / "stock"))
    expected = (0, 1) if trainer == BASELINE else None
    assert read_manifest(model).mirroring_axes == expected


@pytest.mark.slow
def test_stock_prediction_by_name_after_an_import(exported, papers, scans, tmp_path):
    (tmp_path / "results").mkdir()
    import_model(exported, tmp_path / "results")
    predict(PredictionRequest(scans, tmp_path / "ours", papers, device="cpu"))
    stock(
        "nnUNetv2_predict",
        *("-i", scans, "-o", tmp_path / "stock", "-d", "Dataset501_Tiny", "-c", "2d", "-f", 0, 1),
        *("-p", f"Tiny-{PAPERS}", "-device", "cpu", "-npp", 1, "-nps", 1),
        nnUNet_results=str(tmp_path / "results"),
    )
    assert equal(masks(tmp_path / "ours"), masks(tmp_path / "stock"))
