"""The page of a batch: every case on a line, those that need a person's eye first."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.html.case_page import flag_html, viewer_case
from paraspinal_nnunet.html.content import SEVERITIES, CaseSummary, PageCase, PageMeta, summarise_case
from paraspinal_nnunet.html.document import NOTICE, asset, document, embedded
from paraspinal_nnunet.html.tables import NOTHING
from paraspinal_nnunet.html.viewer.page import as_text, viewer_html

EMBEDDED_SLICES = 24
"""Slices of each case whose viewer is part of the batch page."""

_WORDS = {"serious": "serious", "warning": "to look at", "info": "notes only"}


def batch_page(
    cases: Sequence[PageCase | CaseSummary], *, title: str = "Paraspinal muscles", meta: PageMeta | None = None
) -> str:
    """One page for a batch, in one file that fetches nothing.

    Cases stand in the order of review: those without a result first, then the worst flags. Whole cases bring their
    viewer into the page; summaries bring a link.

    Args:
        cases: Whole cases for a small batch, summaries for a large one, or both.
        title: Heading.
        meta: What all have in common.

    Raises:
        InputError: No cases, or two of one name.
        GeometryError: Image and labels of a case on two grids.
    """
    if not cases:
        raise InputError("a batch page needs at least one case")
    lines = [summarise_case(case) if isinstance(case, PageCase) else case for case in cases]
    names = [line.case for line in lines]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"two cases are called {doubled[0]}; give each a name of its own")
    lines.sort(key=lambda line: (not line.failure, -line.review_order, line.case))
    whole = {case.case: case for case in cases if isinstance(case, PageCase)}
    ordered = [viewer_case(whole[line.case]) for line in lines if line.case in whole]
    viewer = viewer_html(ordered, "Slices", most_slices=EMBEDDED_SLICES) if ordered else ""
    program = f"<script>\n{asset('batch.js')}</script>"
    parts = [
        f"<header><h1>{as_text(title)}</h1>{_about(lines, meta)}<p class='notice'>{as_text(NOTICE)}</p></header>",
        "<p class='controls interactive'><label>Find <input type='search' id='find'></label>"
        "<label><input type='checkbox' id='flagged'> only cases to look at</label> <span id='found'></span></p>",
        _table(lines, set(whole)),
        f"<section id='viewer' class='interactive'>{viewer}</section>" if viewer else "",
        f"<p class='soft'>paraspinal-nnunet {as_text((meta and meta.version) or __version__)}</p>",
        program,
    ]
    return document(title, "\n".join(filter(None, parts)), trusted=(viewer, program))


def _about(lines: Sequence[CaseSummary], meta: PageMeta | None) -> str:
    worst = [_worst(line) for line in lines]
    counts = [f"{n} {_WORDS[severity]}" for severity in SEVERITIES if (n := worst.count(severity))]
    failed = sum(1 for line in lines if line.failure)
    if failed:
        counts.insert(0, f"{failed} without a result")
    unflagged = sum(1 for line, each in zip(lines, worst, strict=True) if not each and not line.failure)
    if unflagged:
        counts.append(f"{unflagged} without a flag")
    facts = [f"model {meta.model}" if meta and meta.model else "", meta.date if meta else ""]
    noun = "case" if len(lines) == 1 else "cases"
    text = f"{len(lines)} {noun}: {', '.join(counts)}. In the order in which they should be looked at."
    more = f"<p class='soft'>{as_text(', '.join(filter(None, facts)))}</p>" if any(facts) else ""
    return f"<p>{as_text(text)}</p>{more}"


def _worst(line: CaseSummary) -> str:
    present = {severity for severity, _ in line.flags or ()}
    return next((severity for severity in SEVERITIES if severity in present), "")


def _table(lines: Sequence[CaseSummary], embedded_cases: set[str]) -> str:
    muscles = [m for m in Muscle if any(m in line.volumes_ml for line in lines)]
    heads = "".join(f"<th>{as_text(m.display_name)}<small>ml, right / left</small></th>" for m in muscles)
    rows = "".join(_row(line, muscles, line.case in embedded_cases) for line in lines)
    return (
        f"<div class='wide'><table class='batch'><thead><tr><th></th><th>Case</th><th>Flags</th>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(line: CaseSummary, muscles: Sequence[Muscle], is_embedded: bool) -> str:
    name = as_text(line.case)
    href = as_text(quote(line.link)) if line.link else (f"#case={quote(line.case, safe='')}" if is_embedded else "")
    shown = f"<a href='{href}'>{name}</a>" if href else name
    picture = embedded(line.thumbnail, "jpeg", f"middle slice of {line.case}") if line.thumbnail else ""
    if picture and href:
        picture = f"<a href='{href}'>{picture}</a>"
    volumes = "".join(f"<td>{_pair(line.volumes_ml, muscle)}</td>" for muscle in muscles)
    urgent = "yes" if line.failure or _worst(line) in SEVERITIES[:2] else "no"
    return (
        f"<tr data-case='{name}' data-urgent='{urgent}'><td class='thumb'>{picture}</td><th>{shown}</th>"
        f"<td class='listed'>{_flags(line)}</td>{volumes}</tr>"
    )


def _flags(line: CaseSummary) -> str:
    """What is urgent in full, mere notes folded away."""
    failure = [("serious", f"No result: {line.failure}")] if line.failure else []
    given = [*failure, *(line.flags or ())]
    urgent = [flag_html(severity, text) for severity, text in given if severity in SEVERITIES[:2]]
    notes = [flag_html(severity, text) for severity, text in given if severity not in SEVERITIES[:2]]
    parts = f"<ul class='flags'>{''.join(urgent)}</ul>" if urgent else ""
    if notes:
        count = "1 note" if len(notes) == 1 else f"{len(notes)} notes"
        parts += f"<details><summary>{count}</summary><ul class='flags'>{''.join(notes)}</ul></details>"
    return parts or f"<span class='soft'>{'not checked' if line.flags is None else 'none'}</span>"


def _pair(volumes: Mapping[Muscle, tuple[float | None, float | None]], muscle: Muscle) -> str:
    return " / ".join(NOTHING if side is None else f"{side:.0f}" for side in volumes.get(muscle, (None, None)))
