"""What each kind of field in study.yaml may hold: the value, or what is wrong with it."""

import ast
import difflib
import importlib.util
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import ParaspinalError
from paraspinal_nnunet.protocol.overrides import parse_settings
from paraspinal_nnunet.workflow.study_file.schema import Field, Kind

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names that are file names, words of commands and parts of expressions all at once, without any quoting."""

SBATCH_FLAGS = (
    "begin", "cluster-constraint", "core-spec", "cpu-freq", "deadline", "delay-boot", "dependency", "distribution",
    "exclude", "exclusive", "extra-node-info", "gpu-bind", "gpu-freq", "gpus-per-node", "gres-flags", "hint", "hold",
    "ignore-pbs", "kill-on-invalid-dep", "licenses", "mail-type", "mail-user", "mem-bind", "mincpus", "network", "nice",
    "no-kill", "nodelist", "nodefile", "overcommit", "oversubscribe", "power", "priority",
    "reservation", "signal", "sockets-per-node", "spread-job", "switches", "thread-spec", "threads-per-core",
    "time-min", "tmp", "use-min-nodes", "wait-all-nodes", "wckey",
)  # fmt: skip
"""Flags that ask for nodes or say when; not among them are those that replace the job's script or its surroundings."""

_SBATCH_WORD = re.compile(r"--([a-z-]+)(=[A-Za-z0-9_.,:@%+/\[\]-]+)?")
_OURS = Path(__file__).resolve().parents[2] / "trainers" / "__init__.py"
_NNUNETS = "training/nnUNetTrainer"
_STEP = re.compile(r"[a-z][a-z-]*([=:][0-9.]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check(value: Any, field: Field) -> tuple[str, Any]:
    """What is wrong with a value (nothing: ``''``), and the value as its kind holds it."""
    return _CHECKS[field.kind](value, field)


def suggestion(name: str, known: list[str]) -> str:
    """The end of a message about an unknown name."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known[:30])}"


@cache
def trainer_names() -> tuple[str, ...]:
    """The trainers of this package, read from their source: importing them takes torch and seconds."""
    for node in ast.parse(_OURS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


@cache
def known_trainer(name: str) -> bool:
    """Whether this package or nnU-Net has a trainer of that name, by its source."""
    if name in trainer_names():
        return True
    found = importlib.util.find_spec("nnunetv2")
    if not re.fullmatch(r"nnUNetTrainer\w*", name) or found is None or found.origin is None:
        return False
    pattern = re.compile(rf"^class {name}\(", re.MULTILINE)
    folder = Path(found.origin).parent / _NNUNETS
    return any(pattern.search(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py"))


def _text(value: Any, field: Field) -> tuple[str, Any]:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return f"is {_written(value)}; give a text (in quotes where it could be read as something else)", value
    text = str(value)
    if _CONTROL.search(text):
        return f"is {text!r}; give one line of text", value
    return ("is empty; give a text" if not text else ""), text


def _path(value: Any, field: Field) -> tuple[str, Any]:
    problem, text = _text(value, field)
    if not problem and text.startswith("-"):
        return f"is {text}, which reads as a flag; write ./{text}", text
    return problem, text


def _name(value: Any, field: Field) -> tuple[str, Any]:
    problem, text = _text(value, field)
    if not problem and not NAME.fullmatch(text):
        return f"is {text!r}; use letters, digits, -, _ and . only, beginning with a letter or digit", text
    return problem, text


def _sbatch(value: Any, field: Field) -> tuple[str, Any]:
    problem, text = _text(value, field)
    for word in [] if problem else text.split():
        match = _SBATCH_WORD.fullmatch(word)
        if match is None:
            return f"holds {word!r}; write flags as --name or --name=value, of letters, digits and _.,:@%+/[]-", text
        if match[1] not in SBATCH_FLAGS:
            return f"holds --{match[1]}; allowed are {', '.join(SBATCH_FLAGS)}, others in a profile of your own", text
    return problem, text


def _whole(value: Any, field: Field) -> tuple[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"is {_written(value)}; give a whole number, without leading zeros", value
    if field.least is not None and value < field.least:
        return f"is {value}; give {field.least} or more", value
    if field.most is not None and value > field.most:
        return f"is {value}; give {field.most} or less", value
    return "", value


def _flag(value: Any, field: Field) -> tuple[str, Any]:
    return ("" if isinstance(value, bool) else f"is {_written(value)}; give true or false"), value


def _choice(value: Any, field: Field) -> tuple[str, Any]:
    text = str(value)
    return ("" if text in field.choices else f"is {_written(text)}; choose from {', '.join(field.choices)}"), text


def _texts(value: Any, field: Field) -> tuple[str, Any]:
    if not isinstance(value, list):
        return f"is {_written(value)}; give a list of texts, e.g. [a, b]", value
    for item in value:
        if problem := _text(item, field)[0]:
            return f"holds a value that {problem}", value
    return "", [str(v) for v in value]


def _steps(value: Any, field: Field) -> tuple[str, Any]:
    problem, value = _texts(value, field)
    if not problem:
        problem = next((f"holds {v!r}, which is no step" for v in value if not _STEP.fullmatch(v)), "")
    return problem, value


def _folds(value: Any, field: Field) -> tuple[str, Any]:
    if value == ["all"]:
        return "", value
    whole = isinstance(value, list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not whole or min(value) < 0 or len(set(value)) != len(value):
        return f"is {_written(value)}; give different folds, e.g. [0, 1, 2], or [all]", value
    return "", value


def _trainer(value: Any, field: Field) -> tuple[str, Any]:
    text = str(value)
    if known_trainer(text):
        return "", text
    return f"is {_written(text)}, which is no trainer{suggestion(text, list(trainer_names()))}", text


def _settings(value: Any, field: Field) -> tuple[str, Any]:
    if not isinstance(value, dict):
        return f"is {_written(value)}; give NAME: VALUE, e.g. iterations: 400", value
    try:
        return "", parse_settings([f"{key}={_setting(v)}" for key, v in value.items()])
    except ParaspinalError as error:
        return f"cannot be used ({error})", value


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(repr(v) if isinstance(v, list) else _setting(v) for v in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _written(value: Any) -> str:
    """A value in a message; long ones are cut."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_CHECKS: Mapping[Kind, Callable[[Any, Field], tuple[str, Any]]] = {
    "text": _text,
    "path": _path,
    "name": _name,
    "sbatch": _sbatch,
    "whole": _whole,
    "flag": _flag,
    "choice": _choice,
    "texts": _texts,
    "steps": _steps,
    "folds": _folds,
    "trainer": _trainer,
    "settings": _settings,
}
