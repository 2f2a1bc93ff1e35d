"""Pages as a browser reads them."""

import base64
import hashlib
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags with their attributes, and all text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.source = "", text
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.text += data

    @property
    def policy(self) -> str:
        return next(a["content"] for t, a in self.tags if t == "meta" and "http-equiv" in a)

    @property
    def programs(self) -> list[str]:
        return re.findall(r"<script>(.*?)</script>", self.source, re.DOTALL)


def with_program(page: str, program: str, *, place: str = "</body>") -> str:
    """The page with one program more, before `place`, which its policy is made to let run."""
    allowed = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    page = page.replace("script-src ", f"script-src 'sha256-{allowed}' ", 1)
    before, found, after = page.rpartition(place)
    return f"{before}<script>{program}</script>{found}{after}"
