"""Sizes of texts in a figure's typeface, and texts broken into lines that there is room for."""

from typing import TYPE_CHECKING

from benchmark.figures.style import SMALL_POINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def text_inches(text: str, figure: "Figure", points: float = SMALL_POINTS) -> tuple[float, float]:
    """Return the width and height in inches of a text in the figure's typeface."""
    artist = figure.text(0, 0, text, fontsize=points)
    box = artist.get_window_extent()
    artist.remove()
    return box.width / figure.dpi, box.height / figure.dpi


def wrapped(text: str, figure: "Figure", inches: float, points: float = SMALL_POINTS) -> str:
    """Break a text at spaces into lines that are no wider than `inches`.

    Lines of the text stay lines. A word that is wider than the room is broken, too.
    """
    room = inches - 0.02
    if text_inches(text, figure, points)[0] <= room:
        return text
    blank = text_inches("o o", figure, points)[0] - text_inches("oo", figure, points)[0]
    lines = []
    for part in text.splitlines():
        line, used = "", 0.0
        for word in part.split(" "):
            for piece in _pieces(word, figure, room, points):
                width = text_inches(piece, figure, points)[0]
                if line and used + blank + width > room:
                    lines.append(line)
                    line, used = piece, width
                else:
                    line, used = f"{line} {piece}".lstrip(), used + blank * bool(line) + width
        lines.append(line)
    return "\n".join(lines)


def _pieces(word: str, figure: "Figure", room: float, points: float) -> list[str]:
    """Return a word whole where it fits, else in parts as wide as the room."""
    pieces = []
    while text_inches(word, figure, points)[0] > room and "$" not in word:
        share = room / text_inches(word, figure, points)[0]
        most = max(int(0.95 * share * len(word)), 1)
        pieces.append(word[:most])
        word = word[most:]
    return [*pieces, word]
