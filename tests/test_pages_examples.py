"""The command blocks of the pages for beginners and of the how-to pages run as they stand, in order, in one folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from paraspinal_nnunet.image_io.geometry import spacing_mm, to_ras
from paraspinal_nnunet.phantom.cohort import generate_case

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(p for room in ("getting_started", "how_to") for p in (ROOT / "docs" / room).glob("*.md"))
NOT_RUN = "<!-- not run:"
LABEL_FOLDERS = ("labels", "corrected", "masks_one", "second_rater")


def blocks(page):
    """The page's shell blocks, and whether a comment before them says that they are not run."""
    found = re.findall(rf"({re.escape(NOT_RUN)}[^\n]*-->\n)?```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [(bool(comment), text) for comment, text in found]


@pytest.fixture(scope="module")
def phantoms():
    return [generate_case(3, number, (96, 96, 13)) for number in range(2)]


@pytest.fixture
def folder(tmp_path, phantoms):
    """What the pages speak of: a scan, scans, masks of two models and of raters, a table of levels, a study."""
    for number, phantom in enumerate(phantoms, start=1):
        image = nibabel.Nifti1Image(phantom.image.astype(np.int16), phantom.affine)
        labels = nibabel.Nifti1Image(phantom.labels.astype(np.uint8), phantom.affine)
        for name, what in ({"scans": image} | dict.fromkeys(LABEL_FOLDERS, labels)).items():
            (tmp_path / name).mkdir(exist_ok=True)
            nibabel.save(what, tmp_path / name / f"case{number}.nii.gz")
        shifted = nibabel.Nifti1Image(np.roll(phantom.labels, 1, axis=0).astype(np.uint8), phantom.affine)
        (tmp_path / "masks_two").mkdir(exist_ok=True)
        nibabel.save(shifted, tmp_path / "masks_two" / f"case{number}.nii.gz")
    shutil.copy(tmp_path / "scans" / "case1.nii.gz", tmp_path / "scan.nii.gz")
    (tmp_path / "levels.csv").write_text("case,level,slice\ncase1,L4,6\ncase2,L4,6\n")
    return tmp_path


def test_pages_are_there():
    assert {p.parent.name for p in PAGES} == {"getting_started", "how_to"}
    assert all(blocks(page) for page in PAGES)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_commands_of_the_page_run(page, folder, phantoms):
    script = "\n".join(text for not_run, text in blocks(page) if not not_run)
    if "studies" in script:
        pytest.importorskip("highdicom")
        from helpers.dicom_files import save_series, slices

        array, affine = to_ras(phantoms[0].image, phantoms[0].affine)
        body = slices(array[::-1, ::-1].astype(np.uint16), spacing=spacing_mm(affine))
        save_series(body, folder / "studies" / "one")
    program = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{program}{os.pathsep}{os.environ['PATH']}",
        "nnUNet_raw": str(folder / "raw"),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results_nnunet"),
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "1",
    }
    for name in ("raw", "preprocessed", "results_nnunet"):
        (folder / name).mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
