"""How a run may differ from the paper's protocol: `--set NAME=VALUE`, checked, and applied to a protocol."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.paper import CONFIGURATIONS, ORTHOGONAL, PAPER, Entry, Protocol, entries

FIXED_SECTIONS = ("cohort", "inference")
"""Facts about the study, and what nnU-Net's prediction commands decide: no settings."""


def settable(protocol: Protocol = PAPER) -> dict[str, Entry]:
    """What ``--set`` may change, by key."""
    return {e.key: e for e in entries(protocol) if e.section not in FIXED_SECTIONS}


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Read ``--set NAME=VALUE`` pairs.

    Args:
        pairs: E.g. ``["iterations=400", "patch_size=96,96", "3d_fullres.batch_size=2"]``. Lists are separated by
            commas. ``patch_size``, ``batch_size`` and ``crops_per_case`` concern all configurations unless one is
            named (what is said of 2.5d concerns 2.5d_orthogonal too); a patch size of two numbers is the in-plane size
            (y, x) of all, one of three is 3d_fullres' own.

    Returns:
        Overrides by key, fit for `override` and for JSON.

    Raises:
        ProtocolError: Unknown name, or a value of the wrong kind.
    """
    overrides: dict[str, Any] = {}
    for pair in sorted(pairs, key=lambda p: "." in p.partition("=")[0]):  # a named configuration has the last word
        name, equals, text = pair.partition("=")
        if not equals:
            raise ProtocolError(f"--set {pair}: write NAME=VALUE, e.g. --set iterations=400")
        for key in _keys_of(name.strip(), text):
            overrides[key] = _parse(settable()[key], text.strip())
    return overrides


def override(protocol: Protocol, overrides: Mapping[str, Any]) -> Protocol:
    """A protocol with some numbers replaced.

    Args:
        protocol: What holds otherwise.
        overrides: Key (see `settable`) to value; lists stand for tuples, as they come from JSON.

    Raises:
        ProtocolError: Unknown key.
    """
    known = settable(protocol)
    for key, value in _with_inherited(overrides, known).items():
        if key not in known:
            raise ProtocolError(f"unknown protocol setting '{key}'; known are {', '.join(sorted(known))}")
        entry = known[key]
        part = replace(
            getattr(protocol, entry.section), **{entry.name: tuple(value) if isinstance(value, list) else value}
        )
        protocol = replace(protocol, **{entry.section: part})
    return protocol


def _with_inherited(overrides: Mapping[str, Any], known: Mapping[str, Entry]) -> dict[str, Any]:
    """The orthogonal planes go by what is said of 2.5d where nothing is said of them.

    Plans' names are hashes of overrides: those of other configurations must not name one that came later.
    """
    start = "2.5d."
    named = {
        f"{ORTHOGONAL}.{key.removeprefix(start)}": value for key, value in overrides.items() if key.startswith(start)
    }
    return {key: value for key, value in named.items() if key in known} | dict(overrides)


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Refuse overrides, as a plans file holds them, that `parse_settings` would not have given.

    Raises:
        ProtocolError: Unknown key, or a value of the wrong kind.
    """
    known = settable()
    for key, value in overrides.items():
        if key not in known:
            raise ProtocolError(f"unknown protocol setting '{key}'; known are {', '.join(sorted(known))}")
        entry, said = known[key], f"setting {key} of the plans is {ascii(value)[:60]}"
        if value is None and entry.value is None:
            continue
        if not _is_of_kind(entry, value) or (entry.choices and value not in entry.choices):
            raise ProtocolError(f"{said}, not {' or '.join(entry.choices) or _expectation(entry)}; plan again")
        _check_range(entry, value, said)


def _is_of_kind(entry: Entry, value: Any) -> bool:
    if entry.kind is tuple:
        element = type(entry.value[0])
        return isinstance(value, list) and bool(value) and all(_is_number(v, element) for v in value)
    return _is_number(value, entry.kind) if entry.kind in (int, float) else isinstance(value, entry.kind)


def _is_number(value: Any, kind: type) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float) if kind is float else kind)


def _keys_of(name: str, text: str) -> list[str]:
    known = settable()
    if name in known:
        return [name]
    own = [configuration for configuration in CONFIGURATIONS if configuration != ORTHOGONAL]
    keys = [f"{configuration}.{name}" for configuration in own if f"{configuration}.{name}" in known]
    if not keys:
        raise ProtocolError(f"--set {name}: unknown setting; known are {', '.join(sorted(known))}")
    if name == "patch_size" and text.count(",") == 2:
        return ["3d_fullres.patch_size"]
    return keys


def _parse(entry: Entry, text: str) -> Any:
    try:
        value = _convert(entry, text)
    except ValueError:
        raise ProtocolError(f"--set {entry.key}={text}: expected {_expectation(entry)}") from None
    if entry.choices and value not in entry.choices:
        raise ProtocolError(f"--set {entry.key}={text}: choose from {', '.join(entry.choices)}")
    _check_range(entry, value, f"--set {entry.key}={text}")
    return value


def _convert(entry: Entry, text: str) -> Any:
    if entry.kind is tuple:
        element = type(entry.value[0])
        return [_whole(part) if element is int else element(part) for part in text.split(",")]
    if entry.kind is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _no_bool()
    if text.lower() == "none" and entry.value is None:
        return None
    if entry.kind is int:
        return _whole(text)
    return entry.kind(text)


def _whole(text: str) -> int:
    number = float(text)
    if not number.is_integer():  # nor are infinity and NaN
        raise ValueError
    return int(number)


def _no_bool() -> bool:
    raise ValueError


def _expectation(entry: Entry) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
    if entry.kind is tuple:
        return f"numbers separated by commas, e.g. {','.join(str(v) for v in entry.value)}"
    return names[entry.kind]


_MAY_BE_ZERO = (
    "seed",
    "split_seed",
    "weight_decay",
    "foreground_ratio",
    "interpolation_order_z",
    "interpolation_order",
    "flip_probability",
    "probability",
    "rotation_deg",
    "scaling_percent",
    "translation_voxels",
    "elastic_magnitude",
)
_SHARES = ("foreground_ratio", "flip_probability", "probability")
_FIXED_LENGTH = {
    "spacing": "z,y,x",
    "rotation_deg": "z,y,x",
    "scaling_percent": "z,y,x",
    "translation_voxels": "z,y,x",
    "elastic_sigma": "least,most",
    "elastic_magnitude": "least,most",
}


def _check_range(entry: Entry, value: Any, said: str) -> None:
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        if not isfinite(number) or number < 0 or (number == 0 and entry.name not in _MAY_BE_ZERO):
            raise ProtocolError(f"{said}: must be a finite number greater than 0")
    if entry.name in _SHARES and value > 1:
        raise ProtocolError(f"{said}: a share lies between 0 and 1")
    if entry.name in _FIXED_LENGTH and len(numbers) != len(entry.value):
        raise ProtocolError(f"{said}: give {len(entry.value)} numbers ({_FIXED_LENGTH[entry.name]})")
    if entry.name == "patch_size" and len(numbers) not in {2, len(entry.value)}:
        form = "y,x" if len(entry.value) == 2 else "z,y,x, or y,x"
        raise ProtocolError(f"{said}: give {form}")
    if entry.name == "folds" and value < 2:
        raise ProtocolError(f"{said}: cross-validation needs at least 2 folds")
