"""The rooms of the package: which there are, what each imports, and how full they may be; read from the source."""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "paraspinal_nnunet"
TOP_FOLDERS = ("dataset_conversion", "trainers", "evaluation")
"""Stand at the top of the tree; links inside the package lead to them."""
MOST_LOOSE, MOST_IN_A_FOLDER = 6, 16
PUBLIC = ("__init__", "__main__", "prediction")
"""Not rooms, but what users import or run; they lead into the rooms."""


def python_files():
    for top in (PACKAGE, *TOP_FOLDERS):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if not (parts[0] == PACKAGE and parts[1] in TOP_FOLDERS):
                yield path, parts


def module_name(parts):
    """Below the package, dotted; a folder's own module carries the folder's name."""
    names = list(parts if parts[0] in TOP_FOLDERS else parts[1:])
    names[-1] = names[-1].removesuffix(".py")
    return ".".join(names[:-1] if names[-1] == "__init__" and len(names) > 1 else names)


MODULES = {module_name(parts): path for path, parts in python_files()}


def room(module):
    return module.partition(".")[0]


def imports(path):
    """Modules of the package that a file imports, at any place; those for type checkers too: a reader follows both."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == PACKAGE:
                yield name.removeprefix(PACKAGE).strip(".")


def imported_rooms():
    """Room -> room -> one import that shows it."""
    found = {}
    for module, path in MODULES.items():
        for target in imports(path):
            if room(module) != room(target) and room(target) in ROOMS:
                found.setdefault(room(module), {}).setdefault(room(target), f"{module} imports {target}")
    return found


ROOMS = {room(module) for module in MODULES} - set(PUBLIC)


def table_of_rooms():
    """CONTRIBUTING's table: room -> its sentence, in its order."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## Where things live")[2].partition("\n## ")[0]
    rows = {}
    for cells in re.findall(r"^\| (`.+`) \| (.+) \|$", table, flags=re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cells[0]):
            rows[name.removeprefix(f"{PACKAGE}/").removesuffix("/").removesuffix(".py")] = cells[1]
    return rows


def test_every_room_has_its_sentence_and_every_sentence_its_room():
    rows = table_of_rooms()
    folders = {"tests", "benchmarks", "docs"}
    assert set(rows) == ROOMS | folders
    for name, sentence in rows.items():
        assert sentence.endswith("."), name
        assert sentence.count(". ") == 0, f"{name}: more than one sentence"


def test_rooms_import_only_rooms_that_stand_above_them_in_the_table():
    """So there is no circle between rooms."""
    order = {name: place for place, name in enumerate(table_of_rooms())}
    upwards = [
        shown for source, targets in imported_rooms().items() if source in order
        for target, shown in targets.items() if order[target] > order[source]
    ]  # fmt: skip
    assert upwards == []


def test_a_circle_would_be_seen():
    """The check itself: of two rooms that import each other, one import goes down the table."""
    found = imported_rooms()
    assert "workflow" in found["cli"]
    assert "cli" not in found["workflow"]
    assert {"errors", "utils"} <= set(found["image_io"])


def test_few_modules_stand_loose_at_the_root():
    loose = [path.name for path in (ROOT / PACKAGE).glob("*.py")]
    assert len(loose) <= MOST_LOOSE, loose


def test_no_folder_is_crowded():
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in MODULES.values())
    assert {folder: count for folder, count in counts.items() if count > MOST_IN_A_FOLDER} == {}


def test_every_module_says_what_it_is():
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_nibabel_is_taken_from_one_place_alone():
    """Anywhere else it would load pydicom: twice the time and memory of every process that reads an image."""
    homes = {
        "/".join(parts)
        for path, parts in python_files()
        if re.search(r"^\s*(import|from) nibabel", path.read_text(), re.M)
    }
    assert homes == {"paraspinal_nnunet/image_io/nibabel_alone.py"}
