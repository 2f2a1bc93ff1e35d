"""The one overlay viewer: slices with labels as pictures (`slices`), and pages to scroll through them (`page`)."""

from paraspinal_nnunet.html.viewer.page import contact_sheet, viewer_html, viewer_page
from paraspinal_nnunet.html.viewer.slices import ViewerCase, display_stack, render_slices, slice_image

__all__ = [
    "ViewerCase",
    "contact_sheet",
    "display_stack",
    "render_slices",
    "slice_image",
    "viewer_html",
    "viewer_page",
]
