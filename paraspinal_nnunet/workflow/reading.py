"""Reading study.yaml: every mistake is an error of one line that names the line and the field."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.protocol.overrides import parse_settings
from paraspinal_nnunet.workflow.schema import ANY, FIELDS, Field, children
from paraspinal_nnunet.workflow.trainer_names import known_trainer, trainer_names

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
RESERVED_ENDINGS = ("_deep", "_retrained")
"""Names of models that the study makes itself end so."""


class StudyFileError(InputError):
    """A mistake in study.yaml."""


def read_study_file(path: Path) -> dict[str, Any]:
    """study.yaml as nested dictionaries, checked, with defaults filled in.

    Raises:
        StudyFileError: Naming file, line and field.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise StudyFileError(
            f"{path}: cannot be read ({error.strerror}); write one with: paraspinal study init"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise StudyFileError(f"{path}{where}: is not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(node, yaml.MappingNode):
        raise StudyFileError(f"{path}, line 1: holds no fields; write one with: paraspinal study init")
    content: dict[str, Any] = _section(path, node, "", "")
    if not content.get("arms"):
        raise _mistake(path, node, "arms", "names no arm; name at least one")
    return content


def _section(file: Path, node: yaml.Node, schema: str, shown: str) -> dict[str, Any]:
    """One mapping: unknown and repeated names refused, leaves read, defaults filled in."""
    known = children(schema)
    content: dict[str, Any] = {}
    for key_node, value_node in _pairs(file, node, shown):
        key = str(key_node.value)
        name = f"{shown}.{key}" if shown else key
        if key in content:
            raise _mistake(file, key_node, name, "stands there twice; remove one")
        if known == [ANY]:
            _check_name(file, key_node, name, key)
            below = f"{schema}.{ANY}"
        elif key in known:
            below = f"{schema}.{key}" if schema else key
        else:
            raise _mistake(file, key_node, name, f"is unknown{_suggestion(key, known)}")
        content[key] = _value(file, value_node, below, name)
    return content if known == [ANY] else _with_defaults(file, node, schema, shown, content)


def _value(file: Path, node: yaml.Node, schema: str, shown: str) -> Any:
    if schema in FIELDS:
        return _leaf(file, node, FIELDS[schema], shown)
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        node = yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark, node.end_mark)
    return _section(file, node, schema, shown)


def _with_defaults(file: Path, node: yaml.Node, schema: str, shown: str, content: dict[str, Any]) -> dict[str, Any]:
    for key in children(schema):
        path = f"{schema}.{key}" if schema else key
        name = f"{shown}.{key}" if shown else key
        if key in content or path.endswith(f".{ANY}"):
            continue
        if path in FIELDS:
            if FIELDS[path].required:
                raise _mistake(file, node, name, f"is missing; it is {FIELDS[path].about}")
            content[key] = FIELDS[path].default
        elif children(path) == [ANY]:
            content[key] = {}
        elif _optional(path):
            content[key] = None
        else:
            empty = yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark, node.end_mark)
            content[key] = _section(file, empty, path, name)
    return content


def _optional(path: str) -> bool:
    """Whole sections that may be absent."""
    return path in ("dataset.convert", "depth.retrain")


def _pairs(file: Path, node: yaml.Node, shown: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _mistake(file, node, shown, "must hold fields (NAME: VALUE), indented below it")
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _mistake(file, key, shown, "has a name that is no text")
        yield key, value


def _leaf(file: Path, node: yaml.Node, field: Field, shown: str) -> Any:
    value = yaml.SafeLoader("").construct_object(node, deep=True)
    if value is None and not field.required:
        return field.default
    problem, value = _CHECKS[field.kind](value, field)
    if problem:
        raise _mistake(file, node, shown, problem)
    return value


def _text(value: Any, field: Field) -> tuple[str, Any]:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return f"is {value!r}; give a text", value
    return ("is empty; give a text" if not str(value) else ""), str(value)


def _whole(value: Any, field: Field) -> tuple[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"is {value!r}; give a whole number", value
    if field.least is not None and value < field.least:
        return f"is {value}; give {field.least:g} or more", value
    return "", value


def _number(value: Any, field: Field) -> tuple[str, Any]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"is {value!r}; give a number", value
    return "", value


def _flag(value: Any, field: Field) -> tuple[str, Any]:
    return ("" if isinstance(value, bool) else f"is {value!r}; give true or false"), value


def _choice(value: Any, field: Field) -> tuple[str, Any]:
    text = str(value)
    return ("" if text in field.choices else f"is {text}; choose from {', '.join(field.choices)}"), text


def _texts(value: Any, field: Field) -> tuple[str, Any]:
    if not isinstance(value, list) or any(isinstance(v, (list, dict, bool)) or v is None for v in value):
        return f"is {value!r}; give a list, e.g. [a, b]", value
    return "", [str(v) for v in value]


def _folds(value: Any, field: Field) -> tuple[str, Any]:
    if value == ["all"]:
        return "", value
    whole = isinstance(value, list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not whole or min(value) < 0 or len(set(value)) != len(value):
        return f"is {value!r}; give different folds, e.g. [0, 1, 2], or [all]", value
    return "", value


def _trainer(value: Any, field: Field) -> tuple[str, Any]:
    text = str(value)
    if known_trainer(text):
        return "", text
    return f"is {text}, which is no trainer{_suggestion(text, list(trainer_names()))}", text


def _settings(value: Any, field: Field) -> tuple[str, Any]:
    if not isinstance(value, dict):
        return f"is {value!r}; give NAME: VALUE, e.g. iterations: 400", value
    pairs = [f"{key}={_setting_text(v)}" for key, v in value.items()]
    try:
        return "", parse_settings(pairs)
    except ParaspinalError as error:
        return f"cannot be used ({error})", value


def _setting_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_CHECKS = {
    "text": _text,
    "path": _text,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "choice": _choice,
    "texts": _texts,
    "folds": _folds,
    "trainer": _trainer,
    "settings": _settings,
}


def _check_name(file: Path, node: yaml.Node, shown: str, name: str) -> None:
    if not _NAME.fullmatch(name) or name == "best":
        raise _mistake(file, node, shown, "is no name for a model; use letters, digits, - and _ (and not 'best')")
    if name.endswith(RESERVED_ENDINGS):
        raise _mistake(file, node, shown, f"ends in {' or '.join(RESERVED_ENDINGS)}, which the study names models by")


def _suggestion(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known[:30])}"


def _mistake(file: Path, node: yaml.Node, field: str, problem: str) -> StudyFileError:
    return StudyFileError(f"{file}, line {node.start_mark.line + 1}: {field or 'the file'} {problem}")
