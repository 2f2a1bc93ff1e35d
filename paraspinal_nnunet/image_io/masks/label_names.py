"""What people call the muscles: names in look-up tables, file names and label maps, and the classes they mean."""

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

from paraspinal_nnunet.anatomy import BACKGROUND, BY_KEY, Muscle, Side
from paraspinal_nnunet.errors import LabelError

_MUSCLES: Mapping[Muscle, tuple[str, ...]] = {
    Muscle.MULTIFIDUS: ("mf", "mult", "multifidus", "multifidi", "multifidus lumborum"),
    Muscle.ERECTOR_SPINAE: ("es", "erector", "erector spinae", "erectorspinae", "erectores spinae"),
    Muscle.PSOAS_MAJOR: ("pm", "ps", "psoas", "psoas major", "psoasmajor"),
    Muscle.QUADRATUS_LUMBORUM: ("ql", "quadratus", "quadratus lumborum", "quadratuslumborum"),
    Muscle.ERECTOR_SPINAE_AND_MULTIFIDUS: (
        "esmf",
        "es mf",
        "mf es",
        "mfes",
        "erector spinae multifidus",
        "multifidus erector spinae",
        "erector spinae incl multifidus",
        "erector spinae including multifidus",
    ),
    Muscle.AUTOCHTHON: ("aut", "autochthon", "autochthonous"),
    Muscle.ILIOPSOAS: ("ip", "iliopsoas"),
}
_BY_ALIAS = MappingProxyType({alias: muscle for muscle, aliases in _MUSCLES.items() for alias in aliases})
_RIGHT = (
    *("r", "rt", "right", "rechts", "rechte", "rechter", "rechtes", "droit", "droite", "derecho", "derecha"),
    *("destro", "destra", "dexter", "dextra", "dx"),
)
_LEFT = (
    *("l", "lt", "left", "links", "linke", "linker", "linkes", "gauche", "izquierdo", "izquierda"),
    *("sinistro", "sinistra", "sinister", "sin", "sx"),
)
_SIDES = MappingProxyType({**dict.fromkeys(_RIGHT, Side.RIGHT), **dict.fromkeys(_LEFT, Side.LEFT)})
_GLUED = re.compile(r"(?P<before>[rl])?(?P<muscle>esmf|mfes|mf|es|pm|ps|ql|aut|ip)(?P<after>[rl])?")
_UNTOLD = (
    *("and", "with", "of", "the", "side", "m", "mm", "muscle", "muscles", "musculus", "group"),
    *("lumbar", "thoracolumbar"),
)
_GROUPS = MappingProxyType(
    {
        "paraspinal": "multifidus or erector spinae",
        "paraspinals": "multifidus or erector spinae",
        "paravertebral": "multifidus or erector spinae",
        "back": "multifidus or erector spinae",
        "extensor": "multifidus or erector spinae",
        "extensors": "multifidus or erector spinae",
    }
)
"""Names that stand for more than one class."""

_STEM = re.compile(r"multifid|psoas|erector[a-z]* ?spin|quadrat[a-z]* ?lumb")
_OTHERS = re.compile(r"\b(minor|semispinal|cervic|capitis|thorac)")
"""Words of one of the muscles, and of others whose names hold these: a name with the first alone is one of ours."""

_CLOSE = 0.85
"""Above this likeness an unknown name is taken for a slip of the pen, not for another muscle ('psoas minor': 0.82)."""


def parse_label_name(name: str) -> str | None:
    """The class that a name means.

    Capitals, order and separators do not matter, and a side may be glued to a short name.

    >>> [parse_label_name(name) for name in ("MF_R", "right multifidus", "MultifidusLeft", "vertebra L3")]
    ['multifidus_right', 'multifidus_right', 'multifidus_left', None]

    Returns:
        A key of `anatomy.BY_KEY`; None for names of something else.

    Raises:
        LabelError: A name that could mean several classes, says no side or two, or looks misspelt.
    """
    sides, words = _parts(name)
    told = " ".join(words)
    muscle = _BY_ALIAS.get(told)
    if muscle is None:
        _refuse_unclear(name, told)
        return None
    if len(sides) != 1:
        raise LabelError(
            f"'{name}': says {'no side' if not sides else 'two sides'}; name it e.g. '{muscle.value}_right'"
        )
    key = f"{muscle.value}_{sides.pop().value}"
    return key if key in BY_KEY else None


def class_called(name: str) -> str:
    """The class that a name means, or '' where it means none or is unclear.

    >>> class_called("PsoasR"), class_called("psoas"), class_called("liver")
    ('psoas_major_right', '', '')
    """
    try:
        return name if name in BY_KEY else parse_label_name(name) or ""
    except LabelError:
        return ""


def canonical_by_names(names: Mapping[int, str], file: str) -> dict[int, int] | None:
    """What a file says of its own values: value -> canonical label, 0 for other structures.

    Args:
        names: Value -> name, as the file has them; see `Volume.value_names`.
        file: For messages.

    Returns:
        None where no name is a class, as of Slicer's 'Segment_1'.

    Raises:
        LabelError: A name that is unclear; see `parse_label_name`.
    """
    try:
        keys = {value: parse_label_name(name) for value, name in names.items()}
    except LabelError as error:
        raise LabelError(f"{file}: segment {error}") from error
    if not any(keys.values()):
        return None
    return {value: BY_KEY[key].label if key else BACKGROUND for value, key in keys.items()}


def check_names(names: Mapping[int, str], meaning: Mapping[int, str], file: str) -> None:
    """Refuse a label map whose own names contradict what its values are taken for; unclear names say nothing.

    Args:
        names: Value -> name, as the file has them.
        meaning: Value -> canonical key, as they are taken.
        file: For the message.

    Raises:
        LabelError: Naming the first value of another meaning.
    """
    for value, name in names.items():
        key = class_called(name)
        if key and meaning.get(value, key) != key:
            raise LabelError(
                f"{file}: calls the value {value} '{name}', and it is taken for {meaning[value]}; say what the values "
                "mean with a label map, or rename the segment"
            )


def _parts(name: str) -> tuple[set[Side], list[str]]:
    """The sides that a name tells, and its other words."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    text = re.sub(r"(right|left)", r" \1 ", text)
    sides: set[Side] = set()
    words: list[str] = []
    for word in re.split(r"[^a-z0-9]+", text):
        glued = _GLUED.fullmatch(word)
        if word in _SIDES:
            sides.add(_SIDES[word])
        elif glued and (glued["before"] or glued["after"]) and word not in _BY_ALIAS:
            sides |= {_SIDES[side] for side in (glued["before"], glued["after"]) if side}
            words.append(glued["muscle"])
        elif word and word not in _UNTOLD:
            words.append(word)
    return sides, words


def _refuse_unclear(name: str, told: str) -> None:
    if told in _GROUPS:
        raise LabelError(f"'{name}': could be {_GROUPS[told]}; name one of them or 'ignore'")
    if _STEM.search(told) and not _OTHERS.search(told):
        raise LabelError(f"'{name}': is it one of ours? name it e.g. 'multifidus_right', or mark it 'ignore'")
    close = difflib.get_close_matches(told, [a for a in _BY_ALIAS if len(a) > len("psoas")], n=1, cutoff=_CLOSE)
    if close:
        raise LabelError(f"'{name}': is it '{close[0]}'? correct the name or mark it 'ignore'")
