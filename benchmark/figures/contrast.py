"""Contrast between two colours, and text in the colour of a curve."""

WHITE = "#ffffff"
LEAST_CONTRAST = 4.5  # WCAG 2.2, of text; for lines 3 would do
STEPS = 20


def readable(colour: str) -> str:
    """Return the colour, as little darker as it needs to be for text on white paper.

    >>> readable("#332288"), contrast(readable("#56B4E9"), WHITE) >= LEAST_CONTRAST
    ('#332288', True)
    """
    shades = (colour, *(mixed(colour, 0, step / STEPS) for step in range(1, STEPS + 1)))
    return next(one for one in shades if contrast(one, WHITE) >= LEAST_CONTRAST)


def contrast(one: str, other: str) -> float:
    """Return WCAG's contrast ratio of two colours, 1 to 21.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def lightness(colour: str) -> float:
    """Return the lightness L* of CIELAB, 0 to 100: what a greyscale print leaves of a colour.

    >>> round(lightness("#ffffff"), 6), round(lightness("#777777"), 1)
    (100.0, 50.0)
    """
    share = _luminance(colour)
    return 116 * share ** (1 / 3) - 16 if share > (6 / 29) ** 3 else share * (29 / 3) ** 3


def mixed(colour: str, target: int, share: float) -> str:
    """Return the colour mixed with a grey of `target`, 0 to 255.

    >>> mixed("#ff0000", 255, 0.5)
    '#ff8080'
    """
    return "#" + "".join(f"{round(c + share * (target - c)):02x}" for c in _channels(colour))


def _luminance(colour: str) -> float:
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
