"""The frame of every page: one HTML file that fetches nothing and runs only the programs that it came with."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from paraspinal_nnunet import __version__

NOTICE = "Research software, not a medical device: not for diagnosis or treatment. Check every mask by eye."

BASE_STYLE = "base.css"
"""The style sheet of all pages; a part of a page that needs more has its own beside its program."""

_ASSETS = resources.files("paraspinal_nnunet.html") / "assets"
_MARK = 'document.documentElement.className = "js";'


def document(
    template: str, title: str, *, parts: Sequence[str] = (), shows_neighbours: bool = False, **values: Any
) -> str:
    """A whole page.

    A content security policy forbids every request, and every program but those of `parts`: nothing that came in with
    a name, a header or a drawing can run. All text is escaped by the templates.

    Args:
        template: File in ``templates/`` that extends ``document.html``.
        title: Of the window; any text.
        parts: Names of what is in the page: ``NAME.css`` and ``NAME.js`` in ``assets/``, where they exist; programs run
            in this order.
        shows_neighbours: The page may show pages beside it in a frame.
        **values: For the template.

    Returns:
        HTML in ASCII, so that no server or editor can mistake its encoding.
    """
    programs = [f"\n{text}" for name in dict.fromkeys(parts) if (text := asset(f"{name}.js"))]
    styles = [asset(BASE_STYLE), *(asset(f"{name}.css") for name in dict.fromkeys(parts))]
    frame = {
        "title": title,
        "policy": Markup(_policy([_MARK, *programs], shows_neighbours)),
        "css": Markup("".join(styles)),
        "mark": Markup(_MARK),
        "programs": [Markup(program) for program in programs],
    }
    page = environment().get_template(template).render(**frame, **values)
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def fragment(template: str, macro: str, *arguments: Any) -> Markup:
    """A piece of a page: what a macro of a template makes of its arguments."""
    module = environment().get_template(template).module
    return Markup(getattr(module, macro)(*arguments))


@cache
def environment() -> Environment:
    """The templates, with everything escaped that is not explicitly HTML."""
    found = Environment(
        loader=PackageLoader("paraspinal_nnunet.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(urlpath=quote, urlname=_url_name, data_uri=data_uri, script_json=script_json)
    found.globals.update(notice=NOTICE, version=__version__)
    return found


def asset(name: str) -> str:
    """A style sheet or program of the pages; empty where there is none of the name."""
    path = _ASSETS / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def data_uri(content: bytes, media_type: str) -> str:
    """A file as an address that holds it, e.g. of the type ``'image/png'``."""
    return f"data:{media_type};base64,{base64_text(content)}"


def script_json(content: Any) -> Markup:
    r"""Data for a program, to stand inside a script element.

    >>> script_json({"name": "</script>"})
    Markup('{"name":"\\u003c/script>"}')
    """
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    # Inside a script element only '<' could end it or open a comment.
    return Markup(text.replace("<", "\\u003c"))


def base64_text(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode("ascii")


def _policy(programs: Sequence[str], shows_neighbours: bool) -> str:
    hashes = (base64_text(hashlib.sha256(program.encode()).digest()) for program in programs)
    rules = [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "script-src " + " ".join(f"'sha256-{one}'" for one in dict.fromkeys(hashes)),
        *(["frame-src 'self' file:"] if shows_neighbours else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def _url_name(text: str) -> str:
    """Any name as the value in an address, slashes too."""
    return quote(text, safe="")
