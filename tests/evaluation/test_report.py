"""The report: one page that fetches nothing, holds every case, survives evil names, and works in a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from helpers.html_pages import Page, with_program
from helpers.tools import chromium
from scipy import stats

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError, SetupError
from paraspinal_nnunet.evaluation.comparison.data import load_study
from paraspinal_nnunet.evaluation.comparison.files import write_statistics
from paraspinal_nnunet.evaluation.comparison.run import Options, study_statistics
from paraspinal_nnunet.evaluation.comparison.view import view_study
from paraspinal_nnunet.evaluation.figures.run import FIGURES
from paraspinal_nnunet.evaluation.record import read_metrics
from paraspinal_nnunet.evaluation.report.answer import answer
from paraspinal_nnunet.evaluation.report.methods import methods_text, model_settings
from paraspinal_nnunet.evaluation.report.run import ReportOptions, write_report

pytest.importorskip("matplotlib")

NEAR, FAR = "near", "</script><b>"
CASES = ("case-1", "case-2", "case-3", "case-4", "<b>'5' & co")


def refused(*_):
    raise SetupError("torch is not installed")


@pytest.fixture
def _quick_figures(monkeypatch):
    monkeypatch.setattr("paraspinal_nnunet.evaluation.figures.run.FIGURES", {1: FIGURES[1], 5: refused})


@pytest.fixture(scope="module")
def report(evaluation, tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paraspinal_nnunet.evaluation.figures.run.FIGURES", {1: FIGURES[1], 5: refused})
        output = tmp_path_factory.mktemp("report") / "out"
        return write_report(evaluation, output, options=ReportOptions(embed=2, workers=1))


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def plot_data_of(path: Path) -> dict:
    found = re.search(r'id="report-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(found[1])


class TestPage:
    @pytest.mark.slow
    def test_fetches_nothing(self, report):
        page = page_of(report)
        for tag, attributes in page.tags:
            assert tag not in ("link", "iframe", "object", "embed", "base")
            if "src" in attributes:
                assert attributes["src"].startswith("data:")
            if "href" in attributes and not attributes["href"].startswith("#"):
                assert (report.parent / unquote(attributes["href"])).is_file(), attributes["href"]
        assert not re.search(r"@import|url\(", report.read_text(encoding="utf-8"))

    def test_evil_names_stay_text(self, report):
        text = report.read_text(encoding="utf-8")
        page = page_of(report)
        assert "</script><b>" not in text
        assert "<b>'5'" not in text
        assert FAR in page.text
        assert "<b>'5' & co" in page.text
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        # Data and program of the page and of its viewer, the mark of running programs, and the tables.
        assert len(scripts) == text.count("</script>") == 6

    def test_tells_neither_who_made_it_nor_where(self, report, evaluation):
        text = report.read_text(encoding="utf-8")
        for folder in {report.parent, *evaluation.parents} - {Path("/"), Path("/tmp")}:
            assert str(folder) not in text
        assert str(Path.home()) not in text

    def test_every_case_is_listed_and_linked(self, report):
        page = page_of(report)
        linked = {
            unquote(attributes["href"].removeprefix("#case="))
            for tag, attributes in page.tags
            if tag == "a" and attributes.get("href", "").startswith("#case=")
        }
        assert linked == set(CASES)
        assert [case["name"] for case in plot_data_of(report)["cases"] if case["embedded"]] == [
            case["name"] for case in plot_data_of(report)["cases"][:2]
        ]
        assert len(list((report.parent / "cases").iterdir())) == len(CASES)

    def test_worst_case_first(self, report, evaluation):
        metrics = read_metrics(evaluation)
        means = metrics[metrics["model"] == NEAR].groupby("case")["dice"].mean()
        order = [case["name"] for case in plot_data_of(report)["cases"]]
        assert means[order[0]] == means.min()
        assert list(means[order]) == sorted(means)

    def test_plots_hold_the_metrics(self, report, evaluation):
        data = plot_data_of(report)
        metrics = read_metrics(evaluation)
        row = metrics[
            (metrics["model"] == FAR)
            & (metrics["case"] == "case-3")
            & (metrics["muscle"] == "psoas_major")
            & (metrics["side"] == "left")
        ].iloc[0]
        index = [case["name"] for case in data["cases"]].index("case-3")
        (found,) = [values for values in data["values"][FAR]["Psoas major left"] if values[0] == index]
        assert found[1:] == pytest.approx([row["dice"], row["reference_ml"], row["prediction_ml"]], abs=1e-3)
        assert data["agreement"][FAR]["Psoas major left"]["bias"] is not None

    def test_figures_and_what_is_missing(self, report):
        page = page_of(report)
        pictures = [attributes for tag, attributes in page.tags if tag == "img"]
        assert [each["alt"] for each in pictures] == ["Figure 1: Dice of every model"]
        assert "Figure 5 is not drawn: torch is not installed" in page.text
        assert sorted(p.suffix for p in (report.parent / "figures").iterdir()) == [".pdf", ".png", ".svg", ".tsv"]

    def test_tables_and_their_files(self, report):
        page = page_of(report)
        assert "Table 1. Performance of the models" in page.text
        assert "paired t-tests" in page.text
        assert "Dice was tested by repeated-measures analysis of variance: model x muscle" in page.text
        assert "Not computed" in page.text
        assert (report.parent / "statistics" / "statistics.json").is_file()
        assert (report.parent / "metrics.tsv").is_file()


class TestAnswer:
    def test_by_hand(self, evaluation):
        view = view_study(evaluation)
        metrics = read_metrics(evaluation)
        means = metrics.groupby(["model", "case"])["dice"].mean().unstack("model")
        test = stats.ttest_rel(means[NEAR], means[FAR])
        first, second = answer(view).sentences
        assert f"near has the highest mean Dice of 2 models: {means[NEAR].mean():.3f} over 6 structures" in first
        assert f"SD {means[NEAR].std(ddof=1):.3f}" in first
        low, high = test.confidence_interval()
        gap = (means[NEAR] - means[FAR]).mean()
        assert f"by {gap:.3f} (95 % CI {low:.3f} to {high:.3f}" in second
        assert "more than chance explains" in second
        assert test.pvalue < 0.05

    def test_close_models_are_not_told_apart(self, evaluation, tmp_path):
        metrics = read_metrics(evaluation)
        noise = np.random.default_rng(0).normal(0, 0.02, len(metrics))
        same = metrics["model"] == FAR
        metrics.loc[same, "dice"] = metrics.loc[~same, "dice"].to_numpy() + noise[same] - noise[same].mean()
        shutil.copy(evaluation / "evaluation.json", tmp_path)
        metrics.to_csv(tmp_path / "metrics.tsv", sep="\t", index=False)
        assert "do not tell the two apart" in answer(view_study(tmp_path)).sentences[1]

    def test_training_dice_is_called_so(self, evaluation, tmp_path):
        record = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
        record["models"][NEAR] |= {"kind": "training", "folds": ["all"]}
        (tmp_path / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
        shutil.copy(evaluation / "metrics.tsv", tmp_path)
        assert any("has seen these cases" in warning for warning in answer(view_study(tmp_path)).warnings)

    def test_one_model(self, evaluation, tmp_path):
        record = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
        del record["models"][FAR]
        (tmp_path / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
        metrics = read_metrics(evaluation)
        metrics[metrics["model"] == NEAR].to_csv(tmp_path / "metrics.tsv", sep="\t", index=False)
        (only,) = answer(view_study(tmp_path)).sentences
        assert only.startswith("near reaches a mean Dice of")

    def test_volumes_that_are_all_the_same_have_no_lowest_icc(self, evaluation, tmp_path):
        metrics = read_metrics(evaluation)
        assert "Lowest volume ICC" in [fact.name for fact in answer(view_study(evaluation)).facts]
        metrics[["reference_ml", "prediction_ml"]] = 20.0
        shutil.copy(evaluation / "evaluation.json", tmp_path)
        metrics.to_csv(tmp_path / "metrics.tsv", sep="\t", index=False)
        assert "Lowest volume ICC" not in [fact.name for fact in answer(view_study(tmp_path)).facts]

    def test_undefined_dice_is_said(self, evaluation, tmp_path):
        metrics = read_metrics(evaluation)
        metrics.loc[(metrics["model"] == FAR) & (metrics["case"] == "case-2"), "dice"] = np.nan
        shutil.copy(evaluation / "evaluation.json", tmp_path)
        metrics.to_csv(tmp_path / "metrics.tsv", sep="\t", index=False)
        found = answer(view_study(tmp_path))
        assert "4 subjects" in found.sentences[0]
        assert not any("undefined" in warning for warning in found.warnings)  # not in the model shown
        shown = answer(view_study(tmp_path, model=FAR))
        assert any(f"6 Dice values of {FAR} are undefined" in warning for warning in shown.warnings)
        assert any("left out of the comparison: case-2" in warning for warning in found.warnings)


class TestMethods:
    def test_versions_and_models(self, evaluation):
        text = methods_text(view_study(evaluation))
        assert f"numpy {np.__version__}" in text
        assert f"pandas {pd.__version__}" in text
        assert "n = 5 scans of 5 subjects" in text
        assert f"{FAR}: predictions in one folder." in text

    def test_protocol_of_the_folds(self, evaluation, tmp_path):
        from dataclasses import replace

        (tmp_path / "fold_1").mkdir()
        settings = [{"key": "iterations", "value": 30000, "is_papers": True}]
        (tmp_path / "fold_1" / "protocol.json").write_text(json.dumps({"settings": settings, "device": "cpu"}))
        model = replace(view_study(evaluation).record.models[NEAR], folder=tmp_path, folds=("1",))
        rows = dict(model_settings(model))
        assert rows["fold 1.settings.iterations"] == "30000"
        assert rows["fold 1.device"] == "cpu"


@pytest.mark.usefixtures("_quick_figures")
class TestCommand:
    def run(self, evaluation, output, *more) -> Page:
        assert main(["report", "-e", str(evaluation), "-o", str(output), "-np", "1", *map(str, more)]) == 0
        return page_of(output / "report.html")

    @pytest.mark.slow
    def test_model_case_embed_and_correction(self, evaluation, tmp_path):
        page = self.run(evaluation, tmp_path / "r", "--model", FAR, "--embed", "1", "--correction", "holm")
        assert f"Shown in detail below, as asked for: {FAR}." in page.text
        assert f"The 1 worst case of {FAR} is part of this page; 4 more" in page.text
        assert "corrected by Holm's method" in page.text
        again = self.run(evaluation, tmp_path / "r")  # an earlier report gives way
        assert "Shown in detail below" not in again.text

    @pytest.mark.slow
    def test_case_and_levels_reach_the_slices(self, evaluation, tmp_path, monkeypatch):
        monkeypatch.setattr("paraspinal_nnunet.evaluation.figures.run.FIGURES", {3: FIGURES[3]})
        levels = tmp_path / "levels.csv"
        levels.write_text("case,level,slice\ncase-4,L2,3\n", encoding="utf-8")
        page = self.run(evaluation, tmp_path / "r", "--case", "case-4", "--levels", levels)
        assert "of case case-4" in page.text
        assert "at the vertebral levels L2" in page.text

    @pytest.mark.slow
    def test_statistics_folder(self, evaluation, tmp_path):
        study = study_statistics(load_study(evaluation), Options(mixed_models=False))
        write_statistics(study, tmp_path / "statistics")
        page = self.run(evaluation, tmp_path / "r", "-s", tmp_path / "statistics")
        assert "linear mixed model: switched off" in page.text
        own = self.run(evaluation, tmp_path / "own")
        assert "switched off" not in own.text
        table = re.compile(r"Dice: best arm minus another arm.*?Predicted against", re.DOTALL)
        assert table.search(page.text)[0] == table.search(own.text)[0]
        assert (tmp_path / "r" / "statistics" / "post_hoc.tsv").is_file()

    def test_statistics_of_another_evaluation(self, evaluation, tmp_path):
        write_statistics(study_statistics(load_study(evaluation), Options(mixed_models=False)), tmp_path)
        path = tmp_path / "statistics.json"
        content = json.loads(path.read_text(encoding="utf-8")) | {"models": {"other": ""}}
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(InputError, match="models other and 5 subjects there"):
            write_report(evaluation, tmp_path / "r", statistics=tmp_path)

    def test_statistics_of_masks_that_were_evaluated_anew(self, evaluation, tmp_path):
        """Of the same models and subjects, so that only the numbers tell."""
        folder = tmp_path / "evaluation"
        folder.mkdir()
        for name in ("metrics.tsv", "evaluation.json"):
            shutil.copy(evaluation / name, folder)
        write_statistics(study_statistics(load_study(folder), Options(mixed_models=False)), tmp_path / "statistics")
        metrics = read_metrics(folder)
        metrics["dice"] -= 0.01
        metrics.to_csv(folder / "metrics.tsv", sep="\t", index=False)
        with pytest.raises(InputError, match="of the same models and subjects; run paraspinal statistics again"):
            write_report(folder, tmp_path / "r", statistics=tmp_path / "statistics")

    @pytest.mark.slow
    def test_without_images(self, evaluation_without_images, tmp_path):
        page = self.run(evaluation_without_images, tmp_path / "r")
        assert "No images are known to this evaluation" in page.text
        assert not (tmp_path / "r" / "cases").exists()

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--model", "middle"], "model middle is not in"),
            (["--case", "case-9"], "case case-9 is not among"),
            (["--levels", "none.csv"], "none.csv does not exist"),
            (["-s", "nowhere"], "run paraspinal statistics first"),
        ],
    )
    def test_wrong_arguments_write_nothing(self, evaluation, tmp_path, capsys, more, message):
        assert main(["report", "-e", str(evaluation), "-o", str(tmp_path / "r"), *more]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "r").exists()

    def test_output_that_holds_something_else(self, evaluation, tmp_path):
        (tmp_path / "mine.txt").write_text("precious")
        with pytest.raises(InputError, match=r"holds files but no report.html"):
            write_report(evaluation, tmp_path)
        with pytest.raises(InputError, match="is the evaluation itself"):
            write_report(evaluation, evaluation)


def browse(page: Path, hash_text: str, tmp_path: Path, *, budget_ms: int = 8000) -> tuple[str, str]:
    """The page's DOM after its scripts have run, and what the browser said."""
    command = [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
        f"--virtual-time-budget={budget_ms}", "--dump-dom", f"{page.as_uri()}{hash_text}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


CLICK = """
window.addEventListener("load", function () {
  const dot = document.querySelector("#plot-agreement .dot[data-case='1']");
  dot.dispatchEvent(new PointerEvent("pointerenter"));
  const tip = document.getElementById("tip");
  document.body.setAttribute("data-tip", tip.hidden ? "" : tip.textContent);
  document.body.setAttribute("data-on", document.querySelectorAll(".dot.on").length);
  dot.dispatchEvent(new MouseEvent("click", { bubbles: true }));
});
"""


@pytest.mark.slow
class TestBrowser:
    def test_plots_are_drawn_and_a_click_shows_the_case(self, report, tmp_path):
        clicked = report.with_name("clicked.html")
        clicked.write_text(with_program(report.read_text(encoding="utf-8"), CLICK), encoding="utf-8")
        dom, said = browse(clicked, "", tmp_path)
        clicked.unlink()
        assert "CONSOLE" not in said
        dots = len(re.findall(r'class="dot', dom))
        assert dots == 2 * 5 + 5 + 5  # Dice of two models, both volume plots
        second = plot_data_of(report)["cases"][1]["name"]
        body = dict(Page(dom).tags)["body"]
        assert body["data-tip"].startswith(f"{second}\nreference ")
        assert body["data-on"] == "4"  # the same case in all plots
        stage = next(a for _, a in Page(dom).tags if (a.get("class") or "") == "pv-stage")
        assert stage["aria-label"] == f"axial slices of {second}"

    def test_address_opens_a_case_from_its_own_file(self, report, tmp_path):
        last = plot_data_of(report)["cases"][-1]
        dom, said = browse(report, f"#case={last['name']}", tmp_path)
        assert "CONSOLE" not in said
        page = Page(dom)
        assert f"Shown: {last['name']}" in page.text
        frame = next(a for tag, a in page.tags if tag == "iframe")
        assert (frame["src"], frame["title"]) == (last["file"], last["name"])

    def test_unknown_case(self, report, tmp_path):
        dom, said = browse(report, "#case=%3Cb%3Enobody", tmp_path)
        assert "CONSOLE" not in said
        assert "There is no case <b>nobody in this evaluation." in Page(dom).text

    def test_case_page(self, report, tmp_path):
        dom, said = browse(next(iter(sorted((report.parent / "cases").iterdir()))), "", tmp_path)
        assert "CONSOLE" not in said
        assert "axial slices of" in dom


@pytest.mark.slow
def test_all_five_figures(evaluation, tmp_path):
    pytest.importorskip("monai")
    pytest.importorskip("skimage")
    page = page_of(write_report(evaluation, tmp_path / "r"))
    pictures = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert [alt.partition(":")[0] for alt in pictures] == [f"Figure {n}" for n in range(1, 6)]
    assert len(list((tmp_path / "r" / "figures").iterdir())) == 20
