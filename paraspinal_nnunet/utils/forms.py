"""The form that parsed JSON must have: said once as a value of the same form, checked before anything is taken from it.

A form is ``str``, ``int``, ``float`` (whole numbers too), ``bool``, ``dict``, ``list`` or None, and ``object`` for
whatever; a list of one form for a list of such; a dictionary of keys and forms for an object, where a key that ends in
``?`` may be missing and `ANY` stands for all other keys; and a tuple of forms for either of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.utils.files import read_json

ANY = "*"

_SHOWN = 60
_NAMES: Mapping[Any, str] = {
    **{str: "text", int: "a whole number", float: "a number", bool: "true or false"},
    **{dict: "an object", list: "a list", tuple: "a tuple", None: "null"},
}


def check_form(
    value: Any, form: Any, where: Path | str, *, advice: str = "make it again", kind: type[ParaspinalError] = InputError
) -> None:
    """Refuse parsed JSON of another form.

    Args:
        value: Parsed JSON.
        form: See the module's docstring.
        where: The file, for the message.
        advice: What to do about it.
        kind: Of the error.

    Raises:
        ParaspinalError: Of the kind `kind`, naming the first entry that is missing or of another form.

    >>> form = {"labels": {ANY: int}, "note?": (str, None)}
    >>> check_form({"labels": {"psoas": 1}, "more": []}, form, "a.json")
    >>> check_form({"labels": {"psoas": "1"}}, form, "a.json")
    Traceback (most recent call last):
    paraspinal_nnunet.errors.InputError: a.json: labels.psoas is '1', not a whole number; make it again
    """
    fault = _fault(value, form, "")
    if fault:
        raise kind(f"{where}: {fault}; {advice}")


def read_form(
    path: Path, form: Any, *, advice: str = "make it again", kind: type[ParaspinalError] = InputError
) -> dict[str, Any]:
    """A JSON object of a form from a file.

    Raises:
        ParaspinalError: Of the kind `kind`: unreadable, not JSON, or of another form.
    """
    try:
        content = read_json(path)
    except InputError as error:
        raise kind(f"{error}; {advice}") from error
    check_form(content, form, path, advice=advice, kind=kind)
    return content


def _fault(value: Any, form: Any, place: str) -> str:
    """What is wrong first; '' where nothing is."""
    if isinstance(form, tuple):
        faults = [_fault(value, each, place) for each in form]
        if not all(faults):
            return ""
        fitting = [f for f, each in zip(faults, form, strict=True) if _is(value, _kind(each))]
        return fitting[0] if fitting else _wrong(value, " or ".join(_NAMES[_kind(each)] for each in form), place)
    if not _is(value, _kind(form)):
        return _wrong(value, _NAMES[_kind(form)], place)
    if isinstance(form, list):
        found = (_fault(each, form[0], f"{place}[{number}]") for number, each in enumerate(value))
        return next(filter(None, found), "")
    return _fault_of_object(value, form, place) if isinstance(form, dict) else ""


def _fault_of_object(value: Mapping[str, Any], form: Mapping[str, Any], place: str) -> str:
    known = {key.removesuffix("?"): each for key, each in form.items() if key != ANY}
    for key in (key for key in form if key != ANY and not key.endswith("?")):
        if key not in value:
            return f"{_joined(place, key)} is missing"
    for key, each in value.items():
        wanted = known[key] if key in known else form.get(ANY, ...)
        if wanted is not ... and (fault := _fault(each, wanted, _joined(place, key))):
            return fault
    return ""


def _kind(form: Any) -> Any:
    return type(form) if isinstance(form, dict | list) else form


def _is(value: Any, kind: Any) -> bool:
    if kind is object:
        return True
    if kind is None or isinstance(value, bool):
        return value is None if kind is None else kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _joined(place: str, key: str) -> str:
    shown = key if len(key) <= _SHOWN else f"{key[:_SHOWN]}..."
    return f"{place}.{shown}" if place else shown


def _wrong(value: Any, wanted: str, place: str) -> str:
    text = ascii(value)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"{place or 'the content'} is {shown}, not {wanted}"
