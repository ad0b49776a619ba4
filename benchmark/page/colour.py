"""Colours chosen for white paper, made readable on a dark page. Pure."""

from benchmark.figures.style import PAGE_DARK

DARK_PAGE = PAGE_DARK["page"]
LEAST_CONTRAST = 4.5  # WCAG 2.2, of text; for lines 3 would do
STEPS = 20


def on_dark(colour: str) -> str:
    """Return the colour, as little lighter as it needs to be for LEAST_CONTRAST on a dark page.

    >>> on_dark("#56B4E9"), contrast(on_dark("#332288"), DARK_PAGE) >= LEAST_CONTRAST
    ('#56B4E9', True)
    """
    shades = (_lighter(colour, step / STEPS) for step in range(1, STEPS + 1))
    candidates = (colour, *shades)
    return next(one for one in candidates if contrast(one, DARK_PAGE) >= LEAST_CONTRAST)


def contrast(one: str, other: str) -> float:
    """Return WCAG's contrast ratio of two colours, 1 to 21.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _lighter(colour: str, share: float) -> str:
    mixed = (round(channel + share * (255 - channel)) for channel in _channels(colour))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _channels(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
