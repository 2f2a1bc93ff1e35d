"""The five figures: their numbers by hand, their files, their colours, and which way the pictures face."""

import gc
import itertools
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.errors import InputError, SetupError, StatisticsError
from paraspinal_nnunet.evaluation.case_maps import read_case
from paraspinal_nnunet.evaluation.comparison.view import typical_case, view_study, worst_first
from paraspinal_nnunet.evaluation.figures.agreement import agreement_table, draw_agreement
from paraspinal_nnunet.evaluation.figures.bars import dice_table, draw_bars, stars
from paraspinal_nnunet.evaluation.figures.drawing import Drawing, figure_style, get_matplotlib, model_colours
from paraspinal_nnunet.evaluation.figures.network import NetworkDrawing
from paraspinal_nnunet.evaluation.figures.run import FIGURES, write_figures
from paraspinal_nnunet.evaluation.figures.slices import ShownSlice, choose_slices, draw_slices
from paraspinal_nnunet.evaluation.figures.surfaces import CAMERAS, draw_surfaces, surface_of
from paraspinal_nnunet.evaluation.record import read_metrics
from paraspinal_nnunet.image_io.level_table import read_levels
from paraspinal_nnunet.protocol.paper import PAPER

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

NEAR, FAR = "near", "</script><b>"
STRUCTURES = [
    *("Multifidus left", "Multifidus right", "Erector spinae left", "Erector spinae right"),
    *("Psoas major left", "Psoas major right"),
]


@pytest.fixture(scope="module")
def view(evaluation):
    return view_study(evaluation)


class TestView:
    def test_best_model_and_order(self, view):
        assert (view.best, view.model) == (NEAR, NEAR)
        assert view.models == (NEAR, FAR)
        assert list(view.labels) == STRUCTURES

    def test_chosen_model_and_case(self, evaluation):
        assert view_study(evaluation, model=FAR).model == FAR
        assert view_study(evaluation).showing("case-4").case == "case-4"
        with pytest.raises(InputError, match="model middle is not in"):
            view_study(evaluation, model="middle")
        with pytest.raises(InputError, match="case case-9 is not among"):
            view_study(evaluation).showing("case-9")

    def test_typical_and_worst_case(self):
        values = {"a": 0.9, "b": 0.5, "c": 0.7, "d": np.nan, "e": 0.8}
        metrics = pd.DataFrame({"model": "m", "case": list(values), "dice": list(values.values())})
        assert typical_case(metrics, "m") == "c"  # the median of four is 0.75: c and e are equally near
        assert list(worst_first(metrics, "m").index) == ["d", "b", "c", "e", "a"]
        with pytest.raises(StatisticsError, match="no case"):
            typical_case(metrics.assign(dice=np.nan), "m")


class TestBars:
    @pytest.mark.parametrize(
        ("p", "mark"),
        [(0.0, "**"), (0.001, "**"), (0.00101, "*"), (0.05, "*"), (0.0501, ""), (1.0, ""), (float("nan"), "")],
    )
    def test_stars_at_the_boundaries(self, p, mark):
        assert stars(p) == mark

    def test_numbers_are_the_metrics(self, view, evaluation):
        table = dice_table(view)
        metrics = read_metrics(evaluation)
        assert list(dict.fromkeys(table["structure"])) == STRUCTURES
        for row in table.itertuples():
            muscle, side = row.structure.lower().replace("erector spinae", "erector_spinae").rsplit(" ", 1)
            rows = metrics[(metrics["muscle"] == muscle.replace(" ", "_")) & (metrics["side"] == side)]
            by_model = {model: part["dice"].to_numpy() for model, part in rows.groupby("model")}
            own = by_model[row.model]
            assert (row.n, row.mean, row.sd) == pytest.approx((5, own.sum() / 5, np.std(own, ddof=1)))
            if row.model == FAR:
                expected = stats.ttest_rel(by_model[NEAR], own).pvalue
                assert row.p == pytest.approx(expected)
                assert row.stars == stars(expected)
            else:
                assert np.isnan(row.p)
                assert row.stars == ""

    def test_correction_is_said_and_used(self, view):
        holm = dice_table(view, correction="holm")
        assert list(holm["stars"]) == [stars(p) for p in holm["p_holm"]]
        assert holm["p_holm"].sum() > holm["p"].sum()
        assert "uncorrected" in draw_bars(view).caption
        assert "Holm" in draw_bars(view, correction="holm").caption

    def test_bars_and_marks_are_drawn(self, view):
        axes = draw_bars(view).figure.axes[0]
        heights = sorted(bar.get_y() + bar.get_height() for bar in axes.patches)
        assert heights == pytest.approx(sorted(dice_table(view)["mean"]))
        assert sum(text.get_text() in ("*", "**") for text in axes.texts) == (dice_table(view)["stars"] != "").sum()

    def test_every_subject_is_a_dot_beside_the_mean_with_its_interval(self, view, evaluation):
        dots = draw_bars(view).figure.axes[1]
        scattered = [c for c in dots.collections if len(c.get_offsets()) == 5]  # subjects
        assert len(scattered) == 2 * 6  # models, muscles
        drawn = sorted(float(y) for c in scattered for y in c.get_offsets()[:, 1])
        assert drawn == pytest.approx(sorted(read_metrics(evaluation)["dice"]))
        row = dice_table(view).iloc[0]
        half = stats.t.ppf(0.975, 4) * row["sd"] / 5**0.5
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((row["mean"] - half, row["mean"] + half))


class TestAgreement:
    def test_both_sides_of_a_muscle_have_the_same_axes(self, view):
        panels = draw_agreement(view).figure.axes
        titled = {axes.get_title(): n for n, axes in enumerate(panels) if axes.get_title()}
        assert set(titled) == set(STRUCTURES)
        for muscle in ("Multifidus", "Erector spinae", "Psoas major"):
            for below in (0, 3):  # the correlation stands a row of three panels below
                left, right = (panels[titled[f"{muscle} {side}"] + below] for side in ("left", "right"))
                assert (left.get_xlim(), left.get_ylim()) == (right.get_xlim(), right.get_ylim())
            assert left.get_xlim() == left.get_ylim()

    def test_numbers_stand_clear_of_the_points(self, view):
        panels = draw_agreement(view).figure.axes
        row = agreement_table(view).set_index("structure").loc["Multifidus left"]
        below = panels[3]
        assert not below.texts
        assert below.get_title(loc="left").startswith(f"r = {row['r']:.3f}".replace("-", "\N{MINUS SIGN}"))
        assert "-" not in "".join(text.get_text() for text in panels[0].texts)

    def test_lines_by_hand(self, view, evaluation):
        metrics = read_metrics(evaluation)
        rows = metrics[(metrics["model"] == NEAR) & (metrics["muscle"] == "psoas_major") & (metrics["side"] == "right")]
        reference, prediction = rows["reference_ml"].to_numpy(), rows["prediction_ml"].to_numpy()
        difference = prediction - reference
        row = agreement_table(view).set_index("structure").loc["Psoas major right"]
        sd = difference.std(ddof=1)
        assert row["bias"] == pytest.approx(difference.mean())
        assert (row["loa_low"], row["loa_high"]) == pytest.approx(
            (difference.mean() - 1.96 * sd, difference.mean() + 1.96 * sd)
        )
        assert row["r"] == pytest.approx(np.corrcoef(reference, prediction)[0, 1])
        slope, intercept = np.polyfit(reference, prediction, 1)
        assert (row["fit_slope"], row["fit_intercept_ml"]) == pytest.approx((slope, intercept))

    def test_points_of_the_chosen_model(self, view):
        table = draw_agreement(replace(view, model=FAR)).table
        assert set(table["model"]) == {FAR}
        assert len(table) == 6 * 5
        assert (table["difference_ml"] == table["prediction_ml"] - table["reference_ml"]).all()

    def test_two_subjects_are_too_few(self, view):
        few = replace(view.data, table=view.data.table[view.data.table["subject"].isin(["case-1", "case-2"])])
        with pytest.raises(StatisticsError, match="volumes of 2 subjects are too few"):
            agreement_table(replace(view, data=few))


class TestSlices:
    def test_spread_through_the_labelled_range(self):
        reference = np.zeros((4, 4, 14), np.uint8)
        reference[1, 1, 2:12] = 1
        # Ten labelled slices from number 3 on: parts of two slices, the upper one of each.
        assert [each.number for each in choose_slices(reference, "c")] == [12, 10, 8, 6, 4]
        with pytest.raises(InputError, match="reference is empty"):
            choose_slices(np.zeros((4, 4, 4), np.uint8), "c")

    def test_levels(self, tmp_path):
        path = tmp_path / "levels.tsv"
        path.write_text("case\tlevel\tslice\nc\tL5\t2\nc\tL1\t9\nd\tL1\t40\n", encoding="utf-8")
        levels = read_levels(path)
        reference = np.ones((4, 4, 10), np.uint8)
        assert choose_slices(reference, "c", levels) == [ShownSlice("L1", 9), ShownSlice("L5", 2)]
        with pytest.raises(InputError, match="said to be slice 40 of 10"):
            choose_slices(reference, "d", levels)
        with pytest.raises(InputError, match="for case e"):
            choose_slices(reference, "e", levels)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("case,level\nc,L1\n", "needed are case, level, slice"),
            ("case,level,slice\nc,L1,0\n", "slice '0' is no number"),
            ("case,level,slice\nc,L1,1.5\n", "slice '1.5' is no number"),
            ("case,level,slice\nc,L1,1\nc,L1,2\n", "level L1 twice"),
        ],
    )
    def test_wrong_levels(self, tmp_path, text, message):
        (tmp_path / "levels.csv").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_levels(tmp_path / "levels.csv")
        with pytest.raises(InputError, match="does not exist"):
            read_levels(tmp_path / "none.csv")

    def test_areas_and_caption(self, view, evaluation):
        shown = view.showing("case-1")
        drawing = draw_slices(shown)
        labels = np.asarray(nibabel.load(evaluation.parent / "labelsTr" / "case-1.nii.gz").dataobj)
        row = drawing.table[drawing.table["structure"] == "Psoas major left"].iloc[0]
        assert row["reference_mm2"] == (labels[..., row["slice"] - 1] == 6).sum() * 9
        assert 0 < row["slice_dice"] < 1
        assert "stand in for the vertebral levels" in drawing.caption
        levels = pd.DataFrame({"case": ["case-1"], "level": ["L3"], "slice": [4]})
        given = draw_slices(shown, levels=levels)
        assert "at the vertebral levels L3" in given.caption
        assert set(given.table["level"]) == {"L3"}

    def test_outlines_leave_the_inside_of_the_muscles_as_it_is(self, view):
        """Of the labelled pixels few are coloured: those of a line around each muscle."""
        pictures = [axes.images[0].get_array() for axes in draw_slices(view).figure.axes if axes.images]
        coloured = [float((np.ptp(np.asarray(p)[..., :3].astype(int), axis=2) > 30).mean()) for p in pictures]
        assert 0 < max(coloured) < 0.08

    def test_without_image(self, evaluation_without_images):
        assert "No image of this case is known" in draw_slices(view_study(evaluation_without_images)).caption

    def test_maps_survive_the_reading_of_other_files(self, view, evaluation):
        read = [read_case(view.record, case, [NEAR, FAR]) for case in view.record.models[NEAR].cases]
        gc.collect()
        for maps in read:
            for name, folder in ((NEAR, "model0"), (FAR, "model1")):
                stored = nibabel.load(evaluation.parent / folder / f"{maps.case}.nii.gz")
                assert (maps.predictions[name] == np.asarray(stored.dataobj)[::-1, ::-1]).all()


class TestSurfaces:
    def test_ball_on_flat_voxels(self):
        spacing = (1.0, 1.5, 4.0)
        x, y, z = np.ogrid[:60, :44, :20]
        ball = (x - 30) ** 2 + (1.5 * (y - 22)) ** 2 + (4 * (z - 10)) ** 2 <= 20**2
        surface = surface_of(ball, spacing, smoothing_mm=0)
        assert surface.volume_ml == pytest.approx(4 / 3 * np.pi * 8, rel=0.03)  # 33.5 ml
        assert surface_of(ball, spacing).area_cm2 == pytest.approx(4 * np.pi * 4, rel=0.06)  # 50.3 cm2, steps smoothed
        centre = (surface.vertices.min(axis=0) + surface.vertices.max(axis=0)) / 2
        assert centre == pytest.approx((30, 33, 40), abs=1.0)

    def test_mask_at_the_edge_is_closed(self):
        box = np.zeros((20, 20, 10), bool)
        box[:10, :10, :5] = True
        assert surface_of(box, (2.0, 2.0, 4.0), smoothing_mm=0).volume_ml == pytest.approx(
            20 * 20 * 20 / 1000, rel=0.05
        )

    def test_empty(self):
        assert surface_of(np.zeros((4, 4, 4), bool), (1.0, 1.0, 1.0)) is None

    def test_cameras_face_the_patient(self):
        to_viewer = {camera.name: camera.axes[2].tolist() for camera in CAMERAS}
        assert to_viewer == {"from the front": [0, 1, 0], "from the right": [1, 0, 0], "from behind": [0, -1, 0]}
        direction = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
        for camera in CAMERAS:
            right, up = camera.axes[:2]
            assert [tuple(v) for v in (-right, right, up, -up)] == [direction[letter] for letter in camera.letters]

    def test_volumes_beside_the_masks(self, view):
        table = draw_surfaces(view).table
        assert set(table["labels"]) == {"Reference", NEAR}
        metrics = view.metrics[(view.metrics["model"] == NEAR) & (view.metrics["case"] == view.case)]
        expected = metrics.set_index("structure")["reference_ml"]
        for row in table[table["labels"] == "Reference"].itertuples():
            assert row.mask_ml == pytest.approx(expected[row.structure])
            assert row.surface_ml == pytest.approx(row.mask_ml, rel=0.2)


class TestNetwork:
    def test_the_built_networks(self):
        pytest.importorskip("monai")
        from helpers.figure_5 import network_table, paper_networks

        from paraspinal_nnunet.network import build_network

        networks = paper_networks()
        table = network_table(networks)
        assert list(networks) == ["2D", "3D", "2D, deeper"]
        for title, channels in (
            ("2D", PAPER.network.channels),
            ("3D", PAPER.network.channels),
            ("2D, deeper", (*PAPER.network.channels, 512)),
        ):
            down = [stage for stage in networks[title] if stage.path != "decoder"]
            assert tuple(stage.filters for stage in down) == channels
            assert [len(stage.main) for stage in down] == [PAPER.network.num_res_units] * len(channels)
            assert all(stage.residual is not None for stage in down)
        for title, dims in (("2D", 2), ("3D", 3)):
            built = build_network(spatial_dims=dims, in_channels=1, out_channels=7)
            listed = table[table["network"] == title]
            assert listed["parameters"].sum() == sum(p.numel() for p in built.parameters())
            layers = {n for n, m in built.named_modules() if hasattr(m, "kernel_size") and hasattr(m, "weight")}
            assert set(listed["module"]) == layers
        assert networks["2D"][0].size == (256, 256)
        assert networks["3D"][4].size == (4, 32, 32)
        assert networks["2D"][-1].size == (256, 256)
        assert [stage.skip for stage in networks["2D"] if stage.path == "decoder"] == ["cat"] * 4

    def test_the_shipped_numbers_are_those_of_the_built_networks(self, tmp_path):
        pytest.importorskip("monai")
        from helpers.figure_5 import draw_network, network_table, paper_networks

        drawing = NetworkDrawing()
        files = drawing.save(tmp_path)
        network_table(paper_networks()).to_csv(tmp_path / "made.tsv", sep="\t", index=False)
        assert files[-1].read_bytes() == (tmp_path / "made.tsv").read_bytes()
        with figure_style():
            made = draw_network()
        assert (drawing.title, drawing.caption, tuple(p.name for p in files)) == (made.title, made.caption, made.files)

    def test_other_networks_are_refused(self):
        torch = pytest.importorskip("torch")
        from helpers.network_outline import outline

        with pytest.raises(InputError, match="no residual U-Net"):
            outline(torch.nn.Linear(1, 1), (8, 8))


class TestFiles:
    def test_what_a_user_or_a_folder_sets_for_matplotlib_changes_nothing(self):
        """It reads a file 'matplotlibrc' in the folder in which a command is called, a stranger's perhaps."""
        matplotlib = get_matplotlib()
        with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red"}):
            with figure_style():
                assert not matplotlib.rcParams["text.usetex"]
                assert matplotlib.rcParams["axes.facecolor"] == "white"
            assert matplotlib.rcParams["text.usetex"]

    def test_names_of_models_are_drawn_as_they_are(self, view, tmp_path):
        odd = {NEAR: "_near", FAR: r"$\nothing$"}
        table = view.data.table
        renamed = table.assign(model=table["model"].cat.rename_categories(odd))
        data = replace(view.data, table=renamed)
        changed = replace(view, data=data, best=odd[NEAR], model=odd[NEAR])
        with figure_style():
            drawing = draw_bars(changed)
            drawing.save(tmp_path)
        (legend,) = drawing.figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["_near (best)", r"$\nothing$"]

    def test_every_format_is_whole(self, tmp_path):
        with figure_style():
            figure = get_matplotlib().figure.Figure(figsize=(2, 1))
            figure.add_subplot().plot([0, 1], [0, 1])
            table = pd.DataFrame({"x": [0.1, 1 / 3]})
            png, svg, pdf, numbers = Drawing("f", "T", "C", figure, table).save(tmp_path / "new")
        with Image.open(png) as picture:
            assert picture.size == (600, 300)  # 300 dots per inch
            assert np.asarray(picture.convert("L")).std() > 0
        assert ET.parse(svg).getroot().tag.endswith("svg")
        assert pdf.read_bytes().startswith(b"%PDF")
        assert pdf.read_bytes().rstrip().endswith(b"%%EOF")
        pd.testing.assert_frame_equal(pd.read_csv(numbers, sep="\t"), table)
        assert sorted(p.name for p in png.parent.iterdir()) == ["f.pdf", "f.png", "f.svg", "f.tsv"]

    def test_a_problem_leaves_one_figure_out(self, view, tmp_path, monkeypatch):
        def fail(*_):
            raise SetupError("torch is not installed")

        monkeypatch.setattr("paraspinal_nnunet.evaluation.figures.run.FIGURES", {1: FIGURES[1], 5: fail})
        first, second = write_figures(view, tmp_path)
        assert (first.problem, len(first.files)) == ("", 4)
        assert (second.problem, second.files) == ("torch is not installed", ())

    def test_evaluating_and_the_command_line_load_no_plotting(self):
        program = (
            "import sys, paraspinal_nnunet.cli.comparison.report; from paraspinal_nnunet.evaluation import evaluate; "
            "print([m for m in ('matplotlib', 'skimage', 'torch') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_missing_packages_name_the_extra(self, monkeypatch):
        from paraspinal_nnunet.evaluation.figures import drawing

        monkeypatch.setitem(sys.modules, "matplotlib", None)
        monkeypatch.setitem(sys.modules, "skimage.measure", None)
        for get in (drawing.get_matplotlib, drawing.get_skimage_measure):
            with pytest.raises(SetupError, match=r"paraspinal-nnunet\[report\]"):
                get()


DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
"""Linear RGB as seen without green cones. Source: Machado et al. 2009, doi:10.1109/TVCG.2009.113, severity 1."""


def cielab(rgb, *, deuteranopia: bool) -> np.ndarray:
    from skimage.color import rgb2lab

    if not deuteranopia:
        return rgb2lab(np.asarray(rgb, float))
    values = np.asarray(rgb, float)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(DEUTERANOPIA @ linear, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))


class TestColours:
    @pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
    @pytest.mark.parametrize("deuteranopia", [False, True])
    def test_models_differ_in_lightness(self, count, deuteranopia):
        to_rgb = get_matplotlib().colors.to_rgb
        lightness = [cielab(to_rgb(colour), deuteranopia=deuteranopia)[0] for colour in model_colours(count)]
        assert np.diff(lightness).min() >= 12

    @pytest.mark.parametrize("deuteranopia", [False, True])
    def test_muscles_differ(self, deuteranopia):
        seen = {s.key: cielab(np.array(s.colour) / 255, deuteranopia=deuteranopia) for s in PARASPINAL}
        for first, second in itertools.combinations(seen, 2):
            assert np.linalg.norm(seen[first] - seen[second]) > 15, (first, second)
        for muscle in ("multifidus", "erector_spinae", "psoas_major"):
            assert seen[f"{muscle}_left"][0] - seen[f"{muscle}_right"][0] > 20  # right is dark, left light, in grey too
