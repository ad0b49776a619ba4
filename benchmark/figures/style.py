"""The style of all figures and of the page: colours, markers, fonts, sizes, line widths."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmark.analysis.systems import SYSTEMS, family, plainness
from benchmark.errors import UnknownName
from benchmark.figures.contrast import lightness, mixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SINGLE_COLUMN_INCHES = 3.25
DOUBLE_COLUMN_INCHES = 6.875
PANEL_INCHES, PAPER_PANEL_INCHES = 2.35, 2.5  # heights without legend and note
DOTS_PER_INCH = 200

MARKER_POINTS = 4.2
EDGE_POINTS = 0.8  # of a marker
PUBLISHED_LINE_POINTS = 0.8
PUBLISHED_DASHES = (0, (3, 1.1))
SAMPLED_DASHES = (0, (5, 1.4, 1, 1.4))  # dots and dashes: samples of a drawn line
MOST_MARKERS = 14  # on one published curve; some csv files have a hundred points
BAR_POINTS, CAP_POINTS = 0.6, 1.2  # of reading errors
BAND_OPACITY = 0.18

SMALL_POINTS = 7.0  # of all type but words at the axes; the least that print can do with
GREY, RULE_GREY, LINE_GREY, LABEL_GREY = "#555555", "#CCCCCC", "#777777", "#333333"
CONTEXT_GREY = "#8C8C8C"  # of curves that the others are seen against
LEAST_LIGHTNESS = 12.0  # difference of L* between two styles with one marker
SHADES = 3  # of a codec's colour, for its variants
COLOUR_MAP = "cividis"  # can be read by the colour-blind
SPARE_COLOURS = ("#661100", "#4477AA", "#AA4466", "#777700", "#7B3FA0", "#2F7F7F", "#B35C9E")
SPARE_MARKERS = ("o", "^", "D", "v", "s", "P", "X", "<", ">", "p", "h", "d", "8", "*", "H")
# of an ablation's variants: Okabe and Ito's colours without the method's own, and two of Tol's
VARIANT_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#882255", "#999933")

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


class Style(NamedTuple):
    """Colour and marker of a system in every figure."""

    colour: str  # "#D55E00"
    marker: str  # as matplotlib names it


# Where the points of a curve come from, and whether it is drawn to be seen first or last
Origin = Literal["measured", "precomputed", "published"]
Role = Literal["own", "usual", "context"]
ROLE_SIZES: Mapping[Role, tuple[float, float]] = {  # factors of line widths and markers
    "own": (1.7, 1.25), "usual": (1.0, 1.0), "context": (0.65, 0.8),
}  # fmt: skip


class CurveLayout(NamedTuple):
    """Sizes in which the rate curves of reports and those of the paper differ."""

    line_points: float  # width of measured curves
    star: float  # size of a star, which looks smaller than other markers, relative to theirs
    room: float  # factor between the outermost rates and the ends of the axis
    most_ticks: int | None  # on a linear y axis; None: matplotlib's choice


REPORT = CurveLayout(1.1, 1.4, 1.15, None)
# not as many ticks as fit, so that the layout stays as it was computed
PAPER = CurveLayout(0.8, 1.5, 1.1, 7)

FAMILIES = {family(one.label): Style(one.colour, one.marker) for one in SYSTEMS if one.colour}
# Typefaces by the name that `--font` takes; they come with matplotlib: the same everywhere.
# "serif" looks as Times does. A sign that the first one lacks is taken from the second.
FONTS: Mapping[str, Mapping[str, Any]] = {
    "sans": {"font.family": ["DejaVu Sans"], "mathtext.fontset": "dejavusans"},
    "serif": {"font.family": ["STIXGeneral", "DejaVu Sans"], "mathtext.fontset": "stix"},
}
RC: Any = {  # its keys are matplotlib's
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": REPORT.line_points,
    "lines.markersize": MARKER_POINTS,
    "pdf.fonttype": 42,  # fonts are embedded as TrueType
    "svg.hashsalt": "rdrbench",
}


class FigureStyle(NamedTuple):
    """Named style of all figures: how it differs from the usual one."""

    settings: Mapping[str, Any] = {}  # matplotlib's, on top of `RC`
    colours: Mapping[str, str] = {}  # "#D55E00" by a system's label, instead of the table's
    spare_colours: tuple[str, ...] = SPARE_COLOURS  # of codecs that are not in the table


FIGURE_STYLES: Mapping[str, FigureStyle] = {  # by the name that `--style` takes
    "usual": FigureStyle(),
}
_chosen: ContextVar[str] = ContextVar("figure style", default="usual")
_font: ContextVar[str] = ContextVar("typeface of figures", default="sans")


@contextmanager
def drawn_in(name: str = "usual", font: str = "sans") -> Iterator[None]:
    """Draw every figure inside in a style and a typeface; raises `UnknownName` for other names."""
    if name not in FIGURE_STYLES:
        raise UnknownName("figure style", name, FIGURE_STYLES)
    if font not in FONTS:
        raise UnknownName("font", font, FONTS)
    tokens = _chosen.set(name), _font.set(font)
    try:
        yield
    finally:
        _chosen.reset(tokens[0])
        _font.reset(tokens[1])


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """Return a style for each label, no two the same.

    The plain variant of a known system always has the style of the table `SYSTEMS`. Its other
    variants have a shade of the colour and another marker, which is told from others in greyscale,
    too; unknown codecs get the spare colours and markers by alphabet.
    """
    ordered = sorted(set(labels), key=lambda label: (family(label), plainness(label), label))
    unknown = [f for f in dict.fromkeys(map(family, ordered)) if f not in FAMILIES]
    changed = {family(one): c for one, c in FIGURE_STYLES[_chosen.get()].colours.items()}
    found: dict[str, Style] = {}
    for label in ordered:
        own = family(label)
        base = FAMILIES.get(own) or _spare(unknown.index(own))
        base = base._replace(colour=changed.get(own, base.colour))
        siblings = sum(family(other) == own for other in found)
        # The style of a known system stays free where only other variants of it are there.
        kept = own in FAMILIES and plainness(label) > 0 and base not in found.values()
        number = siblings + kept
        there = [*(FAMILIES.values() if number else ()), *found.values()]
        tried = [one for one in _shades(base, number) if one not in there]
        tried = tried if number else tried[:1]
        found[label] = next((one for one in tried if _is_apart(one, there)), tried[0])
    return found


def line(
    style: Style,
    layout: CurveLayout,
    origin: Origin = "measured",
    *,
    sampled: bool = False,
    role: Role = "usual",
) -> dict[str, Any]:
    """Return matplotlib's Line2D properties of a curve.

    Markers are filled as `marker_fill` has it; published lines are broken. `sampled`: points read
    off a drawn line have no marker. `role`: our own curves are heavier, those of the context thin
    and grey.
    """
    published = origin == "published"
    width, size = ROLE_SIZES[role]
    colour = CONTEXT_GREY if role == "context" else style.colour
    broken = SAMPLED_DASHES if sampled else PUBLISHED_DASHES
    return {
        "color": colour,
        "marker": "" if sampled else style.marker,
        "markersize": MARKER_POINTS * size * (layout.star if style.marker == "*" else 1),
        **marker_fill(colour, origin),
        "linewidth": width * (PUBLISHED_LINE_POINTS if published else layout.line_points),
        "linestyle": broken if published else "-",
    }


def marker_fill(colour: str, origin: Origin) -> dict[str, Any]:
    """Return matplotlib's Line2D properties that fill a marker, by one rule in every figure.

    A marker is filled where the point was measured here, half filled where it is precomputed (in
    bundled rows or a pack), and open where it is published.
    """
    return {
        "fillstyle": "left" if origin == "precomputed" else "full",
        "markerfacecolor": "white" if origin == "published" else colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": colour,
        "markeredgewidth": EDGE_POINTS,
    }


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw everything inside in the chosen style: type of 7 and 8 points, TrueType fonts."""
    import matplotlib as mpl
    import seaborn as sns

    settings = {**RC, **FONTS[_font.get()], **FIGURE_STYLES[_chosen.get()].settings}
    with mpl.rc_context({**sns.axes_style("ticks"), **sns.plotting_context("paper"), **settings}):
        yield


def file_bytes(figure: "Figure", kind: Literal["pdf", "png"]) -> bytes:
    """Return the figure as a file without dates: the same figure gives the same bytes."""
    undated = {"CreationDate": None, "Producer": None, "Creator": None}
    metadata = undated if kind == "pdf" else {"Software": None}
    stream = BytesIO()
    with figure_style():
        figure.savefig(stream, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return stream.getvalue()


def _is_apart(one: Style, others: Iterable[Style]) -> bool:
    """Return whether a style differs from others by its marker, or else in a greyscale print."""
    same = [other for other in others if other.marker == one.marker]
    here = lightness(one.colour)
    return all(abs(lightness(other.colour) - here) >= LEAST_LIGHTNESS for other in same)


def _spare(place: int) -> Style:
    colours = FIGURE_STYLES[_chosen.get()].spare_colours
    return Style(colours[place % len(colours)], SPARE_MARKERS[place % len(SPARE_MARKERS)])


def _shades(base: Style, number: int) -> Iterator[Style]:
    """Yield styles for variant `number` of a system, the best first; 0 is the plain one."""
    if number == 0:
        yield base
    markers = [marker for marker in SPARE_MARKERS if marker != base.marker]
    for further in range(SHADES):  # another marker before another shade
        for place in range(len(markers)):
            marker = markers[(number - 1 + place) % len(markers)]
            yield Style(_shade(base.colour, max(number, 1) + further), marker)


def _shade(colour: str, number: int) -> str:
    """Mix a dark colour with white, a light one with black; three steps in turn.

    >>> _shade("#000000", 1), _shade("#ffffff", 1), _shade("#000000", 3), _shade("#000000", 4)
    ('#595959', '#a6a6a6', '#999999', '#595959')
    """
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    target = 255 if sum(channels) < 3 * 128 else 0
    return mixed(colour, target, 0.35 + 0.125 * ((number - 1) % SHADES))
