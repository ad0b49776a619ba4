"""Colours as text, "#rrggbb": their lightness and mixtures. Pure."""


def lightness(colour: str) -> float:
    """Return the lightness L* of CIELAB, 0 to 100: what a greyscale print leaves of a colour.

    >>> round(lightness("#ffffff"), 6), round(lightness("#777777"), 1)
    (100.0, 50.0)
    """
    share = luminance(colour)
    return 116 * share ** (1 / 3) - 16 if share > (6 / 29) ** 3 else share * (29 / 3) ** 3


def mixed(colour: str, target: int, share: float) -> str:
    """Return the colour mixed with a grey of `target`, 0 to 255.

    >>> mixed("#ff0000", 255, 0.5)
    '#ff8080'
    """
    return "#" + "".join(f"{round(c + share * (target - c)):02x}" for c in channels(colour))


def luminance(colour: str) -> float:
    """Return the relative luminance of sRGB, 0 to 1."""
    shares = [channel / 255 for channel in channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def channels(colour: str) -> list[int]:
    """Return red, green and blue of "#rrggbb", 0 to 255."""
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
