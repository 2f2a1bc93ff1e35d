"""What measures, picture and page of one scan cost, in processor seconds of one thread.

python benchmarks/products.py SCAN MASK
"""

import argparse
import time
from pathlib import Path


def main() -> None:
    """Print a table of steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("mask", type=Path)
    args = parser.parse_args()
    clock = _Clock()

    from paraspinal_nnunet.html import PageCase, case_page, preview_png, summarise_case
    from paraspinal_nnunet.image_io.images import read_image, read_labels
    from paraspinal_nnunet.measures.case import MeasureOptions, measure_with_maps
    from paraspinal_nnunet.measures.outputs.plots import measure_plots

    clock.row("importing what they need")
    image, labels = read_image(args.scan), read_labels(args.mask)
    clock.row("reading scan and mask")
    measured = measure_with_maps({"image": image}, labels, case="case", options=MeasureOptions()).measures
    tables = {name: measured.table(name) for name in ("measures", "asymmetry", "levels")}
    clock.row("measures and flags")
    preview_png(image, labels)
    clock.row("picture")
    case = PageCase("case", image, labels, measures=tables, flags=measured.flags, plots=measure_plots(measured))
    page = case_page(case)
    clock.row(f"page of {len(page) / 1e6:.1f} MB")
    summarise_case(case)
    clock.row("line on the page of all cases")
    clock.total()


class _Clock:
    def __init__(self) -> None:
        self._last = self._first = time.process_time()
        print("| step | CPU s |\n|---|---|")

    def row(self, name: str) -> None:
        now = time.process_time()
        print(f"| {name} | {now - self._last:.2f} |")
        self._last = now

    def total(self) -> None:
        print(f"| all | {self._last - self._first:.2f} |")


if __name__ == "__main__":
    main()
