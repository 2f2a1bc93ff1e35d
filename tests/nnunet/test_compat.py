import os
import pickle
import subprocess
import sys

import pytest

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.cli.machine import checks as doctor
from paraspinal_nnunet.errors import SetupError
from paraspinal_nnunet.nnunet import compat
from paraspinal_nnunet.nnunet.compat import (
    FIX_FOLDER,
    PLUGIN_FOLDER,
    PRIMUS_MODULE,
    Torchvision,
    check_nnunet,
    fixed_python_path,
    register_trainers,
    trainer_path,
)

NAMES = (
    "nnUNetTrainerParaspinal",
    "nnUNetTrainerParaspinalDeep",
    "nnUNetTrainerBaseline",
    "nnUNetTrainerBaselineNoMirroring",
)


def python(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_folders_are_there():
    assert [p.name for p in PLUGIN_FOLDER.glob("*.py")] == ["paraspinal_trainers.py"]
    assert (FIX_FOLDER / "sitecustomize.py").is_file()


def test_paths_keep_what_was_there_and_stand_once():
    own, other = str(PLUGIN_FOLDER), os.path.join(os.sep, "other")
    assert trainer_path({}) == own
    assert trainer_path({"nnUNet_extTrainer": other}) == os.pathsep.join([own, other])
    assert trainer_path({"nnUNet_extTrainer": os.pathsep.join([other, own, ""])}) == os.pathsep.join([own, other])
    assert fixed_python_path({"PYTHONPATH": other}) == os.pathsep.join([str(FIX_FOLDER), other])


@pytest.mark.parametrize(
    ("torch", "torchvision", "problem"),
    [
        (None, None, None),
        ("2.9.1", None, "torchvision is missing"),
        ("2.9.1", "0.24.1", None),
        ("2.9.1+cpu", "0.24.1+cpu", None),
        ("2.9.1+cpu", "0.24.1", "torchvision 0.24.1 was not built for torch 2.9.1+cpu"),
        ("2.9.1", "0.24.1+cu128", "torchvision 0.24.1+cu128 was not built for torch 2.9.1"),
    ],
)
def test_pairs_of_torch_and_torchvision(torch, torchvision, problem):
    assert Torchvision(torch, torchvision).problem == problem


@pytest.mark.parametrize("version", ["2.7.9", "2.9.0", "3.0", "1.7"])
def test_other_versions_of_nnunet_are_refused(monkeypatch, version):
    pytest.importorskip("nnunetv2")
    monkeypatch.setattr(compat, "installed", lambda package: version)
    with pytest.raises(SetupError, match=rf"nnunetv2 {version} is installed, supported is >=2.8,<2.9: pip install"):
        check_nnunet()


@pytest.mark.parametrize("version", ["2.8.0", "2.8.1", "2.8.12+local"])
def test_supported_versions_pass(monkeypatch, version):
    pytest.importorskip("nnunetv2")
    monkeypatch.setattr(compat, "installed", lambda package: version)
    check_nnunet()


def test_a_missing_nnunet_names_the_extra(monkeypatch):
    monkeypatch.setattr(compat, "installed", lambda package: None)
    with pytest.raises(SetupError, match=r"pip install 'paraspinal-nnunet\[train\]'"):
        check_nnunet()


@pytest.mark.parametrize("name", NAMES)
def test_nnunet_finds_the_canonical_classes(kept_environment, name):
    pytest.importorskip("nnunetv2")
    register_trainers()
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    import paraspinal_nnunet.trainers

    found = recursive_find_trainer_class_by_name(name)
    assert found is getattr(paraspinal_nnunet.trainers, name)
    assert pickle.loads(pickle.dumps(found)) is found
    assert recursive_find_trainer_class_by_name(name) is found


def test_the_fix_runs_the_sitecustomize_that_it_stands_before(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.theirs_ran = True\n")
    path = fixed_python_path({"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])})
    code = f"import sys; print(sys.theirs_ran, {PRIMUS_MODULE!r} in sys.modules)"
    assert python(code, PYTHONPATH=path) == "True True"


def test_the_fix_alone_is_silent():
    assert python(f"import sys; print({PRIMUS_MODULE!r} in sys.modules)", PYTHONPATH=fixed_python_path({})) == "True"


def test_processes_that_we_start_are_fixed(kept_environment):
    pytest.importorskip("nnunetv2")
    register_trainers()
    code = f"import os, sys; print({PRIMUS_MODULE!r} in sys.modules, os.environ['nnUNet_extTrainer'])"
    assert python(code) == f"True {PLUGIN_FOLDER}"


def test_env_prints_what_the_shell_needs(monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    monkeypatch.setattr(compat, "torchvision_state", lambda: Torchvision("2.9.1+cpu", "0.24.1"))
    assert main(["env"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == f"export nnUNet_extTrainer={PLUGIN_FOLDER}"
    assert printed.out.splitlines()[1].startswith(f"export PYTHONPATH={FIX_FOLDER}")
    assert "torchvision 0.24.1 was not built for torch 2.9.1+cpu" in printed.err
    assert main(["env", "--no-fix"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_env_leaves_a_good_pair_alone(monkeypatch, capsys):
    monkeypatch.setattr(compat, "torchvision_state", lambda: Torchvision("2.9.1", "0.24.1"))
    assert main(["env"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["env", "--fix"]) == 0
    assert "PYTHONPATH" in capsys.readouterr().out


def test_the_doctor_tells_a_torchvision_that_does_not_load(monkeypatch):
    monkeypatch.setattr(doctor, "torchvision_state", lambda: Torchvision("2.9.1+cpu", "0.24.1"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor, "_python", lambda code: "RuntimeError: operator torchvision::nms does not exist")
    finding = doctor._torchvision()
    assert finding.state == "note"
    assert "0.24.1 does not load beside torch 2.9.1+cpu (RuntimeError: operator torchvision::nms" in finding.what
    assert 'eval "$(paraspinal env)"' in finding.fix


def test_the_doctor_tells_missing_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert doctor._folder("raw").state == "good"
    finding = doctor._folder("results")
    assert (finding.state, finding.what) == ("wrong", "nnUNet_results is not set")
    assert "export nnUNet_results=" in finding.fix
    assert str(finding).splitlines()[1].startswith("       fix: ")


def test_the_doctor_finds_nothing_wrong_where_only_portable_models_are_wanted(monkeypatch, capsys):
    """As after pip install 'paraspinal-nnunet[fast]': no nnU-Net, none of its folders, no torch."""
    there = {"onnxruntime": "1.32.0"}
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor, "installed", there.get)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.delenv(f"nnUNet_{name}", raising=False)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "WRONG" not in text
    assert "ok     prediction with portable models: onnxruntime 1.32.0" in text
    assert "note   not installed: training, and prediction with nnU-Net's models" in text
    assert "pip install 'paraspinal-nnunet[train]'" in text
    there["pydicom"] = "3.0.2"  # another program may have brought it
    lines = [str(finding).splitlines()[0] for finding in doctor.examine()]
    assert "note   not installed (highdicom, python-gdcm): DICOM in and out" in lines


def test_the_doctor_ends_with_1_when_something_is_wrong(monkeypatch, capsys):
    findings = [doctor.Finding("good", "all"), doctor.Finding("note", "that", "do this")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert main(["doctor"]) == 0
    findings.append(doctor.Finding("wrong", "this"))
    assert main(["doctor"]) == 1
    assert "WRONG  this" in capsys.readouterr().out


@pytest.mark.slow
def test_stock_look_up_in_a_fixed_shell(tmp_path):
    pytest.importorskip("nnunetv2")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.theirs_ran = True\n")
    shell = subprocess.run(
        ["bash", "-c", f'eval "$({sys.executable} -m paraspinal_nnunet env --mend)"; {sys.executable} -c "$CODE"'],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
            "CODE": "import sys; from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as f;"
            "import paraspinal_nnunet.trainers as t;"
            "c = f('nnUNetTrainerParaspinal'); print(sys.theirs_ran, c is t.nnUNetTrainerParaspinal, c.__module__)",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.splitlines()[-1] == "True True paraspinal_nnunet.trainers.paraspinal"


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["__file__", "__path__"])
def test_modules_that_load_lazily_do_not_hinder_the_look_up(tmp_path, attribute):
    """Each attribute access imports a new module, as lazily loading packages do while nnU-Net walks sys.modules."""
    pytest.importorskip("nnunetv2")
    code = f"""
import sys, types
from paraspinal_nnunet.nnunet.compat import register_trainers
register_trainers()
class Lazy(types.ModuleType):
    def __getattribute__(self, name):
        if name == {attribute!r}:
            sys.modules[f"lazily_{{len(sys.modules)}}"] = types.ModuleType("lazy")
            raise AttributeError(name)
        return super().__getattribute__(name)
sys.modules["lazy"] = Lazy("lazy")
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
print(find("nnUNetTrainerParaspinal").__name__, "paraspinal_trainers" in sys.modules)
"""
    assert python(code).splitlines()[-1] == "nnUNetTrainerParaspinal False"
