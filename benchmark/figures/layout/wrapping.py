"""Sizes of texts in the typeface of figures, and texts broken into lines that there is room for."""

import re
from functools import lru_cache

from benchmark.figures.style import DOTS_PER_INCH, SMALL_POINTS
from benchmark.system.text import one_line

# The raised letters that figures add to names; whatever else has a dollar sign is a name.
RAISED = r"(\$\^(?:\{\\mathrm\{[a-z,]+\}\}|[a-z])\$)"
SEPARATORS = "-_=:/"  # that a word may be broken after


def drawable(text: str) -> str:
    r"""Return a text as matplotlib draws it: no formula but the letters that figures raise.

    A codec may be called anything, and half a formula would end the figure. Control characters but
    line feeds become blanks.

    >>> drawable("foo$x_{y$"), drawable("vtm$^a$")
    ('foo\\$x_{y\\$', 'vtm$^a$')
    """
    plain = "\n".join(map(one_line, text.split("\n")))
    return re.sub(RAISED + r"|(?<!\\)\$", lambda found: found[1] or r"\$", plain)


def text_inches(text: str, points: float = SMALL_POINTS) -> tuple[float, float]:
    """Return the width and height in inches of a text in matplotlib's present typeface.

    Hinting fits letters to pixels, so that a text is wider at one resolution than at another. The
    size is that on the canvas or that in the file, whichever is larger.
    """
    import matplotlib as mpl

    family = tuple(mpl.rcParams["font.family"])
    sizes = [
        _text_inches(drawable(text), points, dpi, family)
        for dpi in (mpl.rcParams["figure.dpi"], DOTS_PER_INCH)
    ]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


@lru_cache(maxsize=8192)
def _text_inches(text: str, points: float, dpi: float, _: tuple[str, ...]) -> tuple[float, float]:
    from matplotlib.figure import Figure

    box = Figure(dpi=dpi).text(0, 0, text, fontsize=points).get_window_extent()
    return box.width / dpi, box.height / dpi


def wrapped(text: str, inches: float, points: float = SMALL_POINTS) -> str:
    """Break a text at spaces into lines that are no wider than `inches`.

    Lines of the text stay lines. A word that is wider than the room is broken, too.
    """
    room = inches - 0.02
    if text_inches(text, points)[0] <= room:
        return text
    blank = text_inches("o o", points)[0] - text_inches("oo", points)[0]
    lines = []
    for part in text.splitlines():
        line, used = "", 0.0
        for word in part.split(" "):
            for piece in _pieces(word, room, points):
                width = text_inches(piece, points)[0]
                if line and used + blank + width > room:
                    lines.append(line)
                    line, used = piece, width
                else:
                    line, used = f"{line} {piece}".lstrip(), used + blank * bool(line) + width
        lines.append(line)
    return "\n".join(lines)


def _pieces(word: str, room: float, points: float) -> list[str]:
    """Return a word whole where it fits, else in parts that do, broken after separators if it can.

    Words with formulas stay whole.
    """
    pieces = []
    while text_inches(word, points)[0] > room and "$" not in word:
        share = room / text_inches(word, points)[0]
        most = max(int(0.95 * share * len(word)), 1)
        ends = [at + 1 for at in range(most) if word[at] in SEPARATORS]
        most = ends[-1] if ends else most
        pieces.append(word[:most])
        word = word[most:]
    return [*pieces, word]
