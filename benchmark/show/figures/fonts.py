"""Typefaces for names in scripts that the figures' own typefaces lack."""

from functools import cache

FURTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "Hiragino Sans", "PingFang SC",
    "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAGothic",
    "Droid Sans Fallback", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Bengali", "Noto Sans Thai", "Arial Unicode MS", "FreeSans", "Symbola",
)  # fmt: skip


@cache
def further_fonts() -> list[str]:
    """Return those of FURTHER_FONTS that are installed; a letter is from the first with it."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [name for name in FURTHER_FONTS if name in installed]
