"""Colours chosen for white paper, made readable on a dark page. Pure."""

from benchmark.figures.style import LEAST_CONTRAST, PAGE_DARK, STEPS, contrast, mixed

DARK_PAGE = PAGE_DARK["page"]


def on_dark(colour: str) -> str:
    """Return the colour, as little lighter as it needs to be for LEAST_CONTRAST on a dark page.

    >>> on_dark("#56B4E9"), contrast(on_dark("#332288"), DARK_PAGE) >= LEAST_CONTRAST
    ('#56B4E9', True)
    """
    candidates = (colour, *(mixed(colour, 255, step / STEPS) for step in range(1, STEPS + 1)))
    return next(one for one in candidates if contrast(one, DARK_PAGE) >= LEAST_CONTRAST)
