"""The demonstration: its study, its refusal of foreign folders, and (slow) a small one from end to end."""

import pytest

from paraspinal_nnunet import cli
from paraspinal_nnunet.cli.demo import study as demo
from paraspinal_nnunet.cli.demo.study import DemoSettings, own_spacing_mm, phantom_command, run_demo, study_text
from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.workflow.settings import further_models, read_study


def test_it_is_a_study_of_two_arms_the_deeper_network_and_a_baseline(tmp_path):
    (tmp_path / "study.yaml").write_text(study_text(DemoSettings(tmp_path)))
    study = read_study(tmp_path)
    roles = [(m.name, m.role, m.configuration) for m in (*study.models, *further_models(study, "2d"))]
    assert roles == [
        ("2d", "arm", "2d"), ("3d", "arm", "3d_fullres"), ("nnunet", "baseline", "2d"), ("2d_deep", "deep", "2d"),
    ]  # fmt: skip
    cli.parser_for(phantom_command(DemoSettings(tmp_path))).parse_args(phantom_command(DemoSettings(tmp_path)))


def test_iterations_reach_the_study(tmp_path):
    settings = DemoSettings(tmp_path, iterations=51, iterations_3d=7, baseline_iterations=25)
    (tmp_path / "study.yaml").write_text(study_text(settings))
    study = read_study(tmp_path)
    assert [study.model(m).overrides["iterations"] for m in ("2d", "3d", "nnunet")] == [51, 7, 25]


def test_phantoms_are_trained_on_at_their_own_spacing(tmp_path):
    """64 and 32 of 512 voxels of 0.39 mm, 16 of 50 slices of 5 mm: 3.12, 6.24 and 15.625 mm; nothing is resampled."""
    assert own_spacing_mm() == pytest.approx((15.625, 6.24, 3.12))
    (tmp_path / "study.yaml").write_text(study_text(DemoSettings(tmp_path)))
    assert read_study(tmp_path).model("2d").overrides["spacing"] == [15.625, 6.24, 3.12]


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.docx").write_text("x")
    with pytest.raises(InputError, match="is not empty and holds no demonstration"):
        run_demo(DemoSettings(tmp_path))


def test_a_demonstration_of_other_settings_is_refused(tmp_path):
    folder = tmp_path / "demo"
    demo._open_folder(DemoSettings(folder, cases=5))
    demo._open_folder(DemoSettings(folder, cases=5))
    with pytest.raises(InputError, match="holds a demonstration with other settings"):
        demo._open_folder(DemoSettings(folder, cases=6))


def test_phantoms_that_cannot_be_made_name_their_log(tmp_path):
    settings = DemoSettings(tmp_path / "demo", cases=0)
    folder = demo._open_folder(settings)
    with pytest.raises(ParaspinalError, match=r"could not be made: paraspinal phantom: error: .*phantom\.log"):
        demo._make_cohort(settings, folder)
    assert not (folder / "cohort").exists()


@pytest.mark.slow
def test_a_small_demonstration_runs_and_shows_a_page(tmp_path, capsys):
    pytest.importorskip("nnunetv2")
    flags = ["demo", "-o", str(tmp_path / "demo"), "-n", "6"]
    flags += ["--iterations", "25", "--iterations-3d", "2", "--baseline-iterations", "2"]
    assert cli.main(flags) == 0
    first = capsys.readouterr().out
    (tmp_path / "demo" / "index.html").unlink()
    assert cli.main(flags) == 0
    assert "done: train" in first
    assert "done: " not in capsys.readouterr().out
    page = (tmp_path / "demo" / "index.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert all(name in page for name in ("Multifidus right", "Psoas major left", "_deep", "nnunet", "Which recipe"))
    assert "Which recipe is best" in (tmp_path / "demo" / "report" / "report.html").read_text()
