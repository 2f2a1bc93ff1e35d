"""Pages in a real browser without a network: slices scroll, sides are where they belong, nothing complains."""

import html
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.html_pages import with_program
from helpers.tools import chromium
from PIL import Image

from paraspinal_nnunet.html import PageCase, batch_page, case_page
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS
from paraspinal_nnunet.image_io.volume import Volume

pytestmark = pytest.mark.slow

SHAPE, AFFINE = (64, 48, 8), np.diag([2.0, 2.0, 5.0, 1.0])

RUN = ("--virtual-time-budget=30000",)
"""Time for the page's programs, which costs only as much as they take."""

PROBE = """
window.addEventListener("load", async function () {
  const frame = function () { return new Promise(function (r) { setTimeout(r, 10); }); };
  const wait = async function (holds) {
    for (let turn = 0; turn < 600 && !holds(); turn += 1) await frame();
    if (!holds()) throw new Error("never: " + holds);
  };
  const stage = document.querySelector(".pv-stage"), view = document.querySelector(".paraspinal-surface canvas");
  const rect = function (one) { const r = one.getBoundingClientRect(); return [r.left, r.right, r.width, r.height]; };
  const input = function (key, value) {
    const slider = document.querySelector("input[data-key='" + key + "']");
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  };
  const settled = async function () { for (let turn = 0; turn < 20; turn += 1) await frame(); };
  const pixels = function (canvas, x, y, w, h) {
    const copy = document.createElement("canvas");
    copy.width = w;
    copy.height = h;
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, -x, -y);
    return context.getImageData(0, 0, w, h).data;
  };
  // Middle column and number of pixels of a colour; a shade of it where shades are asked for.
  const places = function (canvas, colour, shades) {
    const d = pixels(canvas, 0, 0, canvas.width, canvas.height);
    let sum = 0, count = 0;
    for (let at = 0; at < d.length; at += 4) {
      const k = shades ? (d[at] + d[at + 1] + d[at + 2]) / (colour[0] + colour[1] + colour[2]) : 1;
      const off = [0, 1, 2].map(function (n) { return Math.abs(d[at + n] - k * colour[n]); });
      if (k < 0.3 || k > 1.02 || Math.max.apply(null, off) > 3) continue;
      sum += at / 4 % canvas.width;
      count += 1;
    }
    return [count ? sum / count / canvas.width : null, count];
  };
  const found = {};
  try {
    await wait(function () { return stage.dataset.drawn && view.dataset.drawn; });
    found.start = stage.dataset.drawn;
    const wheel = new WheelEvent("wheel", { deltaY: -100, cancelable: true });
    stage.dispatchEvent(wheel);
    await wait(function () { return stage.dataset.drawn !== found.start; });
    found.wheel = stage.dataset.drawn;
    found.kept = wheel.defaultPrevented;
    stage.dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }));
    await wait(function () { return stage.dataset.drawn === "1"; });
    input("slice", 3);
    await wait(function () { return stage.dataset.drawn === "4"; });
    found.place = document.querySelector(".pv-place").textContent;
    input("opacity", 100);
    await settled();
    const slices = stage.querySelector("canvas");
    found.right = places(slices, RIGHT, false);
    found.left = places(slices, LEFT, false);
    stage.dispatchEvent(new KeyboardEvent("keydown", { key: "o" }));
    await settled();
    found.outlined = places(slices, RIGHT, false);
    stage.dispatchEvent(new KeyboardEvent("keydown", { key: "1" }));
    await settled();
    found.bare = places(slices, RIGHT, false);
    const grey = function () { return Array.from(pixels(slices, 5, 5, 1, 1).slice(0, 3)); };
    found.before = grey();
    input("level", 0);
    await settled();
    found.brighter = grey();
    found.marks = {};
    document.querySelectorAll(".pv-mark").forEach(function (mark) { found.marks[mark.textContent] = rect(mark); });
    found.stage = rect(stage);
    document.querySelector(".ps-bar button").click();
    await wait(function () { return view.dataset.drawn === "0,0"; });
    found.front = { right: places(view, RIGHT, true), left: places(view, LEFT, true),
      marks: JSON.parse(view.dataset.marks) };
    for (let turn = 0; turn < 18; turn += 1) {
      view.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
    }
    await wait(function () { return view.dataset.drawn === "180,0"; });
    found.behind = { right: places(view, RIGHT, true), left: places(view, LEFT, true),
      marks: JSON.parse(view.dataset.marks) };
  } catch (error) {
    found.error = String(error);
  }
  document.body.setAttribute("data-found", JSON.stringify(found));
});
"""


def labels_ras() -> np.ndarray:
    """Multifidus right at large x, left at small x, and more of the left; in slices 2 to 7 of 8."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[40:50, 8:24, 1:7] = 1
    labels[8:22, 8:24, 1:7] = 2
    return labels


def one_case(name: str = "case") -> PageCase:
    image = np.full(SHAPE, 200, np.int16)
    image[::2] = 300
    image += 10 * np.arange(SHAPE[2], dtype=np.int16)  # equal pictures would be stored once in a PDF
    return PageCase(name, Volume(image, AFFINE), Volume(labels_ras(), AFFINE), flags=[])


def browse(page: Path, tmp_path: Path, *options: str, fragment: str = "") -> tuple[str, str]:
    """What the browser gave, and what it said; nothing beyond the file can be reached."""
    command = [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--window-size=1200,1600",
        f"--user-data-dir={tmp_path / 'profile'}", *options,
        f"{page.as_uri()}{fragment}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True)
    return done.stdout, done.stderr


def probed(page: str) -> str:
    """The page with the probe."""
    right, left = (str(list(LABEL_COLOURS[label])) for label in (1, 2))
    return with_program(page, PROBE.replace("RIGHT", right).replace("LEFT", left))


def test_slices_and_surfaces(tmp_path):
    page = tmp_path / "case.html"
    page.write_text(probed(case_page(one_case())), encoding="utf-8")
    dom, said = browse(page, tmp_path, *RUN, "--dump-dom")
    assert "CONSOLE" not in said
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dom)[1]))
    assert found.get("error") is None
    assert (found["start"], found["wheel"], found["kept"]) == ("4", "5", True)
    assert found["place"] == "slice 4 of 8, z = 15 mm"

    # The patient's right on the left of the screen, in the slices' colours and in the marks; the front above.
    assert found["right"][0] < 0.5 < found["left"][0]
    assert found["right"][1] / found["left"][1] == pytest.approx(10 / 14, rel=0.06)
    assert 0 < found["outlined"][1] < 0.5 * found["right"][1]
    assert found["bare"][1] == 0
    assert sum(found["brighter"]) > sum(found["before"])
    left, right, width, _ = found["stage"]
    marks = found["marks"]
    assert left <= marks["R"][0] < marks["R"][1] < left + 0.1 * width
    assert right - 0.1 * width < marks["L"][0] < marks["L"][1] <= right

    # In space the sides change places when one walks round.
    for view, sign in (("front", 1), ("behind", -1)):
        there = found[view]
        assert sign * (there["left"][0] - there["right"][0]) > 0.2
        assert min(there["left"][1], there["right"][1]) > 500
        assert sign * (there["marks"]["L"][0] - there["marks"]["R"][0]) > 100
        assert there["marks"]["S"][1] < there["marks"]["I"][1]


def test_an_old_browser_says_so_instead_of_showing_an_empty_mask(tmp_path):
    page = tmp_path / "case.html"
    old = with_program(case_page(one_case()), "delete window.DecompressionStream;", place="</head>")
    page.write_text(old, encoding="utf-8")
    dom, said = browse(page, tmp_path, *RUN, "--dump-dom")
    assert "CONSOLE" not in said
    assert re.search(r'<div class="pv-place">This browser cannot', dom)
    assert re.search(r'<div class="ps-stage">This browser cannot', dom)


def test_without_programs_and_on_paper(tmp_path):
    page = tmp_path / "case.html"
    silent = re.sub("script-src [^;]*;", "script-src 'none';", case_page(one_case()))
    page.write_text(silent, encoding="utf-8")
    browse(page, tmp_path, *RUN, f"--screenshot={tmp_path / 'still.png'}")
    pixels = np.asarray(Image.open(tmp_path / "still.png").convert("RGB")).astype(int)
    right, left = (np.nonzero(np.abs(pixels - LABEL_COLOURS[n]).sum(axis=-1) < 40) for n in (1, 2))
    assert min(len(right[0]), len(left[0])) > 1000
    page.write_text(case_page(one_case()), encoding="utf-8")
    browse(page, tmp_path, *RUN, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'paper.pdf'}")
    paper = (tmp_path / "paper.pdf").read_bytes()
    boxes = [tuple(map(float, box)) for box in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", paper)]
    assert boxes
    assert all(box == pytest.approx((595, 842), abs=1.5) for box in boxes)  # A4 in points
    assert paper.count(b"/Subtype /Image") == 6 + 3  # labelled slices and still surfaces; the canvases stay out


def test_batch_opens_the_case_in_the_address(tmp_path):
    page = tmp_path / "batch.html"
    page.write_text(batch_page([one_case("first"), one_case("se cond")]), encoding="utf-8")
    dom, said = browse(page, tmp_path, *RUN, "--dump-dom", fragment="#case=se%20cond")
    assert "CONSOLE" not in said
    assert 'aria-label="axial slices of se cond"' in dom
