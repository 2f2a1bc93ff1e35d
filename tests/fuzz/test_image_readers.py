"""Mutated images are read or refused in one line: no other exception, no crash, no memory that a header asks for."""

import gzip
import random
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import read_image, read_labels

MUTATIONS = 60
MOST_BYTES = 64 << 20
ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(6, 5, 4)
WORDS = (
    b"-13",
    b"0",
    b"99999999999",
    b"1e9",
    b"nan",
    b"inf",
    b"LIST",
    b"../x",
    b"/etc/passwd",
    b"%03d",
    b"(",
    b"none",
    b"",
)


def contents(folder):
    """Ending -> the bytes of a small image of that format."""
    image = sitk.GetImageFromArray(ARRAY)
    image.SetSpacing((0.5, 0.5, 4.0))
    found = {}
    for name in ("a.mha", "packed.mha", "a.nrrd", "packed.nrrd", "a.mhd", "a.nhdr"):
        sitk.WriteImage(image, str(folder / name), name.startswith("packed"))
        found[name] = (folder / name).read_bytes()
    for name, kind in (("a.nii", nib.Nifti1Image), ("b.nii", nib.Nifti2Image)):
        found[name] = kind(ARRAY.T, np.diag([0.5, 0.5, 4.0, 1.0])).to_bytes()
        found[f"{name}.gz"] = found[name]
    return found


def mutated(content, chance):
    """Some bytes changed, cut off, doubled, or a number or word of the header replaced."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(min(len(data), 600) or 1) if data else 0
        kind = chance.randrange(5)
        if kind == 0:
            data[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            data[place : place + chance.randint(1, 8)] = chance.randbytes(chance.randint(0, 8))
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            end = data.find(b"\n", place) % (len(data) + 1)
            start = max(data.rfind(b"=", 0, end), data.rfind(b":", 0, end)) + 1
            data[start:end] = b" " + chance.choice(WORDS)
        else:
            data[place:place] = data[place : place + 40]
    return bytes(data)


def outcome(read, path):
    """What the error says, or 'read'."""
    try:
        volume = read(path)
    except InputError as error:
        return str(error)
    return "read" if volume.array.ndim == 3 and np.isfinite(volume.affine).all() else "no volume"


@pytest.mark.parametrize("read", [read_image, read_labels])
def test_mutated_images(tmp_path, read):
    chance = random.Random(7)
    originals = contents(tmp_path)
    tracemalloc.start()
    try:
        for name, content in originals.items():
            for _ in range(MUTATIONS):
                data = mutated(content, chance)
                (tmp_path / name).write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
                said = outcome(read, tmp_path / name)
                assert said == "read" or (name in said and "\n" not in said), said
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def test_cut_gzip(tmp_path):
    packed = gzip.compress(nib.Nifti1Image(ARRAY.T, np.eye(4)).to_bytes())
    for length in range(len(packed)):
        (tmp_path / "a.nii.gz").write_bytes(packed[:length])
        with pytest.raises(InputError):
            read_image(tmp_path / "a.nii.gz")
