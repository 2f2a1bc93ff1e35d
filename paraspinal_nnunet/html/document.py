"""The frame of a page: one HTML file that fetches nothing and runs only the programs it came with."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from paraspinal_nnunet.html.viewer.page import as_text, base64_text

NOTICE = "Research software, not a medical device: not for diagnosis or treatment. Check every mask by eye."

_ASSETS = resources.files("paraspinal_nnunet.html") / "assets"
_MARK = '<script>document.documentElement.className = "js";</script>'
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}</style>
{mark}
</head>
<body>
{body}
</body>
</html>
"""


def document(title: str, body: str, *, trusted: Sequence[str] = ()) -> str:
    """A whole page.

    A content security policy forbids every request and every program but those of `trusted`, so that nothing that
    came in with a name, a header or a drawing can run.

    Args:
        title: Of the window; any text.
        body: HTML.
        trusted: Parts of the body whose programs may run.
    """
    programs = [source for part in (_MARK, *trusted) for source in _programs(part)]
    hashes = " ".join(dict.fromkeys(f"'sha256-{_sha256(source)}'" for source in programs))
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; base-uri 'none'"
    return _PAGE.format(policy=policy, title=as_text(title), css=asset("page.css"), mark=_MARK, body=body)


def asset(name: str) -> str:
    """A style sheet or program of the pages."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def embedded(content: bytes, kind: str, alt: str, *, classes: str = "") -> str:
    """A picture inside the page.

    Args:
        content: The file.
        kind: ``'png'`` or ``'jpeg'``.
        alt: What it shows.
        classes: For the style sheet.
    """
    named = f' class="{classes}"' if classes else ""
    return f'<img{named} alt="{as_text(alt)}" src="data:image/{kind};base64,{base64_text(content)}">'


def _programs(part: str) -> list[str]:
    """Sources of the script elements that run, as they stand in the page."""
    pieces = part.split("<script>")[1:]
    return [piece.partition("</script>")[0] for piece in pieces]


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
