"""Scans that the program's own model must not be asked about, computed from a drawn trunk: CT in its stored forms."""

import numpy as np
import pytest

from paraspinal_nnunet import measure
from paraspinal_nnunet.default_model.looks import FIXED
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.scan_checks import check_is_mr, check_is_scan
from paraspinal_nnunet.measures.quality import TrainingDescription
from paraspinal_nnunet.phantom.randomised.body import draw_body
from paraspinal_nnunet.phantom.randomised.slices import draw_slice
from paraspinal_nnunet.phantom.randomised.tissues import COUNT, Tissue, known_signal

HOUNSFIELD = {
    Tissue.AIR: -1000, Tissue.GAS: -1000, Tissue.VOID: -1000, Tissue.PAD: -300, Tissue.SUBCUTANEOUS: -105,
    Tissue.FAT: -100, Tissue.CORTEX: 700, Tissue.MARROW: 180, Tissue.CSF: 10, Tissue.FLUID: 5, Tissue.KIDNEY: 35,
}  # fmt: skip
SOFT_TISSUE = 55
AFFINE = np.diag([1.0, 1.0, 5.0, 1.0])


@pytest.fixture(scope="module")
def trunk():
    """Tissue and share of fat, (x, y, z), 400 mm wide, and labels."""
    rng = np.random.default_rng(4)
    body = draw_body(rng)
    slices = [draw_slice(body, level, rng) for level in (3.5, 2.5, 1.5)]
    tissue, fat = (np.stack([getattr(s, name).T[50:450] for s in slices], 2) for name in ("tissue", "fat"))
    return tissue, fat / 255.0, np.where(tissue <= 6, tissue, 0)


def ct_of(trunk):
    tissue, fat, _ = trunk
    table = np.full(COUNT, SOFT_TISSUE)
    table[list(HOUNSFIELD)] = list(HOUNSFIELD.values())
    noise = np.random.default_rng(0).normal(0, 15, tissue.shape)
    return np.clip(np.rint(table[tissue] * (1 - fat) - 100 * fat + noise), -1024, 3071)


def mr_of(trunk, family):
    tissue, fat, _ = trunk
    signal = np.abs(known_signal(family))
    return 1000 * (signal[tissue] * (1 - fat) + signal[Tissue.FAT] * fat)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (lambda hu: hu, "Hounsfield"),
        (lambda hu: (hu + 1024).astype(np.uint16), "stored with an offset or rescaled"),
        (lambda hu: ((hu + 1024) / 4095 * 255).astype(np.uint8), "stored with an offset or rescaled"),
        (lambda hu: (np.clip((hu + 1000) / 2000, 0, 1) * 255).astype(np.uint8), "stored with an offset or rescaled"),
    ],
    ids=["hounsfield", "offset", "all of it in 8 bits", "window of 2000 in 8 bits"],
)
def test_ct_is_refused_however_it_is_stored(trunk, stored, said):
    with pytest.raises(InputError, match=said):
        check_is_mr(Volume(stored(ct_of(trunk)), AFFINE))


@pytest.mark.parametrize("family", ["t2", "t1", "water", "fat", "in_phase", "opposed"])
def test_mr_of_the_same_trunk_is_taken(trunk, family):
    check_is_mr(Volume(mr_of(trunk, family), AFFINE))


def flags(image, labels, affine=AFFINE):
    training = TrainingDescription.from_entry({"scan_ranges": FIXED})
    found = measure((image, affine), (labels, affine), training=training).flags
    return [f for f in found if f.kind == "unlike training"]


def test_ct_cut_to_soft_tissue_gets_a_serious_flag(trunk):
    """A window of -160 to 240 leaves fat and muscle as far apart as in MR, but all hard bone at one value."""
    cut = (np.clip((ct_of(trunk) + 160) / 400, 0, 1) * 255).astype(np.uint8)
    check_is_mr(Volume(cut, AFFINE))
    (found,) = flags(cut, trunk[2])
    assert (found.severity, found.threshold) == ("serious", FIXED["highest_share"][1])
    assert "cut off" in found.text
    assert flags(mr_of(trunk, "t2") + np.random.default_rng(0).normal(0, 5, cut.shape), trunk[2]) == []


def test_a_localiser_gets_serious_flags(trunk):
    """Three slices 25 mm apart in pixels of 2.5 mm."""
    apart = np.diag([2.5, 2.5, 25.0, 1.0])
    image = mr_of(trunk, "t2")[::3, ::3] + np.random.default_rng(0).normal(0, 5, trunk[0][::3, ::3].shape)
    found = flags(image, trunk[2][::3, ::3], apart)
    assert {f.text.partition(" (")[0] for f in found} == {"pixels measure 2.5 mm", "slices are 25 mm apart"}
    assert {f.severity for f in found} == {"serious"}


def test_a_label_map_is_no_scan(trunk):
    """Masks lie beside their scans in many folders."""
    labels = trunk[2]
    for stored in (labels.astype(np.uint8), labels.astype(np.float32), np.where(labels > 0, 5102, 0)):
        with pytest.raises(InputError, match=r"a_dseg: holds \d+ whole values only, as a label map does"):
            check_is_scan(Volume(stored, AFFINE), "a_dseg")
    for stored in (mr_of(trunk, "t2"), np.rint(mr_of(trunk, "t2") / 10).astype(np.uint8), labels / 7):
        check_is_scan(Volume(stored, AFFINE), "a")
