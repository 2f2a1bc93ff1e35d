import csv
import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from paraspinal_nnunet import cli
from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.errors import DatasetError, ProtocolError
from paraspinal_nnunet.image_io.geometry import axis_codes, check_sides
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.nnunet.splits import read_splits
from paraspinal_nnunet.training.augmentation import export as augmented_set
from paraspinal_nnunet.training.augmentation.export import AugmentRequest, augment


def request(tiny, output, **changes):
    options = {"plans_name": tiny.plans_name, "count": 3, "processes": 1, **changes}
    return AugmentRequest(501, options.pop("fold", 0), output, **options)


def rows(manifest):
    with open(manifest, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def files(output):
    return sorted(p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file())


def contents(output):
    return {name: (output / name).read_bytes() for name in files(output)}


@pytest.fixture
def one_set(tiny, tmp_path):
    output = tmp_path / "augmented"
    return output, rows(augment(request(tiny, output)))


def test_a_set_has_images_labels_manifest_and_settings(tiny, one_set):
    output, manifest = one_set
    names = [f"{kind}/000{n}{end}.nii.gz" for kind, end in (("images", "_0000"), ("labels", "")) for n in range(3)]
    assert files(output) == ["augmented.json", "augmented.tsv", *names]
    assert [row["image"] for row in manifest] == ["0000", "0001", "0002"]
    assert {row["case"] for row in manifest} <= set(read_splits(tiny.preprocessed / "splits_final.json")[0]["train"])
    settings = json.loads((output / "augmented.json").read_text())
    assert settings["augmentation"]["pool"] == 1000
    assert settings["spacing_mm"] == [15.625, 3.12, 3.12]


def test_images_lie_on_the_plans_grid_with_right_at_the_right(one_set):
    output, _ = one_set
    for n in range(3):
        image = read_image(output / f"images/000{n}_0000.nii.gz")
        labels = read_labels(output / f"labels/000{n}.nii.gz")
        assert image.spacing_mm == pytest.approx((3.12, 3.12, 15.625))
        assert axis_codes(image.affine) == "RAS"
        assert (image.shape, image.array.dtype) == (labels.shape, np.float32)
        assert np.array_equal(image.affine, labels.affine)
        check_sides(labels.array, labels.affine, PARASPINAL, f"{n}")


def test_crops_of_a_training_are_regions_of_the_files_exactly(tiny, one_set):
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from paraspinal_nnunet.trainers import nnUNetTrainerParaspinalDA

    output, manifest = one_set
    plans = json.loads(tiny.plans_file.read_text())
    dataset = json.loads((tiny.preprocessed / "dataset.json").read_text())
    import torch

    trainer = nnUNetTrainerParaspinalDA(plans, "2d", 0, dataset, torch.device("cpu"))
    assert PlansManager(plans).dataset_name == tiny.name
    reader = trainer._reader("train", trainer.do_split()[0])
    for row in manifest:
        image = reader.open_image(row["image"])
        start, size = (3, 5, 7), (4, 32, 30)
        z, y, x = (slice(s, s + n) for s, n in zip(start, size, strict=True))
        voxels, labels = image.read(start, size)
        stored = read_image(output / f"images/{row['image']}_0000.nii.gz").array.transpose(2, 1, 0)
        stored_labels = read_labels(output / f"labels/{row['image']}.nii.gz").array.transpose(2, 1, 0)
        assert np.array_equal(voxels[0], stored[z, y, x])
        assert np.array_equal(labels, stored_labels[z, y, x])


def test_manifest_holds_the_parameters(tiny, one_set):
    from paraspinal_nnunet.protocol.paper import PAPER
    from paraspinal_nnunet.training.augmentation.transform import AugmentedPool

    _, manifest = one_set
    cases = read_splits(tiny.preprocessed / "splits_final.json")[0]["train"]
    pool = AugmentedPool(tuple(cases), 0, 0, PAPER.augmentation)
    for row in manifest:
        t = pool.image(row["image"])
        assert row["case"] == t.case
        assert [int(row["flip"]), int(row["labels_exchanged"])] == [t.flip, t.flip]
        numbers = [float(row[f"rotation_{a}_deg"]) for a in "zyx"] + [float(row[f"scaling_{a}"]) for a in "zyx"]
        numbers += [float(row[f"translation_{a}_voxels"]) for a in "zyx"]
        numbers += [float(row["sigma_voxels"]), float(row["magnitude_voxels"])]
        expected = [*t.rotation_deg, *t.scaling, *t.translation_voxels, t.sigma, t.magnitude]
        assert numbers == pytest.approx(expected, rel=1e-5)
        assert row["space"] == "voxel"


@pytest.mark.slow
def test_a_second_run_makes_only_what_is_missing(tiny, one_set, monkeypatch):
    output, _ = one_set
    before = contents(output)
    (output / "labels/0001.nii.gz").unlink()
    made = []
    real = augmented_set.write_augmented
    monkeypatch.setattr(augmented_set, "write_augmented", lambda r, i, o: (made.append(i), real(r, i, o)))
    augment(request(tiny, output))
    assert made == ["0001"]
    after = contents(output)
    assert before.keys() == after.keys()
    labels = read_labels(output / "labels/0001.nii.gz")
    assert labels.array.max() == 6
    augment(request(tiny, output, count=4))
    assert made == ["0001", "0003"]
    assert len(rows(output / "augmented.tsv")) == 4


def test_an_image_that_fails_leaves_nothing_under_its_name(tiny, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(augmented_set, "write_labels", fail)
    with pytest.raises(OSError, match="disk full"):
        augment(request(tiny, tmp_path / "out"))
    assert files(tmp_path / "out") == ["augmented.json", "augmented.tsv", "images/0000_0000.nii.gz"]
    assert not augmented_set._is_written(tmp_path / "out", "0000")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fold": 1}, "fold, cases"),
        ({"configuration": "3d_fullres"}, "configuration"),
        ({"overrides": {"augmentation.space": "physical"}}, "augmentation"),
    ],
)
def test_a_folder_of_other_images_is_refused(tiny, one_set, changes, named):
    output, _ = one_set
    before = contents(output)
    with pytest.raises(ProtocolError, match=f"another {named}"):
        augment(request(tiny, output, **changes))
    assert contents(output) == before


def test_what_cannot_be_is_refused_before_anything_is_written(tiny, tmp_path):
    output = tmp_path / "out"
    for changes, error, words in (
        ({"fold": 7}, DatasetError, "has no fold 7"),
        ({"fold": "x"}, DatasetError, "has no fold x"),
        ({"plans_name": "Nope"}, DatasetError, "no such plans"),
        ({"configuration": "3d_lowres"}, DatasetError, "no configuration '3d_lowres'"),
        ({"count": 0}, ProtocolError, "--count 0"),
        ({"count": 1001}, ProtocolError, "1 to 1000"),
        ({"overrides": {"iterations": 3}}, ProtocolError, "begin with 'augmentation.'"),
    ):
        with pytest.raises(error, match=words):
            augment(request(tiny, output, **changes))
    assert not output.exists()
    output.mkdir()
    (output / "mine.txt").touch()
    with pytest.raises(ProtocolError, match="is not empty"):
        augment(request(tiny, output))


@pytest.mark.slow
def test_fold_all_uses_every_case(tiny, tmp_path):
    manifest = augment(request(tiny, tmp_path / "out", fold="all", count=6))
    assert len({row["case"] for row in rows(manifest)}) == 6


def test_plans_may_change_the_augmentation(tiny_copy, tmp_path):
    plans = json.loads(tiny_copy.plans_file.read_text())
    plans["paraspinal"]["overrides"]["augmentation.flip_probability"] = 1.0
    tiny_copy.plans_file.write_text(json.dumps(plans))
    assert all(row["flip"] == "1" for row in rows(augment(request(tiny_copy, tmp_path / "out"))))


COMMON = ("augment", "-d", "501", "-f", "0", "-p", "Tiny", "-np", "1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "change"),
    [
        (["--count", "2"], lambda names, table, meta: len(table) == 2),
        (["--count", "1", "-f", "1"], lambda names, table, meta: meta["fold"] == 1),
        (["--count", "1", "-c", "3d_fullres"], lambda names, table, meta: meta["configuration"] == "3d_fullres"),
        (
            ["--count", "8", "--set", "augmentation.exchange_labels=false"],
            lambda names, table, meta: {r["labels_exchanged"] for r in table} == {"0"},
        ),
        (["--count", "1", "--set", "augmentation.space=physical"], lambda n, table, m: table[0]["space"] == "physical"),
        (["--set", "augmentation.pool=1"], lambda names, table, meta: len(table) == 1),
    ],
)
def test_each_flag_changes_what_it_says(tiny, tmp_path, capsys, flags, change):
    output = tmp_path / "out"
    assert cli.main([*COMMON, "-o", str(output), *flags]) == 0
    assert capsys.readouterr().out.strip() == str(output / "augmented.tsv")
    meta = json.loads((output / "augmented.json").read_text())
    assert change(files(output), rows(output / "augmented.tsv"), meta)


def test_the_request_holds_what_the_flags_say(monkeypatch, tmp_path):
    seen = []
    (tmp_path / "preprocessed").mkdir()
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    monkeypatch.setattr(augmented_set, "augment", lambda r: seen.append(r) or tmp_path)
    cli.main(
        ["augment", "-d", "7", "-f", "all", "-p", "Other", "-np", "3", "-o", str(tmp_path / "o"), "-c", "3d_fullres"]
    )
    cli.main(["augment", "-d", "7", "-f", "2", "-o", str(tmp_path / "o"), "--count", "5"])
    assert seen[0] == AugmentRequest("7", "all", tmp_path / "o", "Other", "3d_fullres", None, 3)
    assert (seen[1].fold, seen[1].plans_name, seen[1].configuration, seen[1].count) == (2, "ParaspinalPlans", "2d", 5)


@pytest.mark.slow
def test_several_processes_write_the_same_files(tiny, one_set, tmp_path):
    output, _ = one_set
    again = tmp_path / "again"
    augment(request(tiny, again, processes=2))
    for name in files(output):
        if name.endswith(".nii.gz"):
            a, b = (read_image(folder / name) for folder in (output, again))
            assert np.array_equal(a.array, b.array)
    assert (output / "augmented.tsv").read_bytes() == (again / "augmented.tsv").read_bytes()
    assert not list(again.rglob(".*"))
