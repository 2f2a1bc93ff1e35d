"""Editable install, wheel and sdist hold the same modules, from the root and from elsewhere."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"dataset_conversion", "trainers", "evaluation"}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


NOT_FOR_USERS = {"demo", "test", "validators", "docs", "dev"}
"""Extras that gather others, and those of developers."""


def test_the_doctor_knows_every_extra(project):
    from paraspinal_nnunet.cli.machine.checks import PARTS

    extras = project["project"]["optional-dependencies"]
    wanted = {
        extra: {re.split(r"[ <>=;\[]", requirement)[0] for requirement in requirements}
        for extra, requirements in extras.items()
        if extra not in NOT_FOR_USERS
    }
    wanted["fast"] |= wanted.pop("openvino")  # one of them is enough
    assert {part.extra: set(part.packages) for part in PARTS} == wanted


def tracked_files():
    """Files of the package that git does not ignore, by their place inside `paraspinal_nnunet`; links are left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    found = set()
    for name in filter(None, listed):
        top, _, rest = name.partition("/")
        if top in FOLDERS and rest:
            found.add(f"paraspinal_nnunet/{name}")
        elif top == "paraspinal_nnunet" and rest not in FOLDERS:
            found.add(name)
    return found


def packages_on_disk():
    inits = {Path(f).parent.as_posix() for f in tracked_files() if f.endswith("/__init__.py")}
    return {folder.replace("/", ".") for folder in inits}


def test_every_package_on_disk_is_listed(project):
    assert set(project["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_data_file_is_declared(project):
    """Else it would be missing from the wheel; patterns are relative to the package's folder."""
    declared = {
        f"{package.replace('.', '/')}/{pattern}"
        for package, patterns in project["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
    }
    data = [name for name in tracked_files() if not name.endswith(".py")]
    assert data
    assert [name for name in data if not any(fnmatch(name, pattern) for pattern in declared)] == []


def test_the_three_folders_are_mapped_and_linked(project):
    mapped = project["tool"]["setuptools"]["package-dir"]
    assert {name: mapped[f"paraspinal_nnunet.{name}"] for name in FOLDERS} == {name: name for name in FOLDERS}
    for name in FOLDERS:
        link = ROOT / "paraspinal_nnunet" / name
        assert link.is_symlink()
        assert os.readlink(link) == f"../{name}"


def test_base_dependencies_do_not_pull_torch_or_itk(project):
    names = {d.split(">")[0].split("=")[0].lower() for d in project["project"]["dependencies"]}
    assert names & {"torch", "monai", "nnunetv2", "batchgenerators", "simpleitk"} == set()


def test_import_and_light_verbs_do_not_import_torch(tmp_path):
    """Run where torch, monai, nnunetv2 and SimpleITK cannot be imported at all."""
    for name in ("torch", "monai", "nnunetv2", "SimpleITK"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError('{name} must not be imported')\n")
    code = (
        "import paraspinal_nnunet, sys\n"
        "from paraspinal_nnunet.cli import main\n"
        "main(['phantom', '-n', '2', '-o', 'scans', '--shape', '48', '48', '16', '-np', '1'])\n"
        "main(['convert', 'author', '-i', 'scans', '-d', '7', '-n', 'Tiny', '--raw', '.', '-np', '1'])\n"
        "code = main(['evaluate', '-ref', 'Dataset007_Tiny', '--pred', 'same=Dataset007_Tiny/labelsTr', '-o', 'out'])\n"
        "sys.exit(code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "metrics.tsv").read_text().count("\t1.0" * 7 + "\t") == 12


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Wheel and sdist, built by setuptools from a clean copy of the tracked files (links kept)."""
    copy = tmp_path_factory.mktemp("source") / "project"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(copy)], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    for name in filter(None, changed):
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file() and not source.is_symlink():
            target.write_bytes(source.read_bytes())
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def modules(names):
    return {name for name in names if name.startswith("paraspinal_nnunet/") and name.endswith(".py")}


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_tracked_modules(distributions):
    pytest.importorskip("build")
    wheel, sdist = distributions
    expected = modules(tracked_files())
    assert modules(zipfile.ZipFile(wheel).namelist()) == expected
    with tarfile.open(sdist) as archive:
        inside = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name if name.startswith("paraspinal_nnunet/") else f"paraspinal_nnunet/{name}" for name in inside if
            name.split("/")[0] in FOLDERS | {"paraspinal_nnunet"} and name.endswith(".py")} >= expected  # fmt: skip


@pytest.mark.slow
def test_wheel_holds_the_data_files(distributions, project):
    names = set(zipfile.ZipFile(distributions[0]).namelist())
    data = {f for f in tracked_files() if not f.endswith(".py")}
    assert data <= names
    assert "paraspinal_nnunet/py.typed" in names


@pytest.mark.slow
def test_installed_wheel_works_from_elsewhere(distributions, tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, str(distributions[0])], check=True, capture_output=True)
    code = (
        "import paraspinal_nnunet.dataset_conversion.engine as engine, paraspinal_nnunet.trainers as trainers; "
        "print(engine.__file__); print(trainers.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert all(line.startswith(str(target)) for line in result.stdout.split())


@pytest.mark.parametrize("folder", [ROOT, Path("/")])
def test_editable_install_is_one_package(folder):
    """The links must not give a second copy of a module beside the mapped one."""
    code = (
        "import paraspinal_nnunet.evaluation.metrics.overlap as a, sys; "
        "print(len([m for m in sys.modules if m.endswith('metrics.overlap')]), a.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "paraspinal_nnunet.evaluation.metrics.overlap"]
