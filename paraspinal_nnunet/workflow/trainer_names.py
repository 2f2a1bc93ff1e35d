"""Which trainers there are, read from their source: importing them takes torch and seconds."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

_OURS = Path(__file__).resolve().parents[1] / "trainers" / "__init__.py"
_NNUNETS = "training/nnUNetTrainer"


@cache
def trainer_names() -> tuple[str, ...]:
    """The trainers of this package."""
    for node in ast.parse(_OURS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


@cache
def known_trainer(name: str) -> bool:
    """Whether this package or nnU-Net has a trainer of that name."""
    if name in trainer_names():
        return True
    found = importlib.util.find_spec("nnunetv2")
    if not re.fullmatch(r"nnUNetTrainer\w*", name) or found is None or found.origin is None:
        return False
    pattern = re.compile(rf"^class {name}\(", re.MULTILINE)
    folder = Path(found.origin).parent / _NNUNETS
    return any(pattern.search(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py"))
