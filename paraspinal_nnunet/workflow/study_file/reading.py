"""Reading study.yaml: every mistake is an error of one line that names the line and the field."""

from pathlib import Path
from typing import Any

import yaml

from paraspinal_nnunet.workflow.study_file.schema import ANY, FIELDS, Field, children
from paraspinal_nnunet.workflow.study_file.values import NAME, check, suggestion
from paraspinal_nnunet.workflow.study_file.yaml_nodes import (
    compose_fields,
    is_empty,
    mistake,
    named_values,
    plain_value,
)

RESERVED_ENDINGS = ("_deep", "_retrained")
"""Names of models that the workflow makes itself end so."""


def read_study_file(path: Path) -> dict[str, Any]:
    """study.yaml as nested dictionaries, checked, with defaults filled in.

    Raises:
        StudyFileError: Naming file, line and field.
    """
    node = compose_fields(path)
    content: dict[str, Any] = _section(path, node, "", "")
    if not content.get("arms"):
        raise mistake(path, node, "arms", "names no arm; name at least one")
    return content


def _section(file: Path, node: yaml.Node, schema: str, display: str) -> dict[str, Any]:
    """One mapping: unknown and repeated names refused, leaves read, defaults filled in."""
    known = children(schema)
    content: dict[str, Any] = {}
    for key_node, value_node in named_values(file, node, display):
        key = str(key_node.value)
        name = f"{display}.{key}" if display else key
        if known == [ANY]:
            _check_name(file, key_node, name, key)
            below = f"{schema}.{ANY}"
        elif key in known:
            below = f"{schema}.{key}" if schema else key
        else:
            raise mistake(file, key_node, name, f"is unknown{suggestion(key, known)}")
        content[key] = _value(file, value_node, below, name)
    return content if known == [ANY] else _with_defaults(file, node, schema, display, content)


def _value(file: Path, node: yaml.Node, schema: str, display: str) -> Any:
    if schema in FIELDS:
        return _leaf(file, node, FIELDS[schema], display)
    return _section(file, _no_fields(node) if is_empty(node) else node, schema, display)


def _with_defaults(file: Path, node: yaml.Node, schema: str, display: str, content: dict[str, Any]) -> dict[str, Any]:
    for key in children(schema):
        path = f"{schema}.{key}" if schema else key
        name = f"{display}.{key}" if display else key
        if key in content or path.endswith(f".{ANY}"):
            continue
        if path in FIELDS:
            if FIELDS[path].required:
                raise mistake(file, node, name, f"is missing; it is {FIELDS[path].about}")
            content[key] = FIELDS[path].default
        elif children(path) == [ANY]:
            content[key] = {}
        elif _optional(path):
            content[key] = None
        else:
            content[key] = _section(file, _no_fields(node), path, name)
    return content


def _optional(path: str) -> bool:
    """Whole sections that may be absent."""
    return path in ("dataset.convert", "depth.retrain")


def _no_fields(node: yaml.Node) -> yaml.MappingNode:
    return yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark, node.end_mark)


def _leaf(file: Path, node: yaml.Node, field: Field, display: str) -> Any:
    texts = field.kind in ("text", "path", "name", "sbatch", "choice", "trainer")
    value = plain_value(file, node, display)
    if value is None and not field.required:
        return field.default
    if texts and isinstance(node, yaml.ScalarNode) and not is_empty(node):
        value = node.value  # as written: 1.10 is no 1.1, and a partition may be called 'on'
    problem, value = check(value, field)
    if problem:
        raise mistake(file, node, display, problem)
    return value


def _check_name(file: Path, node: yaml.Node, display: str, name: str) -> None:
    if not NAME.fullmatch(name) or name == "best":
        raise mistake(file, node, display, "is no name for a model; use letters, digits, - and _ (and not 'best')")
    if name.endswith(RESERVED_ENDINGS):
        raise mistake(file, node, display, f"ends in {' or '.join(RESERVED_ENDINGS)}, which the study names models by")
