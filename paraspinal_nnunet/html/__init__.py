"""Pages for the reader of a scan: one per case, one per batch, each a single file, and a picture beside each mask."""

from paraspinal_nnunet.html.batch_page import batch_page, batch_pages
from paraspinal_nnunet.html.case_page import case_page
from paraspinal_nnunet.html.content import CaseSummary, PageCase, PageMeta, ReviewFlag, summarise_case
from paraspinal_nnunet.html.preview import preview_png

__all__ = [
    "CaseSummary",
    "PageCase",
    "PageMeta",
    "ReviewFlag",
    "batch_page",
    "batch_pages",
    "case_page",
    "preview_png",
    "summarise_case",
]
