"""One tiny data set for the tests of planning, training and prediction: converted, planned and preprocessed once."""

import multiprocessing
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest
from helpers.scans import RAS, grey, labels, save

TINY_SHAPE = (64, 64, 16)
TINY_SETTINGS = (
    "spacing=15.625,3.12,3.12",
    "patch_size=32,32",
    "3d_fullres.patch_size=16,32,32",
    "batch_size=4",
    "crops_per_case=2",
    "3d_fullres.batch_size=2",
    "3d_fullres.crops_per_case=1",
    "iterations=7",
    "iterations_per_epoch=3",
    "val_iterations=1",
)


LONGEST_FIRST = ("test_study_runs", "test_stock_tools", "test_training_stock", "test_demo", "test_laterality")
"""Files that take minutes: begun last they would keep one core busy while the others have nothing left to do."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST_FIRST)


@dataclass(frozen=True)
class TinyDataset:
    """Where the tiny data set lies; nnU-Net's variables point there while a test has the fixture."""

    root: Path
    name: str = "Dataset501_Tiny"
    plans_name: str = "Tiny"

    @property
    def raw(self) -> Path:
        return self.root / "raw" / self.name

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / self.name

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def plans_file(self) -> Path:
        return self.preprocessed / f"{self.plans_name}.json"

    def variables(self) -> dict[str, str]:
        return {f"nnUNet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")}


class _Threads:
    Pool = ThreadPool


@contextmanager
def pools_of_threads():
    """nnU-Net starts a process for every pool, which costs seconds each; the work itself is the same in threads."""
    with pytest.MonkeyPatch.context() as patch:
        real = multiprocessing.get_context
        patch.setattr(multiprocessing, "get_context", lambda m=None: _Threads if m == "spawn" else real(m))
        patch.setattr("paraspinal_nnunet.utils.workers.in_own_process", lambda do, *arguments: do(*arguments))
        yield


@pytest.fixture
def thread_pools():
    with pools_of_threads():
        yield


@pytest.fixture(scope="session")
def thread_pool_context():
    """The context manager itself, for fixtures that serve several tests."""
    return pools_of_threads


@pytest.fixture(scope="session")
def tiny_original(tmp_path_factory):
    """The data set on disk; tests use `tiny` to read it and `tiny_copy` to change it."""
    pytest.importorskip("nnunetv2")
    from paraspinal_nnunet.dataset_conversion.engine import convert
    from paraspinal_nnunet.dataset_conversion.sources.author import author_source
    from paraspinal_nnunet.phantom import write_cohort
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings

    dataset = TinyDataset(tmp_path_factory.mktemp("tiny"))
    for variable in dataset.variables().values():
        Path(variable).mkdir()
    write_cohort(dataset.root / "cohort", cases=6, shape=TINY_SHAPE, second_rater=1, workers=1)
    convert(author_source(), dataset.root / "cohort", number=501, name="Tiny", raw=dataset.raw.parent)
    with pytest.MonkeyPatch.context() as patch, pools_of_threads():
        for variable, folder in dataset.variables().items():
            patch.setenv(variable, folder)
        overrides = parse_settings(list(TINY_SETTINGS))
        plan(PlanRequest(501, plans_name=dataset.plans_name, overrides=overrides, processes=1))
    return dataset


@pytest.fixture
def tiny(tiny_original, tmp_path, monkeypatch):
    """The shared data set, for reading, with an empty results folder of the test's own."""
    for variable, folder in tiny_original.variables().items():
        monkeypatch.setenv(variable, folder)
    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setenv("nnUNet_results", str(results))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    return tiny_original


@pytest.fixture
def tiny_copy(tiny_original, tmp_path, monkeypatch):
    """A copy of the data set that the test may change; file times are kept."""
    copy = TinyDataset(tmp_path / "tiny")
    shutil.copytree(tiny_original.root, copy.root)
    for variable, folder in copy.variables().items():
        monkeypatch.setenv(variable, folder)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    return copy


@pytest.fixture
def one_thread():
    """Sums round alike only with the same number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def kept_environment(monkeypatch):
    """Registering the trainers changes the process's environment; afterwards it is as before."""
    for variable in ("nnUNet_extTrainer", "PYTHONPATH"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))


EVALUATED_SHAPE, EVALUATED_SPACING = (36, 32, 8), (3.0, 3.0, 8.0)
EVALUATED_CASES = ("case-1", "case-2", "case-3", "case-4", "<b>'5' & co")
EVALUATED_MODELS = ("near", "</script><b>")
"""Names that a page must escape are among them."""


def evaluated_labels():
    """Six boxes in RAS order: right at large x, multifidus and erector spinae behind (small y), psoas in front."""
    import numpy as np

    labels = np.zeros(EVALUATED_SHAPE, np.uint8)
    for label, (x, y) in enumerate(((19, 4), (12, 4), (25, 4), (6, 4), (23, 20), (8, 20)), start=1):
        labels[x : x + 5, y : y + 7, 1:7] = label
    return labels


def write_evaluation_files(root: Path, *, images: bool = True) -> Path:
    """Evaluate two 'models': the labels moved by one voxel, and by two, in some cases along a second axis too."""
    import nibabel
    import numpy as np

    from paraspinal_nnunet.evaluation import evaluate

    affine = np.diag([-EVALUATED_SPACING[0], -EVALUATED_SPACING[1], EVALUATED_SPACING[2], 1.0])  # stored LPS
    folders = {name: root / f"model{place}" for place, name in enumerate(EVALUATED_MODELS)}
    for folder in (root / "labelsTr", root / "imagesTr", *folders.values()):
        folder.mkdir(parents=True)
    for place, case in enumerate(EVALUATED_CASES):
        reference = evaluated_labels()
        reference[:, :, 7 - place % 2 :] = 0
        reference[:, 8 + place // 2 : 11] = 0  # volumes differ between cases
        near = np.roll(reference, 1, axis=0) if place % 2 else np.roll(reference, 1, axis=1)
        far = np.roll(near, 1 + place % 2, axis=1)
        grey = np.random.default_rng(place).integers(1, 200, EVALUATED_SHAPE).astype(np.int16) + 300 * (reference > 0)
        stored = {root / "labelsTr" / f"{case}.nii.gz": reference}
        stored |= {folders[name] / f"{case}.nii.gz": a for name, a in zip(EVALUATED_MODELS, (near, far), strict=True)}
        if images:
            stored[root / "imagesTr" / f"{case}_0000.nii.gz"] = grey
        for path, array in stored.items():
            nibabel.save(nibabel.Nifti1Image(array[::-1, ::-1].astype(np.int16), affine), path)
    evaluate(root / "labelsTr", folders, root / "evaluation", workers=1)
    return root / "evaluation"


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory) -> Path:
    """An evaluation of two models on five cases; not to be written to."""
    return write_evaluation_files(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="session")
def evaluation_without_images(tmp_path_factory) -> Path:
    """The same without images."""
    return write_evaluation_files(tmp_path_factory.mktemp("imageless"), images=False)


class Scans:
    """A folder of tiny author-style scans and the raw folder that they are converted into."""

    def __init__(self, root: Path) -> None:
        self.folder, self.raw = root / "scans", root / "raw"
        self.raw.mkdir()
        self.ras = RAS.copy()

    @staticmethod
    def image(seed=0):
        return grey(seed)

    @staticmethod
    def labels():
        return labels()

    def save(self, name, array, affine=None):
        save(self.folder / name, array, self.ras if affine is None else affine)

    def add(self, *cases, labels=None, affine=None):
        """Cases with an image each; their seeds follow from their names, so that no two images are the same."""
        for case in cases:
            self.save(f"{case}_img.nii.gz", self.image(list(case.encode())), affine)
            self.save(f"{case}_GT.nii.gz", self.labels() if labels is None else labels, affine)

    def convert(self, *flags, verb="author", number=501):
        from paraspinal_nnunet.cli import main

        given = ["convert", verb, "-i", self.folder, "-d", number, "-np", "1", "--raw", self.raw, *flags]
        return main([str(argument) for argument in given])

    @property
    def dataset(self):
        return self.raw / "Dataset501_Paraspinal"

    def load(self, name):
        """Array and affine of a file of the data set."""
        import nibabel
        import numpy as np

        image = nibabel.load(self.dataset / name)
        return np.asanyarray(image.dataobj), image.affine

    def report(self):
        import json

        return json.loads((self.dataset / "conversion_report.json").read_text())


@pytest.fixture
def scans(tmp_path):
    return Scans(tmp_path)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """An empty folder for raw data sets, to which nnU-Net's variable points."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(folder))
    return folder
