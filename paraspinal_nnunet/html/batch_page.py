"""The page of a batch: every case on a line, those that need a person's eye first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.html.case_page import FLAGS_SHOWN, viewer_case, worded_flag
from paraspinal_nnunet.html.content import SEVERITIES, CaseSummary, PageCase, PageMeta, summarise_case
from paraspinal_nnunet.html.document import document
from paraspinal_nnunet.html.measure_tables import MISSING, NOTHING
from paraspinal_nnunet.html.viewer.page import viewer_html
from paraspinal_nnunet.utils.text import pluralize

EMBEDDED_SLICES = 24
"""Slices of each case whose viewer is part of the batch page."""

MOST_ROWS = 80
"""Cases on one page; with their pictures 1 to 2 MB."""

_WORDS = {"serious": "serious", "warning": "to look at", "info": "notes only"}


def batch_page(
    cases: Sequence[PageCase | CaseSummary], *, title: str = "Paraspinal muscles", meta: PageMeta | None = None
) -> str:
    """One page for a batch, in one file that fetches nothing.

    Cases stand in the order of review: those without a result first, then the worst flags. Whole cases bring their
    viewer into the page; summaries bring a link.

    Args:
        cases: Whole cases for a small batch, summaries for a large one, or both; for very many see `batch_pages`.
        title: Heading.
        meta: What all have in common.

    Raises:
        InputError: No cases, or two of one name.
        GeometryError: Image and labels of a case on two grids.
    """
    ((_, page),) = batch_pages(cases, title=title, meta=meta, most_rows=max(1, len(cases)))
    return page


def batch_pages(
    cases: Sequence[PageCase | CaseSummary],
    *,
    title: str = "Paraspinal muscles",
    meta: PageMeta | None = None,
    most_rows: int = MOST_ROWS,
) -> Iterator[tuple[str, str]]:
    """The pages of a batch of any size, one at a time: a browser takes long to show thousands of pictures.

    The first page finds cases of all pages by name.

    Args:
        cases: As in `batch_page`.
        title: Heading.
        meta: What all have in common.
        most_rows: Cases on one page.

    Yields:
        File name (``index.html``, ``index_2.html``, ...) and page; they link to each other.

    Raises:
        InputError: As `batch_page`.
        GeometryError: As `batch_page`.
    """
    if not cases:
        raise InputError("a batch page needs at least one case")
    lines = [summarise_case(case) if isinstance(case, PageCase) else case for case in cases]
    _check_names([line.case for line in lines])
    lines.sort(key=lambda line: (not line.failure, -line.review_order, line.case))
    whole = {case.case: case for case in cases if isinstance(case, PageCase)}
    muscles = [m for m in Muscle if any(m in line.volumes_ml for line in lines)]
    origin = [f"model {meta.model}" if meta.model else "", meta.date] if meta else []
    pages = -(-len(lines) // most_rows)
    for number in range(1, pages + 1):
        part = lines[(number - 1) * most_rows : number * most_rows]
        viewed = [viewer_case(whole[line.case]) for line in part if line.case in whole]
        yield (
            page_name(number),
            document(
                "batch.html",
                title,
                parts=(*(["viewer"] if viewed else []), "batch", "tables"),
                about=_about(lines),
                origin=", ".join(filter(None, origin)),
                muscles=[muscle.display_name for muscle in muscles],
                rows=[_row(line, muscles, line.case in whole) for line in part],
                viewer=viewer_html(viewed, "Slices", most_slices=EMBEDDED_SLICES) if viewed else "",
                made_by=(meta and meta.version) or __version__,
                page=number,
                links=[(each, page_name(each)) for each in _near(number, pages)],
                every={"rows": most_rows, "names": [line.case for line in lines]} if number == 1 < pages else None,
            ),
        )


def page_name(number: int) -> str:
    """File name of a page of the batch, counted from 1."""
    return "index.html" if number == 1 else f"index_{number}.html"


def _near(page: int, pages: int) -> list[int]:
    """The first and the last page and those around one; nothing where there is only one."""
    return [n for n in range(1, pages + 1) if n in (1, pages) or abs(n - page) <= 2] if pages > 1 else []


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"two cases are called {name}; give each a name of its own")
        seen.add(name)


def _about(lines: Sequence[CaseSummary]) -> str:
    worst = [_worst(line) for line in lines]
    counts = [f"{n} {_WORDS[severity]}" for severity in SEVERITIES if (n := worst.count(severity))]
    failed = sum(1 for line in lines if line.failure)
    if failed:
        counts.insert(0, f"{failed} without a result")
    unflagged = sum(1 for line, each in zip(lines, worst, strict=True) if not each and not line.failure)
    if unflagged:
        counts.append(f"{unflagged} without a flag")
    return f"{pluralize(len(lines), 'case')}: {', '.join(counts)}. In the order in which they should be looked at."


def _worst(line: CaseSummary) -> str:
    present = {severity for severity, _ in line.flags or ()}
    return next((severity for severity in SEVERITIES if severity in present), "")


def _row(line: CaseSummary, muscles: Sequence[Muscle], is_embedded: bool) -> dict[str, Any]:
    """A line of the table: what is urgent in full, mere notes folded away."""
    embedded = f"#case={quote(line.case, safe='')}" if is_embedded else ""
    failure = [("serious", f"No result: {line.failure}")] if line.failure else []
    flags = [worded_flag(severity, text) for severity, text in [*failure, *(line.flags or ())]]
    flags.sort(key=lambda flag: SEVERITIES.index(flag[0]))
    urgent = [flag for flag in flags if flag[0] in SEVERITIES[:2]]
    notes = [flag for flag in flags if flag[0] not in SEVERITIES[:2]]
    folded = urgent[FLAGS_SHOWN:] + notes
    return {
        "case": line.case,
        "is_urgent": bool(urgent),
        "thumbnail": line.thumbnail,
        "href": quote(line.link) if line.link else embedded,
        "urgent": urgent[:FLAGS_SHOWN],
        "notes": folded,
        "folded": f"{len(folded)} more" if len(folded) > len(notes) else pluralize(len(notes), "note"),
        "unflagged": "not checked" if line.flags is None else "none",
        "volumes": [_pair(line.volumes_ml, muscle) for muscle in muscles],
    }


def _pair(volumes: Mapping[Muscle, tuple[float | None, float | None]], muscle: Muscle) -> list[tuple[str, bool]]:
    """Text of each side, and whether the side is missing."""
    if muscle not in volumes:
        return [(NOTHING, False)]
    return [(MISSING, True) if side is None else (f"{side:.0f}", False) for side in volumes[muscle]]
