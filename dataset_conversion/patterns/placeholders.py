"""File name patterns that say where the case id stands: globs with placeholders, or regular expressions."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import ending_of

REGEX_PREFIX = "re:"
PLACEHOLDERS = ("case", "subject", "structure")

_TOKEN = re.compile(r"\{(?:case|subject|structure)\}|\*\*/|\*|\?")
_TRANSLATION = {"**/": "(?:.+/)?", "*": "[^/]*", "?": "[^/]"}
_NO_LITERAL = re.compile(r"\(\?P[<=]\w+[>)]|\[[^\]]*\]|\\[a-zA-Z]|[\\^$.*+?{}()|]")


@dataclass(frozen=True)
class Pattern:
    r"""A pattern of paths relative to the input folder.

    In a glob `{case}`, `{subject}` and `{structure}` are one or more characters without `/`; the second of a kind
    repeats the first; `*`, `?` and `**/` are as in globs; capitals do not count in the format's ending. After the
    prefix ``re:`` it is a regular expression of the whole path with named groups of the same names.

    Attributes:
        text: E.g. ``'sub-*/anat/{case}_T2w.nii.gz'`` or ``'re:(?P<subject>s\d+)/(?P<case>[^/]+)\.nii'``.
        regex: The same as a regular expression.
        structures: Names that `{structure}` may stand for; empty allows all.
    """

    text: str
    regex: re.Pattern[str]
    structures: frozenset[str] = frozenset()

    @property
    def literal_length(self) -> int:
        """Characters outside the placeholders: of two patterns that match a file, the longer one knows it better."""
        if self.text.startswith(REGEX_PREFIX):
            return len(_NO_LITERAL.sub("", self.text.removeprefix(REGEX_PREFIX)))
        return len(_TOKEN.sub("", self.text))

    @property
    def has_structure(self) -> bool:
        """Whether the labels that it describes are one file per structure."""
        return "structure" in self.regex.groupindex

    def match(self, relative: str) -> re.Match[str] | None:
        """The match of a file, or None."""
        match = self.regex.fullmatch(relative)
        if match and self.structures and match["structure"] not in self.structures:
            return None
        return match

    def case_of(self, relative: str) -> str | None:
        """The case id of a file, or None when the pattern does not match.

        A case name that does not hold the subject's is joined to it, since scans of different people may share it.
        """
        match = self.match(relative)
        if match is None:
            return None
        groups = match.groupdict()
        case, subject = groups.get("case"), groups.get("subject")
        if case and subject and subject not in case:
            return f"{subject}_{case}"
        return case or subject

    def one_for_all(self, relative: str) -> str:
        """One name for all masks of a case, e.g. ``'a/{structure}.nii.gz'``; other files keep theirs."""
        match = self.match(relative)
        if match is None or not self.has_structure:
            return relative
        start, end = match.span("structure")
        return f"{relative[:start]}{{structure}}{relative[end:]}"

    def subject_of(self, relative: str) -> str | None:
        """The subject of a file, where the pattern says where it stands."""
        match = self.match(relative)
        return match.groupdict().get("subject") if match else None


def pattern(text: str, known: Mapping[str, Collection[str]] | None = None) -> Pattern:
    """Read a pattern.

    Args:
        text: Glob, or regular expression after ``re:``.
        known: Placeholder -> all that it may stand for in a glob; a placeholder that is not in it may stand for
            anything.

    Raises:
        InputError: Without case and subject, or no regular expression.
    """
    known = known or {}
    read = _regex(text) if text.startswith(REGEX_PREFIX) else _glob(text, known)
    if not {"case", "subject"} & read.groupindex.keys():
        hint = "(?P<case>...)" if text.startswith(REGEX_PREFIX) else "{case}_img.nii.gz"
        raise InputError(f"pattern '{text}': says not where the case id stands; write e.g. {hint}")
    return Pattern(text, read, frozenset(known.get("structure", ())))


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text.removeprefix(REGEX_PREFIX))
    except re.error as error:
        raise InputError(f"pattern '{text}': is no regular expression ({error})") from error


def _glob(text: str, known: Mapping[str, Collection[str]]) -> re.Pattern[str]:
    ending = ending_of(text)
    text = text[: len(text) - len(ending)]
    pieces, end, seen = [], 0, set()
    for token in _TOKEN.finditer(text):
        pieces.append(re.escape(text[end : token.start()]))
        name = token[0].strip("{}")
        if name not in PLACEHOLDERS:
            pieces.append(_TRANSLATION[token[0]])
        elif name in seen:
            pieces.append(f"(?P={name})")
        else:
            longest_first = sorted(known.get(name, ()), key=len, reverse=True)
            pieces.append(f"(?P<{name}>{'|'.join(map(re.escape, longest_first)) or '[^/]+'})")
            seen.add(name)
        end = token.end()
    if unknown := re.search(r"\{\w*\}", _TOKEN.sub("", text)):
        known_names = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise InputError(f"pattern '{text}{ending}': {unknown[0]} is no placeholder; there are {known_names}, and *")
    return re.compile("".join([*pieces, re.escape(text[end:]), f"(?i:{re.escape(ending)})"]))
