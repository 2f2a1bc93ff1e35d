import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.protocol.overrides import parse_settings
from paraspinal_nnunet.speed import run
from paraspinal_nnunet.speed.arms import ARMS, ArmTiming, timed
from paraspinal_nnunet.speed.run import (
    FORMAT,
    BenchmarkRequest,
    benchmark,
    hours,
    table,
    training_resources,
    write_benchmark,
)
from paraspinal_nnunet.utils.workers import in_own_process

TIMING = ArmTiming("2d", 8, 200, 0.1, 0.5, 0.6, "disk", 2048, None)


def test_hours_are_those_of_the_whole_batch():
    """0.6 s for 8 of 200 crops are 15 s an iteration; 30,000 of them 450,000 s = 125 h."""
    assert TIMING.seconds_per_iteration == pytest.approx(15)
    assert hours(TIMING, 30_000) == pytest.approx(125)


def test_work_is_repeated_for_a_while_and_waited_for_once():
    calls, waits = [], []
    assert timed(lambda: calls.append(0), lambda: waits.append(0), seconds=0) > 0
    assert (len(calls), len(waits)) == (3, 1)


def test_what_there_is_no_time_for_is_told_and_no_study_is_planned_with_the_rest(tmp_path, monkeypatch):
    """Two of four arms end in time; the next one may take what they left, the last one no more than that."""
    limits = {}

    def measured(arm, plans, *, limit_s, **given):
        limits[arm] = limit_s
        if arm in ("3d", "3d_da"):
            raise TimeoutError
        return replace(TIMING, arm=arm)

    clock = iter([0.0, 10.0, 60.0, 110.0, 200.0, 260.0])
    monkeypatch.setattr(run, "measure_arm", measured)
    monkeypatch.setattr(run, "in_own_process", lambda *given, limit_s: None)
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    content = benchmark(BenchmarkRequest(("2d", "3d", "2d_da", "3d_da"), "cpu", minutes=5))
    assert limits == {"2d": 60, "3d": 190 / 3, "2d_da": 60, "3d_da": 40}  # 240 s left for four, 190 for three, 100, 40
    assert (list(content["arms"]), content["not_measured"]) == (["2d", "2d_da"], ["3d", "3d_da"])
    assert "not measured for want of time: 3d, 3d_da; give more --minutes" in table(content)
    write_benchmark(tmp_path / "benchmark.json", content)
    with pytest.raises(InputError, match="3d, 3d_da not measured for want of time"):
        training_resources(tmp_path / "benchmark.json")
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    with pytest.raises(InputError, match="no arm could be measured within 5 minutes"):
        benchmark(BenchmarkRequest(("3d",), "cpu"))
    monkeypatch.setattr(run, "in_own_process", in_own_process)
    with pytest.raises(InputError, match="making the scans alone took longer than 5 minutes"):
        run._prepare_in_time(tmp_path, BenchmarkRequest(), False, 0.0)


@pytest.mark.slow
def test_arms_are_measured_on_computed_scans(tmp_path, thread_pools, monkeypatch):
    """Small scans and batches; nothing is left behind, and a study takes what was found."""
    pytest.importorskip("nnunetv2")
    monkeypatch.setenv("nnUNet_raw", "elsewhere")
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    settings = parse_settings(["patch_size=32,32", "3d_fullres.patch_size=16,32,32", "2d.batch_size=16", "threads=1"])
    request = BenchmarkRequest(("2d_da", "3d"), "cpu", 0.01, 30, (64, 64, 16), settings)
    content = benchmark(request)
    assert os.environ["nnUNet_raw"] == "elsewhere"
    assert {name: (arm["crops"], arm["batch_size"]) for name, arm in content["arms"].items()} == {
        "2d_da": (8, 16),
        "3d": (1, 10),
    }
    for arm in content["arms"].values():
        assert 0 < arm["data_seconds"] < arm["loop_seconds"]
        assert 0 < arm["step_seconds"] < 2 * arm["loop_seconds"]
    of_a_fold = sum(arm["hours_per_fold"] for arm in content["arms"].values())
    assert content["study_hours"] == pytest.approx(3 * of_a_fold)
    longest = max(arm["hours_per_fold"] for arm in content["arms"].values())
    asked = content["resources"]["train"]
    assert asked["minutes"] == pytest.approx(max(60, longest * 90), abs=1)
    assert asked["gpu"] == 0
    text = table(content)
    assert "8 of 16" in text
    assert "whole batch" in text
    path = tmp_path / "benchmark.json"
    write_benchmark(path, content)
    assert training_resources(path) == asked
    assert main(["study", "init", "-s", str(tmp_path), "--benchmark", str(path)]) == 0
    study = (tmp_path / "study.yaml").read_text()
    assert f"train:    {{gpu: 0, threads: {asked['threads']}, memory_gb: {asked['memory_gb']}" in study


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match=r"was not written by 'paraspinal benchmark -o'"):
        training_resources(path)
    path.write_text(json.dumps({"format": FORMAT, "resources": {"train": {"gpu": 1, "threads": 4}}}))
    with pytest.raises(InputError, match="memory_gb"):
        training_resources(path)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--arms", "4d"], "2d, 2d_da"),
        (["--seconds", "0"], "--seconds 0: must be greater than 0"),
        (["--minutes", "-1"], "--minutes -1: must be greater than 0"),
        (["--minutes", "inf"], "--minutes inf: must be greater than 0, at most 100000"),
        (["--seconds", "1e308"], "--seconds 1e+308: must be greater than 0, at most 100000"),
        (["--seconds", "nan"], "--seconds nan: must be greater than 0"),
    ],
)
def test_wrong_flags_are_told(capsys, flags, told):
    assert main(["benchmark", *flags]) == 1
    assert told in capsys.readouterr().err


def test_arms_are_the_studys():
    """Those of the study.yaml that `paraspinal study init` writes."""
    yaml = pytest.importorskip("yaml")
    from paraspinal_nnunet.workflow.study_file.template import PAPERS

    arms = yaml.safe_load(PAPERS)["arms"]
    assert {name: (arm["trainer"], arm["configuration"]) for name, arm in arms.items()} == ARMS
