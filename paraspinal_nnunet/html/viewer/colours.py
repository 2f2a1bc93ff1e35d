"""Colours on scans: the paper's hues, lightened until outlines stand out from dark anatomy."""

import colorsys

from paraspinal_nnunet.anatomy import BY_LABEL, Side, Structure

Colour = tuple[int, int, int]

UNKNOWN_COLOUR: Colour = (200, 200, 200)
"""Of labels that are not canonical."""

LUMINANCE = {Side.RIGHT: 0.30, Side.LEFT: 0.60}
"""Relative luminance of the sides' colours at least.

The right side has a contrast of 3:1 to muscle as `window` shows it (grey 71 of 255, of luminance 0.063); the left side
stays 20 units of lightness above the right.

Source: Web Content Accessibility Guidelines 2.2, success criterion 1.4.11 (non-text contrast).
"""

DIFFERENCES: tuple[tuple[int, str, Colour], ...] = (
    (1, "missed (in the reference only)", (255, 225, 0)),
    (2, "added (in the prediction only)", (255, 0, 200)),
    (3, "other muscle or side", (0, 230, 230)),
)
"""Value, meaning and colour of a map of differences."""

DIFFERENCE_COLOURS = {value: colour for value, _, colour in DIFFERENCES}

_STEP = 0.005


def relative_luminance(colour: Colour) -> float:
    """Luminance of an sRGB colour, 0 (black) to 1 (white).

    Source: Web Content Accessibility Guidelines 2.2, relative luminance.

    >>> round(relative_luminance((255, 255, 255)), 3), round(relative_luminance((0, 70, 160)), 3)
    (1.0, 0.069)
    """
    red, green, blue = (
        (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in (c / 255 for c in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio of two colours, 1 to 21; source as `relative_luminance`."""
    low, high = sorted((relative_luminance(one), relative_luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lightened(colour: Colour, luminance: float) -> Colour:
    """The colour itself where it is light enough, else one of the same hue and saturation that is.

    Args:
        colour: Red, green, blue in 0-255.
        luminance: Least relative luminance.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*(c / 255 for c in colour))
    while relative_luminance(colour) < luminance:
        lightness += _STEP
        red, green, blue = (round(255 * c) for c in colorsys.hls_to_rgb(hue, min(lightness, 1.0), saturation))
        colour = (red, green, blue)
    return colour


def overlay_colour(structure: Structure) -> Colour:
    """A structure's colour on a scan and in the legends beside it; the paper's own is `Structure.colour`."""
    return lightened(structure.colour, LUMINANCE[structure.side])


def hex_colour(colour: Colour) -> str:
    """Red, green, blue as ``'#rrggbb'``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


LABEL_COLOURS = {label: overlay_colour(structure) for label, structure in BY_LABEL.items()}
"""Canonical value -> colour on a scan."""
