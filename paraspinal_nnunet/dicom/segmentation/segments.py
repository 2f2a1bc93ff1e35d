"""Which muscle a segment of a DICOM SEG is: by a given map, by its codes, or by its words; never by guessing."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.anatomy import BY_KEY, MUSCLE_CODES, SIDE_CODES, STRUCTURES, Muscle, Side
from paraspinal_nnunet.errors import LabelError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IGNORED = ("ignore", "background")
"""Names in a map of segments whose voxels become background."""

_MUSCLES = {s.muscle for s in STRUCTURES}

_CODES: dict[tuple[str, str], Muscle] = {
    **{(code.scheme, code.value): muscle for muscle, code in MUSCLE_CODES.items() if muscle in _MUSCLES},
    ("SRT", "T-14020"): Muscle.ERECTOR_SPINAE,
}
"""Besides the project's own: the SNOMED-RT code of older writers. Source: DICOM PS3.16, CID 6116."""

_SIDES: dict[tuple[str, str], Side] = {
    **{(code.scheme, code.value): side for side, code in SIDE_CODES.items()},
    ("SRT", "G-A100"): Side.RIGHT,
    ("SRT", "G-A101"): Side.LEFT,
}
"""Source: DICOM PS3.16, CID 244."""

_MUSCLE_WORDS = {
    Muscle.MULTIFIDUS: r"multifid",
    Muscle.ERECTOR_SPINAE: r"erector[ _-]?spina",
    Muscle.PSOAS_MAJOR: r"(?<!ilio)(?<!ilio[ _-])psoas(?![ _-]*minor)",
    Muscle.QUADRATUS_LUMBORUM: r"quadratus[ _-]?lumb",
}
_SIDE_WORDS = {
    Side.RIGHT: r"(?<![a-z])(?:right|rechts?|droite?|derech[oa]|destr[oa]|dexter|rt?)(?![a-z])",
    Side.LEFT: r"(?<![a-z])(?:left|links?|gauche|izquierd[oa]|sinistr[oa]|sinister|lt?)(?![a-z])",
}
_COARSER = re.compile(
    r"autochthon|ilio[ _-]?psoas|erector[ _-]?spinae \W*\w* ?multifidus|paraspinal|transversospinal"
    r"|deep muscles? of back",
    re.IGNORECASE,
)
"""Classes of other tools that span several of ours, whatever code they carry."""


def segment_key(description: "Dataset", file: str, mapping: Mapping[int, str] | None) -> str | None:
    """The canonical key of a segment.

    Args:
        description: An item of SegmentSequence.
        file: The SEG, for messages.
        mapping: Segment number -> canonical key or ``'ignore'``; where given, nothing else counts.

    Returns:
        A key of `anatomy.BY_KEY`, or None for a segment that the map ignores.

    Raises:
        LabelError: Not in the map, no muscle of ours, without side, or with words and codes that contradict.
    """
    number = int(description.SegmentNumber)
    label = str(description.get("SegmentLabel", ""))
    called = f"{file}: segment {number} '{label}'"
    if mapping is not None:
        return _mapped(number, mapping, called)
    texts = [label, *(str(c.get("CodeMeaning", "")) for c in _type_codes(description))]
    if coarse := next((m[0] for t in texts if (m := _COARSER.search(t))), None):
        raise LabelError(f"{called}: '{coarse}' spans more than one muscle of this protocol; map the segment by number")
    muscle = _agreed([_CODES.get(_code(c)) for c in _type_codes(description)], _MUSCLE_WORDS, texts, called, "muscle")
    texts += [str(c.get("CodeMeaning", "")) for c in _side_codes(description)]
    side = _agreed([_SIDES.get(_code(c)) for c in _side_codes(description)], _SIDE_WORDS, texts, called, "side")
    return f"{muscle.value}_{side.value}"


def _mapped(number: int, mapping: Mapping[int, str], called: str) -> str | None:
    if number not in mapping:
        raise LabelError(f"{called}: is not in the map of segments; add it or map it to 'ignore'")
    key = mapping[number]
    if key in IGNORED:
        return None
    if key not in BY_KEY:
        raise LabelError(f"{called}: is mapped to '{key}', which is no class; classes are {', '.join(BY_KEY)}")
    return key


def _agreed(coded: list[Any], words: Mapping[Any, str], texts: list[str], called: str, what: str) -> Any:
    """The one muscle or side that all codes and words name."""
    said = {c for c in coded if c is not None}
    said |= {name for name, regex in words.items() for t in texts if re.search(regex, t.lower().replace("_", " "))}
    if not said:
        raise LabelError(f"{called}: neither code nor name says which {what}; map the segments by number")
    if len(said) > 1:
        named = " and ".join(sorted(s.value for s in said))
        raise LabelError(f"{called}: its codes and name say {named}; map the segments by number")
    return said.pop()


def _code(item: "Dataset") -> tuple[str, str]:
    value = item.get("CodeValue") or item.get("LongCodeValue") or ""
    return str(item.get("CodingSchemeDesignator", "")), str(value).removeprefix("FMA").lstrip(":")


def _type_codes(description: "Dataset") -> list["Dataset"]:
    found: list[Dataset] = []
    for keyword in ("SegmentedPropertyTypeCodeSequence", "AnatomicRegionSequence", "PrimaryAnatomicStructureSequence"):
        found += description.get(keyword) or []
    return found


def _side_codes(description: "Dataset") -> list["Dataset"]:
    found: list[Dataset] = []
    for item in _type_codes(description):
        for keyword in (
            "SegmentedPropertyTypeModifierCodeSequence",
            "AnatomicRegionModifierSequence",
            "PrimaryAnatomicStructureModifierSequence",
        ):
            found += item.get(keyword) or []
    return found
