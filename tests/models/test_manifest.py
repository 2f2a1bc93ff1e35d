import dataclasses
import hashlib
import json

import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.models.manifest import (
    FILE_NAME,
    FileEntry,
    Manifest,
    check_files,
    file_entries,
    label_entries,
    read_manifest,
    write_manifest,
)

LABELS = {"background": 0, "psoas_major_left": 6, "multifidus_right": 1, "fat": 9, "ignore": 10}


def manifest(folder, **changes):
    values = {
        "format": "nnunet",
        "dataset_name": "Dataset501_Tiny",
        "trainer": "nnUNetTrainerParaspinal",
        "plans_name": "Tiny-nnUNetTrainerParaspinal",
        "configuration": "2.5d",
        "folds": ("0", "2"),
        "mirroring_axes": (0, 1),
        "labels": label_entries(LABELS),
        "protocol": ({"key": "loss", "value": "dice", "paper": "dice_ce", "is_papers": False},),
        "preprocessing": {"orientation": "RAS"},
        "training": {"cases": 6, "subjects": None},
        "versions": {"training": None, "export": {}},
        "created": "2022-08-05",
        "licence": "CC-BY-4.0",
        "citation": ("A, B",),
        "files": file_entries(folder),
    }
    return Manifest(**values | changes)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "plans.json").write_bytes(b"{}")
    (tmp_path / "fold_0" / "weights.pth").write_bytes(b"abc")
    write_manifest(tmp_path, manifest(tmp_path))
    return tmp_path


def rewritten(model, **changes):
    path = model / FILE_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return model


def test_labels_carry_muscle_side_and_codes():
    right, left, other = label_entries(LABELS)
    assert right == {
        "value": 1,
        "key": "multifidus_right",
        "muscle": "multifidus",
        "side": "right",
        "muscle_code": {"scheme": "SCT", "value": "5709001", "meaning": "Multifidus muscles"},
        "side_code": {"scheme": "SCT", "value": "24028007", "meaning": "Right"},
    }
    assert (left["value"], left["side"], left["muscle_code"]["scheme"]) == (6, "left", "FMA")
    assert other == dict.fromkeys(right) | {"value": 9, "key": "fat"}


def test_regions_are_refused():
    with pytest.raises(InputError, match="only models with one value per label"):
        label_entries({"back": [1, 2]})


def test_files_are_listed_with_size_and_hash(model):
    # printf abc | sha256sum
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_entries(model) == (
        FileEntry("fold_0/weights.pth", 3, abc),
        FileEntry("plans.json", 2, hashlib.sha256(b"{}").hexdigest()),
    )


def test_what_is_written_is_read(model):
    assert read_manifest(model) == manifest(model)
    none = dataclasses.replace(manifest(model), protocol=None, mirroring_axes=None)
    write_manifest(model, none)
    assert read_manifest(model) == none


def test_a_sound_model_passes(model):
    check_files(model, read_manifest(model), exact=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "../x"),
        ("dataset_name", "Dataset501_../../x"),
        ("dataset_name", "Tiny"),
        ("trainer", "a/b"),
        ("plans_name", ".."),
        ("plans_name", "a/b"),
        ("plans_name", "a\n"),
        ("configuration", ".."),
        ("folds", []),
        ("folds", ["../0"]),
        ("folds", [0]),
        ("folds", "0"),
        ("mirroring_axes", [3]),
        ("mirroring_axes", [True]),
        ("labels", []),
        ("labels", [{"value": "1", "key": "x"}]),
        ("protocol", {}),
        ("preprocessing", None),
        ("training", []),
        ("versions", "1"),
        ("created", 5),
        ("licence", None),
        ("citation", "text"),
        ("files", []),
        ("files", [{"path": "../a", "size_bytes": 1, "sha256": "0" * 64}]),
        ("files", [{"path": "/a", "size_bytes": 1, "sha256": "0" * 64}]),
        ("files", [{"path": "a\\b", "size_bytes": 1, "sha256": "0" * 64}]),
        ("files", [{"path": "a", "size_bytes": -1, "sha256": "0" * 64}]),
        ("files", [{"path": "a", "size_bytes": 1, "sha256": "0"}]),
        ("files", [{"path": "a", "size_bytes": 1, "sha256": "0" * 64}] * 2),
        ("files", [{"path": FILE_NAME, "size_bytes": 1, "sha256": "0" * 64}]),
    ],
)
def test_fields_that_cannot_be_are_refused(model, field, value):
    with pytest.raises(InputError, match=f"manifest.json: '{field}' holds"):
        read_manifest(rewritten(model, **{field: value}))


def test_missing_fields_are_refused(model):
    content = json.loads((model / FILE_NAME).read_text())
    del content["licence"]
    (model / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(InputError, match="'licence' is missing"):
        read_manifest(model)


def test_later_versions_and_other_files_are_refused(model):
    with pytest.raises(InputError, match="schema version 2, this release reads 1; update it"):
        read_manifest(rewritten(model, schema_version=2))
    with pytest.raises(InputError, match="is no manifest of 'paraspinal export'"):
        read_manifest(rewritten(model, schema="other"))
    (model / FILE_NAME).write_text("{")
    with pytest.raises(InputError, match="is not valid JSON"):
        read_manifest(model)
    (model / FILE_NAME).unlink()
    with pytest.raises(InputError, match="this is no exported model"):
        read_manifest(model)


def test_changed_missing_and_unnamed_files_are_refused(model):
    known = read_manifest(model)
    weights = model / "fold_0" / "weights.pth"
    for content in (b"abd", b"abcd"):
        weights.write_bytes(content)
        with pytest.raises(InputError, match=r"weights\.pth: is not the file that the manifest describes"):
            check_files(model, known, exact=False)
    weights.unlink()
    with pytest.raises(InputError, match=r"weights\.pth: is missing or no plain file"):
        check_files(model, known, exact=False)
    outside = model.parent / "outside"
    outside.write_bytes(b"abc")
    weights.symlink_to(outside)
    with pytest.raises(InputError, match="no plain file"):
        check_files(model, known, exact=False)
    weights.unlink()
    weights.write_bytes(b"abc")
    (model / "more.txt").write_text("")
    check_files(model, known, exact=False)
    with pytest.raises(InputError, match=r"more\.txt: the manifest does not name this file"):
        check_files(model, known, exact=True)
