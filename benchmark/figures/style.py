"""Codec names in; the colour, marker and short name each has in every figure out, and the look.

Colours are Okabe and Ito's (without the yellow, which is lost on white paper) and Tol's muted set:
told apart by colour-blind readers; the marker says the same without colour.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import count
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmark.registry import ALIASES, split_unescaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SINGLE_COLUMN_INCHES = 3.25
DOUBLE_COLUMN_INCHES = 6.875
DOTS_PER_INCH = 200

LINE_POINTS, MARKER_POINTS = 1.1, 3.6
NOTE_CHARACTERS_AN_INCH = 21  # of 6-point type


class Look(NamedTuple):
    """How a codec is drawn."""

    colour: str
    marker: str


FAMILIES = {
    "ours": Look("#D55E00", "*"),
    "raw": Look("#666666", "x"),
    "jpeg": Look("#000000", "s"),
    "webp": Look("#CC79A7", "v"),
    "jpeg2000": Look("#8C510A", "D"),
    "avif": Look("#56B4E9", "^"),
    "jpegxl": Look("#009E73", "P"),
    "x265": Look("#E69F00", "<"),
    "vvenc": Look("#0072B2", "o"),
    "vtm": Look("#332288", "X"),
    "bmshj2018-factorized": Look("#6699CC", ">"),
    "bmshj2018-hyperprior": Look("#882255", "h"),
    "mbt2018-mean": Look("#AA4499", "p"),
    "mbt2018": Look("#999933", "d"),
    "cheng2020-anchor": Look("#44AA99", "8"),
    "cheng2020-attn": Look("#117733", "H"),
    # known from published numbers alone
    "hific": Look("#0072B2", "^"),
    "hific-without-gan": Look("#4477AA", "p"),
    "multi-realism": Look("#009E73", "v"),
    "dirac-1": Look("#CC79A7", "d"),
    "dirac-100": Look("#CC79A7", "D"),
    "hfd": Look("#E69F00", ">"),
    "pq-mim": Look("#882255", "s"),
    "elic": Look("#56B4E9", "s"),
    "charm": Look("#44AA99", "p"),
    "ivr": Look("#999933", "<"),
    "ms-illm": Look("#000000", "o"),
    "egic": Look("#117733", ">"),
    "dc-vic": Look("#AA4499", "h"),
    "stablecodec": Look("#661100", "v"),
    "diffeic": Look("#777700", "D"),
    "bpg": Look("#6699CC", "H"),
    "hm": Look("#332288", "d"),
}
SPARE_COLOURS = ("#661100", "#4477AA", "#AA4466", "#777700", "#7B3FA0", "#2F7F7F", "#B35C9E")
SPARE_MARKERS = ("o", "^", "D", "v", "s", "P", "X", "<", ">", "p", "h", "d", "8", "*", "H")


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each codec variant, no two the same.

    The plain variant of a known codec always has the look above. Its other variants have a shade of
    the colour and another marker; unknown codecs get the spare ones by alphabet.
    """
    ordered = sorted(set(labels), key=lambda label: (_family(label), _plainness(label), label))
    unknown = [f for f in dict.fromkeys(map(_family, ordered)) if f not in FAMILIES]
    found: dict[str, Look] = {}
    for label in ordered:
        family = _family(label)
        base = FAMILIES.get(family) or _spare(unknown.index(family))
        siblings = sum(_family(other) == family for other in found)
        # The look of a known codec stays free where only other variants of it are there.
        number = siblings + (family in FAMILIES and not siblings and _plainness(label) > 0)
        found[label] = next(look for look in _shades(base, number) if look not in found.values())
    return found


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Names for legends; where two would be the same, the whole labels.

    >>> short_names(["jpeg", "compressai:metric=mse:model=mbt2018", "./a/mine.py:Mine:level=3"])
    {'jpeg': 'jpeg', 'compressai:metric=mse:model=mbt2018': 'mbt2018',
     './a/mine.py:Mine:level=3': 'Mine level=3'}
    """
    short = {label: _short(label) for label in labels}
    names = list(short.values())
    return {label: name if names.count(name) == 1 else label for label, name in short.items()}


@contextmanager
def paper_style() -> Iterator[None]:
    """The look of everything drawn inside: 8-point type, thin lines, fonts embedded as TrueType."""
    import matplotlib as mpl
    import seaborn as sns

    rc = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same everywhere
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
        "lines.linewidth": LINE_POINTS,
        "lines.markersize": MARKER_POINTS,
        "pdf.fonttype": 42,
        "svg.hashsalt": "rdrbench",
    }
    with mpl.rc_context(rc):
        yield


def line(look: Look, caveat: bool) -> dict[str, Any]:
    """Line2D properties of a codec; what carries a caveat is dashed with open markers."""
    return {
        "color": look.colour,
        "marker": look.marker,
        "linestyle": (0, (4, 2)) if caveat else "-",
        "markerfacecolor": "white" if caveat else look.colour,
        "markeredgecolor": look.colour,
        "markeredgewidth": 0.8,
        "markersize": MARKER_POINTS * (1.4 if look.marker == "*" else 1),
    }


def legend_below(figure: "Figure", handles: "Sequence[Line2D]", note: str = "") -> None:
    """A legend under the axes, in as many columns as fit, the figure made taller to hold it.

    The note comes between the two, broken into lines that are no wider than the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    widest = min(6, len(handles))
    for columns, points in [(n, size) for size in (6.5, 5.8) for n in range(widest, 1, -1)] + [
        (1, 6.5)
    ]:
        legend = figure.legend(
            handles=list(handles), loc="outside lower center", ncols=columns, fontsize=points,
            frameon=False, handlelength=1.8, handletextpad=0.5, columnspacing=0.8,
            labelspacing=0.3, borderpad=0.1, title=_broken(note, figure), title_fontsize=6,
        )  # fmt: skip
        box = legend.get_window_extent(renderer)
        if box.width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + box.height / figure.dpi)


def _broken(note: str, figure: "Figure") -> str:
    characters = int(figure.get_size_inches()[0] * NOTE_CHARACTERS_AN_INCH)
    return "\n".join(
        line
        for part in note.splitlines()
        for line in wrap(part, characters, break_on_hyphens=False)
    )


def title(axes: "Axes", text: str) -> None:
    """What is shown, small, above the left edge of the axes."""
    axes.set_title(text, loc="left", fontsize=7, color="#555555", pad=3)


def file_bytes(figure: "Figure", kind: Literal["pdf", "png"]) -> bytes:
    """The figure as a file; the same figure gives the same bytes (no dates in it)."""
    dated = {"CreationDate": None, "Producer": None, "Creator": None}
    stream = BytesIO()
    with paper_style():
        figure.savefig(
            stream,
            format=kind,
            dpi=DOTS_PER_INCH,
            metadata=dated if kind == "pdf" else {"Software": None},
        )
    return stream.getvalue()


def _spare(place: int) -> Look:
    colours, markers = len(SPARE_COLOURS), len(SPARE_MARKERS)
    return Look(SPARE_COLOURS[place % colours], SPARE_MARKERS[place % markers])


def _shades(base: Look, number: int) -> Iterator[Look]:
    """Looks for variant `number` of a codec, the best first; 0 is the plain one."""
    if number == 0:
        yield base
    markers = [marker for marker in SPARE_MARKERS if marker != base.marker]
    for place in count(max(number, 1)):
        yield Look(_shade(base.colour, place), markers[(place - 1) % len(markers)])


def _shade(colour: str, number: int) -> str:
    """A colour towards white if it is dark, towards black if it is light; three steps in turn.

    >>> _shade("#000000", 1), _shade("#ffffff", 1), _shade("#000000", 3), _shade("#000000", 4)
    ('#595959', '#a6a6a6', '#999999', '#595959')
    """
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    target = 255 if sum(channels) < 3 * 128 else 0
    share = 0.35 + 0.125 * ((number - 1) % 3)
    return "#" + "".join(f"{round(c + share * (target - c)):02x}" for c in channels)


def _options(label: str) -> tuple[str, dict[str, str]]:
    """Name and options of a label; a path.py:Class stays one name."""
    name, *rest = split_unescaped(ALIASES.get(label, label), ":")
    if name.endswith(".py") and rest:
        name, rest = f"{name}:{rest[0]}", rest[1:]
    return name, {key: value for key, _, value in (part.partition("=") for part in rest)}


def _family(label: str) -> str:
    name, options = _options(label)
    return options.get("model", name) if name == "compressai" else name


def _plainness(label: str) -> int:
    """0 for the variant that bears the family's look, more for others."""
    name, options = _options(label)
    if name == "compressai":
        options.pop("model", None)
        if options.get("metric", "mse") == "mse":
            options.pop("metric", None)
    if label == "ours:beta=3.84":  # the paper's
        return 0
    return len(options)


def _short(label: str) -> str:
    if label in ALIASES:
        return label
    name, options = _options(label)
    if name == "compressai":
        name = options.pop("model", name)
        if options.get("metric") == "mse":
            options.pop("metric")
    if ".py:" in name:
        name = name.rpartition(":")[2]
    values = [f"{key}={value.rstrip('/').rpartition('/')[2]}" for key, value in options.items()]
    return " ".join([name, *values])
