"""The style of all figures and of the page: colours, markers, fonts, sizes, line widths."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.analysis.systems import SYSTEMS, family, plainness
from benchmark.errors import UsageError
from benchmark.figures.look import FONTS, look
from benchmark.registry import OWN as OWN_CODEC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_INCHES = 2.4  # height without legend and note
DOTS_PER_INCH = 200

LINE_POINTS, PUBLISHED_LINE_POINTS, BAR_POINTS = 1.0, 0.8, 0.6
MARKER_POINTS, EDGE_POINTS = 4.2, 0.8
STAR = 1.4  # a star looks smaller than other markers of its size
OWN = 1.5  # own curves are heavier
PUBLISHED_DASHES, SAMPLED_DASHES = (0, (3, 1.1)), (0, (5, 1.4, 1, 1.4))

SMALL_POINTS = 7.0  # of all type but words at the axes; the least that print can do with
GREY, LINE_GREY = "#555555", "#777777"
LEAST_CONTRAST = 4.5  # WCAG 2.2, of text; for lines 3 would do
STEPS = 20  # between a colour and black or white
LEAST_LIGHTNESS = 12.0  # difference of L* between two styles with one marker
SHADES = 3  # of a codec's colour, for its variants
COLOUR_MAP = "cividis"  # can be read by the colour-blind
SPARE_COLOURS = ("#661100", "#4477AA", "#AA4466", "#777700", "#7B3FA0", "#2F7F7F", "#B35C9E")
SPARE_MARKERS = ("o", "^", "D", "v", "s", "P", "X", "<", ">", "p", "h", "d", "8", "*", "H")

# Colours of the page, by the names of its CSS variables.
PAGE_LIGHT = {
    "page": "#ffffff", "raised": "#ffffff", "sunken": "#f5f6f7", "ink": "#1b1e23",
    "muted": "#5b636e", "line": "#c9ced6", "rule": "#e4e7eb", "grid": "#eceef1",
    "accent": "#0b5cad", "accent-soft": "#e7f0fa", "warn": "#9a4a00", "warn-soft": "#fdf3e7",
}  # fmt: skip
PAGE_DARK = {
    "page": "#15171b", "raised": "#1d2026", "sunken": "#1b1e23", "ink": "#e7e9ec",
    "muted": "#a2abb6", "line": "#434a54", "rule": "#2b3037", "grid": "#262a31",
    "accent": "#7db8f5", "accent-soft": "#1c2c3f", "warn": "#f0b36b", "warn-soft": "#2d2418",
}  # fmt: skip

DATES: Mapping[str, Sequence[str]] = {  # metadata that would change, by kind of file
    "pdf": ("CreationDate", "Producer", "Creator"),
    "png": ("Software",),
    "svg": ("Date", "Creator"),
}


class Style(NamedTuple):
    """Colour and marker of a system in every figure."""

    colour: str  # "#D55E00"
    marker: str  # as matplotlib names it


FAMILIES = {family(known.label): Style(known.colour, known.marker)
            for known in SYSTEMS if known.colour}  # fmt: skip
TICKS = {"major.width": 0.6, "minor.width": 0.4, "major.size": 3, "minor.size": 1.5}  # points
RC: Any = {  # its keys are matplotlib's
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    **{f"{axis}tick.{name}": points for axis in "xy" for name, points in TICKS.items()},
    "lines.linewidth": LINE_POINTS,
    "lines.markersize": MARKER_POINTS,
    "pdf.fonttype": 42,  # fonts are embedded as TrueType
    "svg.hashsalt": "rdrbench",
}
COMMENT = re.compile(r"(^|\s)#.*")


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw what is inside over matplotlib's own defaults, whatever the user's matplotlibrc says.

    Type is of 7 and 8 points, fonts are TrueType; the style file of the look in force goes on top.
    Raises `UsageError` for a style file that cannot be read.
    """
    import matplotlib as mpl
    import seaborn as sns

    chosen: Any = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")}
    chosen |= sns.axes_style("ticks") | sns.plotting_context("paper") | RC
    chosen |= {"font.family": FONTS[look().font]}
    if (path := look().style) is not None:
        chosen |= _style_file(path)
    # names may hold anything
    with mpl.rc_context({**chosen, "text.parse_math": False, "text.usetex": False}):
        yield


def _style_file(path: Path) -> dict[str, Any]:
    """Return the settings of a matplotlib style file, without its comments."""
    import matplotlib as mpl

    result: Any = mpl.RcParams()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"--style {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        key, _, value = COMMENT.sub("", line).partition(":")
        if not key.strip():
            continue
        try:
            result[key.strip()] = value.strip().strip("\"'")
        except (KeyError, ValueError) as error:
            why = " ".join(str(error).split())
            raise UsageError(f"--style {path}, line {number}: {why}") from error
    return dict(result)


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """Return a style for each label, no two the same.

    The plain variant of a known system always has the style of the table `SYSTEMS`. Its other
    variants have a shade of the colour and another marker, and differ from others in greyscale,
    too; unknown codecs get the spare colours and markers by alphabet.
    """
    from matplotlib.colors import to_hex

    def place(label: str) -> tuple[bool, str, int, str]:
        own = family(label)  # ours first: its variants look the same whoever else is there
        return own != OWN_CODEC, own, plainness(label), label

    ordered = sorted(set(labels), key=place)
    unknown = [f for f in dict.fromkeys(map(family, ordered)) if f not in FAMILIES]
    colours, markers = cycle(SPARE_COLOURS), cycle(SPARE_MARKERS)
    bases = FAMILIES | {f: Style(next(colours), next(markers)) for f in unknown}
    result: dict[str, Style] = {}
    for label in ordered:
        own = family(label)
        siblings = sum(family(other) == own for other in result)
        # The style of a known system stays free where only other variants of it are there.
        kept = own in FAMILIES and plainness(label) > 0 and bases[own] not in result.values()
        number = siblings + kept
        taken = [*(FAMILIES.values() if number else ()), *result.values()]
        tried = [shade for shade in _shades(bases[own], number) if shade not in taken]
        apart = (style for style in tried if not number or _is_apart(style, taken))
        result[label] = next(apart, tried[0])
    for label, colour in look().colours(result).items():
        result[label] = result[label]._replace(colour=to_hex(colour))
    return result


def _is_apart(style: Style, others: Iterable[Style]) -> bool:
    """Return whether a style differs from others by its marker, or else in a greyscale print."""
    same = [lightness(other.colour) for other in others if other.marker == style.marker]
    return all(abs(other - lightness(style.colour)) >= LEAST_LIGHTNESS for other in same)


def _shades(base: Style, number: int) -> Iterator[Style]:
    """Yield styles for variant `number` of a system, the best first; 0 is the plain one."""
    if number == 0:
        yield base
    markers = [marker for marker in SPARE_MARKERS if marker != base.marker]
    target = 255 if sum(_channels(base.colour)) < 3 * 128 else 0  # dark colours become lighter
    for further in range(SHADES):  # another marker before another shade
        shade = 0.35 + 0.125 * ((max(number, 1) + further - 1) % SHADES)
        for place in range(number - 1, number - 1 + len(markers)):
            yield Style(mixed(base.colour, target, shade), markers[place % len(markers)])


def line(
    style: Style, *, published: bool = False, sampled: bool = False, own: bool = False
) -> dict[str, Any]:
    """Return matplotlib's Line2D properties of a curve.

    Published points are open markers on a broken line. sampled: read off a plotted line, without
    markers. own: of our codec or the user's, heavier than the others.
    """
    size = (STAR if style.marker == "*" else 1) * (OWN**0.5 if own else 1)
    return {
        "color": style.colour,
        "marker": "" if sampled else style.marker,
        "markersize": MARKER_POINTS * size,
        "markerfacecolor": "white" if published else style.colour,
        "markeredgecolor": style.colour,
        "markeredgewidth": EDGE_POINTS,
        "linewidth": (OWN if own else 1) * (PUBLISHED_LINE_POINTS if published else LINE_POINTS),
        "linestyle": SAMPLED_DASHES if sampled else PUBLISHED_DASHES if published else "-",
    }


def file_bytes(figure: "Figure", kind: str) -> bytes:
    """Return the figure as a pdf, png or svg without dates: the same figure, the same bytes."""
    stream, metadata = BytesIO(), dict.fromkeys(DATES[kind])
    with figure_style():
        figure.savefig(stream, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return stream.getvalue()


def files_of(figure: "Figure", name: str) -> dict[str, str | bytes]:
    """Return the files of a figure in the formats that were asked for, by their names."""
    return {f"{name}.{kind}": file_bytes(figure, kind) for kind in look().format}


def contrast(first: str, second: str) -> float:
    """Return WCAG's contrast ratio of two colours, 1 to 21.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    low, high = sorted(map(_luminance, (first, second)))
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
