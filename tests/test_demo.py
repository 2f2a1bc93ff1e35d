"""The demonstration: its steps, its refusal of foreign folders, and (slow) a small one from end to end."""

import json
import shlex

import pytest

from paraspinal_nnunet import cli, demo
from paraspinal_nnunet.demo import DemoSettings, demo_steps, run_demo
from paraspinal_nnunet.errors import InputError, ParaspinalError


def test_every_step_is_a_command_that_a_user_could_type(tmp_path):
    steps = list(demo_steps(DemoSettings(tmp_path)))
    for step in steps:
        command = shlex.split(" ".join(step.arguments))
        cli.parser_for(command).parse_args(command)
    assert len({step.name for step in steps}) == len(steps)
    assert [step.name for step in steps if step.epochs] == ["train_paper", "train_baseline"]


def test_epochs_follow_the_iterations(tmp_path):
    steps = {s.name: s for s in demo_steps(DemoSettings(tmp_path, iterations=51, baseline_iterations=25))}
    assert (steps["train_paper"].epochs, steps["train_baseline"].epochs) == (3, 1)


def test_phantoms_are_trained_on_at_their_own_spacing(tmp_path):
    """128 of 512 voxels of 0.39 mm, 16 of 50 slices of 5 mm: 1.56 and 15.625 mm, so nothing is resampled."""
    (plan,) = (s for s in demo_steps(DemoSettings(tmp_path)) if s.name == "plan_paper")
    assert "spacing=15.625,1.56,1.56" in plan.arguments


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.docx").write_text("x")
    with pytest.raises(InputError, match="is not empty and holds no demonstration"):
        run_demo(DemoSettings(tmp_path))


def test_a_demonstration_of_other_settings_is_refused(tmp_path):
    folder = tmp_path / "demo"
    demo._claim(DemoSettings(folder, cases=5))
    demo._claim(DemoSettings(folder, cases=5))
    with pytest.raises(InputError, match="holds a demonstration with other settings"):
        demo._claim(DemoSettings(folder, cases=6))


def test_a_failed_step_names_its_log(tmp_path):
    folder = demo._claim(DemoSettings(tmp_path / "demo"))
    step = demo.Step("bad", "a step that fails", ("phantom", "-n", "0", "-o", "cohort"))
    with pytest.raises(ParaspinalError, match=r"'a step that fails' failed: paraspinal phantom: error: .*bad\.log"):
        demo._run_once(folder, step)
    assert not (folder / "logs" / "bad.done.json").exists()


@pytest.mark.slow
def test_a_small_demonstration_runs_resumes_and_shows_a_page(tmp_path, capsys):
    pytest.importorskip("nnunetv2")
    flags = ["demo", "-o", str(tmp_path / "demo"), "-n", "6", "--new-cases", "2"]
    flags += ["--iterations", "30", "--baseline-iterations", "2"]
    assert cli.main(flags) == 0
    first = capsys.readouterr().out
    assert "done already" not in first
    (tmp_path / "demo" / "logs" / "evaluate.done.json").unlink()
    assert cli.main(flags) == 0
    again = capsys.readouterr().out
    assert again.count("done already") == first.count("      paraspinal ") - 1
    page = (tmp_path / "demo" / "index.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert all(name in page for name in ("Multifidus right", "Psoas major left", "sub-001", "sub-002", "baseline"))
    record = json.loads((tmp_path / "demo" / "evaluation" / "evaluation.json").read_text())
    assert set(record["models"]) == {"paper", "baseline"}
