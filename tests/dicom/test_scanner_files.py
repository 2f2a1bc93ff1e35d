"""DICOM from scanners, where a folder of it is at hand: classic and enhanced files of a series hold the same voxels.

``PARASPINAL_DICOM_DATA`` names a folder with unpacked copies of public collections: ``dcm_qa_philips_enh`` and
``dcm_qa_enh`` of github.com/neurolabusc, with ``cl`` and ``enh`` or the makers' folders anywhere below.
"""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from paraspinal_nnunet.dicom import Kind, read_stack, scan_study

DATA = os.environ.get("PARASPINAL_DICOM_DATA", "")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(DATA).is_dir() or not DATA, reason="PARASPINAL_DICOM_DATA names no folder"),
]


def folders(name):
    found = [path for path in sorted(Path(DATA).rglob(name)) if path.is_dir()]
    if not found:
        pytest.skip(f"PARASPINAL_DICOM_DATA holds no folder {name}")
    return found


def stacks(folder):
    """(series number, sum of positions) and contrast -> volume of every part that makes a stack."""
    found = {}
    for series in scan_study(folder).of_kind(Kind.IMAGE):
        traits = series.frames[0].traits
        phase = bool({"P", "PHASE"} & {*series.frames[0].image_type}) or traits.get("component") == "PHASE"
        key = (series.number, len(series.frames), round(traits.get("echo_time_ms", 0), 1), phase)
        found[key] = series
    return found


def test_classic_and_enhanced_files_of_a_series_hold_the_same_voxels():
    compared = 0
    for classic_folder, enhanced_folder in zip(folders("cl"), folders("enh"), strict=True):
        classic, enhanced = stacks(classic_folder), stacks(enhanced_folder)
        for key in classic.keys() & enhanced.keys():
            one, other = read_stack(classic[key]).volume, read_stack(enhanced[key]).volume
            assert np.allclose(one.affine, other.affine, atol=1e-3), key
            assert np.allclose(one.array, other.array, rtol=1e-5), key
            compared += 1
    assert compared


def test_every_file_of_a_scanner_is_read_or_named():
    for folder in folders("Philips") + folders("Siemens"):
        found = scan_study(folder)
        assert found.damaged == ()
        for series in found.of_kind(Kind.IMAGE):
            assert np.ptp(read_stack(series).volume.array) > 0
