"""YAML as study.yaml needs it: plain fields with their lines, and no tag, alias or number that means something else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from paraspinal_nnunet.errors import InputError, one_line
from paraspinal_nnunet.utils.files import open_regular

MOST_BYTES = 1_000_000
DEEPEST = 20

_NULL = ("", "~", "null", "Null", "NULL")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9_]{0,17})")


class StudyFileError(InputError):
    """A mistake in study.yaml."""


def mistake(file: Path, node: yaml.Node | yaml.Event, field: str, problem: str) -> StudyFileError:
    """An error that names file, line and field."""
    return StudyFileError(f"{file}, line {node.start_mark.line + 1}: {field or 'the file'} {problem}")


def compose_fields(path: Path) -> yaml.MappingNode:
    """The fields of a file, unread.

    Raises:
        StudyFileError: Unreadable, no YAML, no fields, too large or too deep, or with tags, anchors or aliases.
    """
    try:
        text = _text(path)
        _refuse_what_fields_do_not_need(path, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise StudyFileError(f"{path}{where}: is not valid YAML ({one_line(problem)})") from None
    if not isinstance(node, yaml.MappingNode):
        raise StudyFileError(f"{path}, line 1: holds no fields; write one with: paraspinal study init")
    return node


def named_values(file: Path, node: yaml.Node, field: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Names and values of a mapping, each name once.

    Raises:
        StudyFileError: No mapping, or a name that is no text or stands there twice.
    """
    if not isinstance(node, yaml.MappingNode):
        raise mistake(file, node, field, "must hold fields (NAME: VALUE), indented below it")
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or is_empty(key):
            raise mistake(file, key, field, "has a name that is no text")
        if key.value in seen:
            raise mistake(file, key, f"{field}.{key.value}" if field else key.value, "stands there twice; remove one")
        seen.add(key.value)
        yield key, value


def is_empty(node: yaml.Node) -> bool:
    """Whether a field is there without a value."""
    return _is_plain(node) and node.value in _NULL


def plain_value(file: Path, node: yaml.Node, field: str) -> Any:
    """A value as it is written: text, whole number, flag, None, or a list or mapping of these.

    Numbers that YAML reads in other ways than people do (010 is 8, 1:30 is 90, 0x10) stay text, as do fractions, dates
    and NaN; whoever wants a number refuses them.
    """
    if isinstance(node, yaml.SequenceNode):
        return [plain_value(file, item, field) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key.value: plain_value(file, value, field) for key, value in named_values(file, node, field)}
    if is_empty(node):
        return None
    if not _is_plain(node):
        return node.value
    if node.value.lower() in _WORDS:
        return _WORDS[node.value.lower()]
    return int(node.value) if _WHOLE.fullmatch(node.value) else node.value


def _is_plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise StudyFileError(f"{path}: has more than {MOST_BYTES} bytes; a study file is a page of text")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise StudyFileError(
            f"{path}: cannot be read ({error.strerror}); write one with: paraspinal study init"
        ) from None


def _refuse_what_fields_do_not_need(path: Path, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise mistake(path, event, "", "uses an anchor or alias (& or *); write the value out")
        if getattr(event, "tag", None):
            raise mistake(path, event, "", f"uses the tag {event.tag!r}; leave it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise mistake(path, event, "", f"is nested more than {DEEPEST} levels deep")
