"""Typefaces for names in scripts that the figures' own typefaces lack."""

import warnings
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from benchmark.errors import Notice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FURTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "Hiragino Sans", "PingFang SC",
    "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAGothic",
    "Droid Sans Fallback", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Bengali", "Noto Sans Thai", "Arial Unicode MS", "FreeSans", "Symbola", "Noto Emoji",
    "Segoe UI Emoji", "Unifont", "Unifont Upper",
)  # fmt: skip


@cache
def further_fonts() -> list[str]:
    """Return those of FURTHER_FONTS that are installed; a letter is from the first with it."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    for path in {*findSystemFonts()}.difference(font.fname for font in fontManager.ttflist):
        with suppress(Exception):  # installed since matplotlib wrote its list, or none for it
            fontManager.addfont(path)
    installed = {font.name for font in fontManager.ttflist}
    return [name for name in FURTHER_FONTS if name in installed]


def warn_of_boxes(figure: "Figure") -> None:
    """Warn once of letters that a figure shows as boxes: no typeface in force has them."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text

    fonts = [get_font(findfont(FontProperties(family=name))) for name in rcParams["font.family"]]
    known = {ord("\n")}.union(*(font.get_charmap() for font in fonts))
    texts: Any = figure.findobj(Text)
    letters = {letter for text in texts for letter in text.get_text() if ord(letter) not in known}
    if letters:
        remedy = "install one, such as Noto Sans CJK, or give a codec another name by --label"
        named = f"no typeface here has {' '.join(sorted(letters))} of a figure's names"
        warnings.warn(f"{named}, which are boxes there: {remedy}", Notice, stacklevel=2)
