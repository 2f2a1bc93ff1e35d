"""Pages under real keys, wheels and fingers, in windows of any width, in a real browser."""

import csv
import io
import time

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fcntl", reason="the browser is driven through pipes, which Windows names otherwise")

from helpers.browser import Browser

from paraspinal_nnunet.html import CaseSummary, PageCase, batch_pages, case_page
from paraspinal_nnunet.image_io.nifti import Volume

pytestmark = pytest.mark.slow

SHAPE, AFFINE = (64, 48, 8), np.diag([2.0, 2.0, 5.0, 1.0])
LEVELS = {4: "L4", 5: "L3"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    labels = np.zeros(SHAPE, np.uint8)
    labels[40:50, 8:24, 1:7] = 1
    table = pd.DataFrame([
        {"muscle": "multifidus", "side": side, "voxels": voxels, "volume_ml": volume, "csa_mean_mm2": 320.0,
         "csa_max_mm2": 1320.0, "length_mm": 30.0, "csa_max_slice": 3, "intensity_mean": 221.0}
        for side, voxels, volume in (("right", 960, 19.2), ("left", 0, 0.0))
    ])  # fmt: skip
    asymmetry = [{"muscle": "=cmd|x", "measure": "volume_ml", "method": "", "difference_percent": -9.01}]
    case = PageCase(
        "hands", Volume(np.full(SHAPE, 200, np.int16), AFFINE), Volume(labels, AFFINE), flags=[], levels=LEVELS,
        measures={"measures": table, "asymmetry": pd.DataFrame(asymmetry)},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("hands") / "case.html"
    path.write_text(case_page(case), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, page):
    browser.send("Emulation.clearDeviceMetricsOverride")
    browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    browser.open(page)
    browser.wait("document.querySelector('.pv-stage').dataset.drawn === '4'")
    return browser


def at_slice(browser: Browser, number: int) -> None:
    browser.wait(f"document.querySelector('.pv-stage').dataset.drawn === '{number}'")


def test_wheel_keys_and_finger_move_through_the_slices(opened):
    opened.wheel(".pv-stage", -120)
    at_slice(opened, 5)
    assert opened.value("document.querySelector('.pv-place').textContent") == "L3, slice 5 of 8, z = 20 mm"
    opened.value("document.querySelector('.pv-stage').focus()")
    for key, number in (("ArrowUp", 6), ("ArrowDown", 5), ("ArrowLeft", 4), ("ArrowRight", 5), ("End", 8), ("Home", 1)):
        opened.key(key)
        at_slice(opened, number)
    opened.swipe(".pv-stage", 72)  # 24 pixels are a slice
    at_slice(opened, 4)
    opened.swipe(".pv-stage", -48)
    at_slice(opened, 2)


@pytest.mark.parametrize("width", [360, 768, 1280, 2000])
def test_no_page_is_wider_than_its_window(opened, width):
    opened.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    opened.wait(f"innerWidth === {width}")
    assert opened.value("document.documentElement.scrollWidth") <= width
    cut = (
        "Array.from(document.querySelectorAll('table')).filter(function (t) { const w = t.closest('.wide');"
        " return !w || (t.scrollWidth > w.clientWidth && getComputedStyle(w).overflowX !== 'auto'); }).length"
    )
    assert opened.value(cut) == 0


def test_follows_the_systems_dark_mode(opened):
    def grey(colour):
        channels = f"getComputedStyle(document.body).{colour}.match(/\\d+/g).map(Number)"
        return f"{channels}.reduce(function (a, b) {{ return a + b; }})"

    assert opened.value(grey("backgroundColor")) > 700 > opened.value(grey("color"))
    opened.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert opened.value(grey("backgroundColor")) < 100 < 600 < opened.value(grey("color"))


def test_a_table_is_saved_as_it_is_shown(opened):
    def saved(name):
        file = opened.downloads / name
        for _ in range(200):
            if file.is_file() and file.stat().st_size:
                return list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
            time.sleep(0.05)
        raise AssertionError(f"{name} was not saved")

    opened.click("#measures table button.download")
    rows = saved("size.csv")
    assert rows[0][:3] == ["Muscle", "Side", "Volume ml"]
    assert rows[1][:3] == ["Multifidus", "right", "19.2"]
    assert rows[2][:3] == ["Multifidus", "left", "missing"]
    opened.click("#measures .wide:last-child button.download")
    assert saved("asymmetry_right_minus_left.csv")[1] == ["'=cmd|x", "-9.0"]  # text is escaped, numbers stay numbers


def test_a_case_of_another_page_is_found(opened, tmp_path):
    for name, text in batch_pages([CaseSummary(f"sub-{n:02d}", review_order=-n) for n in range(25)], most_rows=10):
        (tmp_path / name).write_text(text, encoding="utf-8")
    opened.open(tmp_path / "index.html")
    opened.click("#find")
    opened.send("Input.insertText", text="sub-17")
    opened.wait("document.querySelectorAll('#elsewhere a').length === 1")
    opened.click("#elsewhere a")
    opened.wait("location.pathname.endsWith('index_2.html') && document.readyState === 'complete'")
    shown = "Array.from(document.querySelectorAll('tr[data-case]')).filter(function (r) { return !r.hidden; })"
    assert opened.value(f"{shown}.map(function (r) {{ return r.dataset.case; }})") == ["sub-17"]
