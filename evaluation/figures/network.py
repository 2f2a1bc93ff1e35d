"""Figure 5: the paper's networks, as a drawing that comes with the program; it depends on no data."""

import json
from importlib import resources
from pathlib import Path

from paraspinal_nnunet.evaluation.figures.drawing import FORMATS
from paraspinal_nnunet.utils.files import atomic_path

NAME = "figure_5_network"
_DATA = resources.files("paraspinal_nnunet.evaluation.figures") / "data"


class NetworkDrawing:
    """The drawing, its numbers and its caption; the tests make them anew from the networks as they are built."""

    def __init__(self) -> None:
        text = json.loads((_DATA / f"{NAME}.json").read_text(encoding="utf-8"))
        self.title, self.caption = str(text["title"]), str(text["caption"])

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write PNG, SVG, PDF and TSV into a folder."""
        paths = tuple(Path(folder) / f"{NAME}.{ending}" for ending in (*FORMATS, "tsv"))
        for path in paths:
            with atomic_path(path) as temporary:
                temporary.write_bytes((_DATA / path.name).read_bytes())
        return paths
