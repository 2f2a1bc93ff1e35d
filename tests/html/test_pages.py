"""Pages of cases and batches: what they show and in what order, nothing fetched, nothing run that came with a name."""

import base64
import hashlib
import io
import itertools
import json
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from helpers.html_pages import Page
from PIL import Image

from paraspinal_nnunet.anatomy import PARASPINAL, Muscle
from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.html import (
    CaseSummary,
    PageCase,
    PageMeta,
    batch_page,
    batch_pages,
    case_page,
    preview_png,
    summarise_case,
)
from paraspinal_nnunet.html.preview import jpeg
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS
from paraspinal_nnunet.image_io.volume import Volume

SHAPE = (64, 48, 8)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'ü"


@dataclass(frozen=True)
class SomeFlag:
    severity: str
    text: str


def labels_ras() -> np.ndarray:
    """Three muscles with both sides: right at large x; psoas in front of the others."""
    labels = np.zeros(SHAPE, np.uint8)
    for structure, (x, y) in zip(PARASPINAL, [(36, 8), (20, 8), (48, 8), (8, 8), (44, 28), (12, 28)], strict=True):
        labels[x : x + 8, y : y + 10, 1:7] = structure.label
    return labels


def image_ras() -> np.ndarray:
    return np.random.default_rng(0).integers(100, 400, SHAPE).astype(np.int16)


def tables() -> dict[str, pd.DataFrame]:
    rows = [
        {
            "muscle": s.muscle.value, "side": s.side.value, "volume_ml": 9.6 + s.label, "cohort_percentile": np.nan,
            "length_mm": 30.0, "csa_mean_mm2": 320.0, "fat_fraction_otsu": 0.1234, "lean_volume_otsu_ml": 8.0,
        }
        for s in PARASPINAL
    ]  # fmt: skip
    asymmetry = [{"muscle": "multifidus", "measure": "volume_ml", "method": "", "difference_percent": -9.01}]
    return {"measures": pd.DataFrame(rows), "asymmetry": pd.DataFrame(asymmetry), "levels": pd.DataFrame()}


def page_case(name: str = "case-1", **more) -> PageCase:
    return PageCase(name, Volume(image_ras(), AFFINE), Volume(labels_ras(), AFFINE), **more)


def hash_of(program: str) -> str:
    return base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()


@pytest.fixture(scope="module")
def page() -> Page:
    flags = [SomeFlag("info", "short stack"), SomeFlag("serious", "sides contradict the scanner")]
    meta = PageMeta("model A", "1.2.3", "2031-02-03", {"Folds": "0, 1, 2"})
    plots = "<svg viewBox='0 0 9 9'><text>area</text></svg>"
    return Page(case_page(page_case(measures=tables(), flags=flags, plots=plots, meta=meta)))


@pytest.fixture(scope="module")
def bare() -> Page:
    return Page(case_page(page_case()))


class TestCasePage:
    def test_numbers_with_units(self, page):
        assert re.search(r"Multifidus\s*right\s*10\.6\s*–\s*30\s*320", page.text)
        assert "12.3" in page.text  # fat as percent
        assert "-9.0" in page.text
        for heading in ("Volumeml", "Mean areamm²", "Fat%"):
            assert heading in page.text
        assert "By vertebral level" not in page.text
        for fact in ("model A", "1.2.3", "2031-02-03", "Folds", "not a medical device", "short stack"):
            assert fact in page.text

    def test_levels_are_shown_where_given(self):
        levels = [
            {"level": level, "muscle": "psoas_major", "side": "left", "csa_mid_mm2": area, "volume_ml": np.nan}
            for level, area in (("L3", 812.4), ("L4", 1001.6))
        ]
        text = Page(case_page(page_case(measures={"levels": pd.DataFrame(levels)}))).text
        assert "By vertebral level" in text
        assert re.search(r"L3\s*Psoas major\s*left\s*812\s*–\s*L4\s*Psoas major\s*left\s*1002", text)

    def test_worst_flag_first(self, page):
        kinds = [a["class"] for t, a in page.tags if t == "li" and a.get("class") in ("serious", "warning", "info")]
        assert kinds == ["serious", "info"]

    def test_fetches_nothing_and_runs_only_its_own_programs(self, page):
        assert page.policy.startswith("default-src 'none'; img-src data:;")
        allowed = re.findall(r"'sha256-([^']+)'", page.policy)
        assert len(page.programs) == 4  # the mark of running programs, slices, surfaces, tables
        assert sorted(map(hash_of, page.programs)) == sorted(allowed)
        for tag, attributes in page.tags:
            assert tag not in ("link", "iframe", "object", "embed", "base")
            assert attributes.get("src", "data:").startswith("data:")
            assert "href" not in attributes

    def test_montage_and_snapshots_need_no_program(self, page):
        alts = [a["alt"] for t, a in page.tags if t == "img"]
        assert sum("outlines" in alt for alt in alts) == 6  # the labelled slices
        assert [alt for alt in alts if "muscles from" in alt] == [
            f"case-1: the muscles from {side}" for side in ("the front", "behind", "the left")
        ]

    def test_same_input_same_page(self, bare):
        assert case_page(page_case()) == bare.source

    def test_patient_only_when_asked(self, page, bare):
        assert "patient" not in {a.get("class") for each in (page, bare) for _, a in each.tags}
        assert "Born" in Page(case_page(page_case(patient={"Born": "1950"}))).text

    def test_without_anything_but_a_mask(self, bare):
        ids = [a["id"] for t, a in bare.tags if t == "section" and "id" in a]
        assert ids == ["slices", "surface", "made"]

    def test_empty_mask(self):
        page = Page(case_page(PageCase("e", Volume(image_ras(), AFFINE), Volume(np.zeros(SHAPE, np.uint8), AFFINE))))
        assert "3D" not in page.text
        assert "Labelled voxels0" in page.text

    def test_two_grids(self):
        moved = Volume(labels_ras(), AFFINE + np.eye(4)[:, [3, 0, 1, 2]])
        for labels in (moved, Volume(labels_ras()[:-1], AFFINE)):
            with pytest.raises(GeometryError, match="case a: "):
                case_page(PageCase("a", Volume(image_ras(), AFFINE), labels))

    def test_evil_text_stays_text(self):
        table = tables()
        table["measures"].loc[0, "muscle"] = EVIL
        case = page_case(
            EVIL, measures=table, flags=[SomeFlag(EVIL, EVIL)], meta=PageMeta(EVIL, EVIL, EVIL, {EVIL: EVIL}),
            patient={EVIL: EVIL}, docs=f"https://example.org/{EVIL}", plots=f"<svg><script>{EVIL}</svg>",
        )  # fmt: skip
        page = Page(case_page(case))
        own = page.source.replace(case.plots.encode("ascii", "xmlcharrefreplace").decode("ascii"), "")
        assert len(own) < len(page.source)
        assert "<script>alert" not in own
        assert "<img src=x" not in own
        # What came with the drawing stands in the page, and the policy does not let it run.
        assert hash_of("alert(1)") not in page.policy

    @pytest.mark.slow
    def test_a_full_scan_stays_below_three_megabytes(self):
        shape, affine = (512, 512, 50), np.diag([0.39, 0.39, 5.0, 1.0])
        x, y = np.ogrid[:512, :512]
        labels, plane = np.zeros(shape, np.uint8), np.zeros((512, 512), np.uint8)
        for label, (cx, cy) in enumerate([(290, 150), (220, 150), (350, 150), (160, 150), (340, 300), (170, 300)], 1):
            plane[np.hypot(x - cx, y - cy) < 45] = label
        labels[..., 2:48] = plane[..., None]
        noise = np.random.default_rng(0).normal(0, 12, plane.shape)
        image = np.repeat((300 + 200 * np.sin(x / 19) * np.cos(y / 23) + noise).astype(np.int16)[..., None], 50, 2)
        page = case_page(PageCase("full", Volume(image, affine), Volume(labels, affine), measures=tables()))
        assert len(page) < 3e6


class TestBatchPage:
    def order(self, page: Page) -> list[str]:
        return [a["data-case"] for t, a in page.tags if t == "tr" and "data-case" in a]

    def test_the_most_urgent_first(self):
        cases = [
            page_case("quiet", flags=[]),
            page_case("looked", flags=[SomeFlag("warning", "w"), SomeFlag("warning", "x")]),
            page_case("bad", flags=[SomeFlag("serious", "s")]),
            page_case("told", flags=[], severity=11.0),
            CaseSummary("broken", failure="file is truncated"),
            page_case("also quiet", flags=[]),
        ]
        page = Page(batch_page(cases))
        assert self.order(page) == ["broken", "bad", "looked", "told", "also quiet", "quiet"]
        assert "6 cases: 1 without a result, 1 serious, 1 to look at, 3 without a flag." in page.text
        assert "No result: file is truncated" in page.text

    def test_notes_are_folded_away(self):
        flags = (("info", "short"), ("serious", "sides"), ("info", "cut"))
        source = batch_page([CaseSummary("a", flags=flags), CaseSummary("b", flags=()), CaseSummary("c")])
        listed, folded = re.search(r'<td class="listed">(.*?)<details>(.*?)</details>', source, re.DOTALL).groups()
        assert "sides" in listed
        assert "2 notes" in folded
        assert "short" in folded
        assert "cut" in folded
        assert source.index(">none<") < source.index(">not checked<")

    def test_summary_counts_voxels(self):
        summary = summarise_case(page_case(flags=[]), link="cases/case 1.html")
        # 8 x 10 x 6 voxels of 2 x 2 x 5 mm.
        assert summary.volumes_ml == {m: (pytest.approx(9.6), pytest.approx(9.6)) for m in list(Muscle)[:3]}
        assert Image.open(io.BytesIO(summary.thumbnail)).format == "JPEG"
        page = Page(batch_page([summary, CaseSummary("one side", volumes_ml={Muscle.MULTIFIDUS: (None, 3.4)})]))
        assert "10 / 10" in page.text
        assert "missing / 3" in page.text
        assert {a["href"] for t, a in page.tags if t == "a"} == {"cases/case%201.html"}

    def test_whole_cases_bring_their_viewer(self):
        page = Page(batch_page([page_case("a/b 1"), page_case("c")]))
        assert {a["href"] for t, a in page.tags if t == "a"} == {"#case=a%2Fb%201", "#case=c"}
        assert len(page.programs) == 4  # the mark of running programs, the list, slices, tables
        assert sorted(map(hash_of, page.programs)) == sorted(re.findall(r"'sha256-([^']+)'", page.policy))

    def test_evil_text_stays_text(self):
        summary = CaseSummary(EVIL, flags=((EVIL, EVIL),), link=EVIL, failure=EVIL)
        source = batch_page([summary], title=EVIL, meta=PageMeta(EVIL, EVIL, EVIL))
        assert "<script>alert" not in source
        assert "<img src=x" not in source

    def test_refusals(self):
        with pytest.raises(InputError, match="at least one case"):
            batch_page([])
        with pytest.raises(InputError, match="two cases are called a"):
            batch_page([CaseSummary("a"), CaseSummary("a")])


class TestPreview:
    def test_size_letters_and_colours(self):
        png = Image.open(io.BytesIO(preview_png(Volume(image_ras(), AFFINE), Volume(labels_ras(), AFFINE), title="a")))
        assert png.format == "PNG"
        pixels = np.asarray(png.convert("RGB")).astype(int)
        for structure in PARASPINAL:
            assert (np.abs(pixels - LABEL_COLOURS[structure.label]).sum(axis=-1) < 40).sum() > 300, structure.key

    def test_stored_orientation_does_not_matter(self):
        straight = preview_png(Volume(image_ras(), AFFINE), Volume(labels_ras(), AFFINE))
        turned = np.diag([-2.0, -2.0, 5.0, 1.0])
        turned[:2, 3] = [2 * 63, 2 * 47]
        lps = preview_png(Volume(image_ras()[::-1, ::-1], turned), Volume(labels_ras()[::-1, ::-1], turned))
        assert straight == lps

    def test_right_is_on_the_left(self):
        pixels = np.asarray(Image.open(io.BytesIO(
            preview_png(Volume(np.ones(SHAPE, np.int16), AFFINE), Volume(labels_ras(), AFFINE), slices=1)
        )).convert("RGB")).astype(int)[:300]  # fmt: skip
        places = [np.nonzero(np.abs(pixels - LABEL_COLOURS[n]).sum(axis=-1) < 40)[1].mean() for n in (3, 1, 2, 4)]
        assert places == sorted(places)


def test_pictures_full_of_detail_can_be_packed():
    """Pillow's optimised JPEG files fail on them with 'broken data stream'."""
    noise = np.random.default_rng(0).integers(0, 256, (260, 260, 3), dtype=np.uint8)
    assert Image.open(io.BytesIO(jpeg(Image.fromarray(noise)))).size == (260, 260)


class TestMissing:
    """A muscle that was looked for and not found is named, in red, wherever muscles are listed."""

    def case(self) -> PageCase:
        labels = labels_ras()
        labels[labels == 6] = 0
        table = tables()["measures"].assign(voxels=lambda rows: [0 if n == 5 else 480 for n in rows.index])
        table.loc[5, ["volume_ml", "length_mm"]] = 0.0
        return PageCase(
            "gap", Volume(image_ras(), AFFINE), Volume(labels, AFFINE), measures={"measures": table}, flags=[]
        )

    def test_on_its_page(self):
        page = Page(case_page(self.case()))
        assert re.search(r"Psoas major\s*left\s*missing\s*–", page.text)
        assert "Psoas major left: missing" in page.text  # the montage's legend
        assert '"missing":["Psoas major left"]' in page.source  # the viewer's
        marked = [a for t, a in page.tags if t in ("td", "li") and a.get("class") == "missing"]
        assert len(marked) > 2

    def test_on_the_page_of_all(self):
        summary = summarise_case(self.case())
        assert summary.volumes_ml[Muscle.PSOAS_MAJOR] == (pytest.approx(9.6), None)
        page = Page(batch_page([summary, CaseSummary("none", volumes_ml={Muscle.PSOAS_MAJOR: (None, None)})]))
        assert "10 / missing" in page.text
        assert "missing / missing" in page.text
        assert sum(a.get("class") == "missing" for t, a in page.tags if t == "span") == 3

    def test_without_measures_the_other_side_tells(self):
        labels = labels_ras()
        labels[labels == 1] = 0
        case = PageCase("gap", Volume(image_ras(), AFFINE), Volume(labels, AFFINE))
        assert [structure.key for structure in case.missing] == ["multifidus_right"]
        assert page_case().missing == ()


class TestFlags:
    def test_three_are_shown_and_the_rest_is_folded(self):
        flags = [
            SomeFlag("info", "last"),
            *(SomeFlag("warning", f"look {n}") for n in range(3)),
            SomeFlag("serious", "bad"),
        ]
        source = case_page(page_case(flags=flags))
        shown, folded = re.search(
            r'<section id="flags">(.*?)<details class="more">(.*?)</details>', source, re.S
        ).groups()
        assert re.findall(r"<span>(.*?)</span>", shown) == ["bad", "look 0", "look 1"]
        assert re.findall(r"<span>(.*?)</span>", folded) == ["look 2", "last"]
        assert "2 more" in folded
        assert "<details" not in case_page(page_case(flags=flags[:3]))

    def test_on_the_page_of_all(self):
        flags = (*[("serious", f"bad {n}") for n in range(5)], ("info", "short"))
        source = batch_page([CaseSummary("a", flags=flags)])
        listed, folded = re.search(r'<td class="listed">(.*?)<details>(.*?)</details>', source, re.S).groups()
        assert [f"bad {n}" in listed for n in range(5)] == [True, True, True, False, False]
        assert "3 more" in folded


def test_a_percentile_needs_a_stack_that_covers_the_muscle():
    table = tables()["measures"].assign(cohort_percentile=37.0, cohort_note=["", "the stack is short", *[None] * 4])
    text = Page(case_page(page_case(measures={"measures": table}))).text
    assert re.search(r"Multifidus\s*right\s*10\.6\s*37\s*30", text)
    assert re.search(r"Multifidus\s*left\s*11\.6\s*–\s*30", text)


class TestManyCases:
    def pages(self, count: int, **more) -> dict[str, Page]:
        cases = [CaseSummary(f"sub-{n:03d}", review_order=-n, **more) for n in range(count)]
        return {name: Page(text) for name, text in batch_pages(cases, most_rows=10)}

    def test_pages_by_parts_in_one_order(self):
        pages = self.pages(25)
        assert list(pages) == ["index.html", "index_2.html", "index_3.html"]
        shown = [[a["data-case"] for t, a in page.tags if t == "tr" and "data-case" in a] for page in pages.values()]
        assert list(map(len, shown)) == [10, 10, 5]
        assert list(itertools.chain(*shown)) == [f"sub-{n:03d}" for n in range(25)]
        for name, page in pages.items():
            assert "25 cases: 25 without a flag." in page.text
            assert {a["href"] for t, a in page.tags if t == "a"} == set(pages) - {name}
        every = json.loads(re.search(r'id="every-case">(.*?)</script>', pages["index.html"].source)[1])
        assert every == {"rows": 10, "names": list(itertools.chain(*shown))}
        assert 'id="every-case"' not in pages["index_2.html"].source

    def test_a_small_batch_is_one_page(self):
        assert list(self.pages(10)) == ["index.html"]
        assert not [a for t, a in self.pages(10)["index.html"].tags if t == "nav"]

    def test_ten_thousand_stay_below_three_megabytes(self):
        """With pictures as large as a scan's and two flags each, as 2,000 cases made a page of 39 MB."""
        flags = (("serious", "Multifidus right is 12 ml, 4.2 SD from the mean"), ("warning", "sides differ by 41 %"))
        volumes = dict.fromkeys(list(Muscle)[:3], (99.0, 98.0))
        cases = [CaseSummary(f"sub-{n:05d}_ses-01_T2w", bytes(20_000), volumes, flags) for n in range(10_000)]
        name, page = next(iter(batch_pages(cases)))
        assert name == "index.html"
        assert len(page) < 3e6


def test_cases_of_one_name_are_found_among_many_at_once():
    with pytest.raises(InputError, match="two cases are called sub-7"):
        batch_page([CaseSummary(f"sub-{n % 20_000}") for n in (*range(20_000), 7)])
