"""The style of all figures: options, colours, markers, fonts, widths; imports no numpy."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, reduce
from itertools import cycle, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from zlib import crc32

from benchmark.errors import BenchError, UnknownName, UsageError
from benchmark.option import DRAWING, option
from benchmark.show.table import GREEK_LATEX
from benchmark.system.text import number_in

if TYPE_CHECKING:
    from benchmark.metrics.metric import Metric  # imports numpy
    from benchmark.rows.edition import Edition  # imports numpy
    from benchmark.spec import CodecSpec

_T = TypeVar("_T")

PANEL_INCHES = 2.4  # height without legend and note
DOTS_PER_INCH = 200
LINE_POINTS, BAR_POINTS, MARKER_POINTS = 1.0, 0.6, 4.2
TEXT_POINTS = 7.0  # of all text except axis labels; the smallest size legible in print
GREY, LINE_GREY = "#555555", "#777777"
USER_COLOUR = "#000000"  # colour of the user's codec; all others are lighter
MIN_LIGHTNESS_GAP = 7.0  # difference of L* between two styles with the same marker
# Dashes and gaps (in line widths) of a codec's variants; the one with fewest options has none
DASHES = ((), (5.0, 1.6), (5.0, 1.4, 1.4, 1.4), (2.2, 1.4))
SPARE_COLOURS = ("#661100", "#4477AA", "#AA4466", "#777700", "#7B3FA0", "#2F7F7F", "#B35C9E")
USER_MARKERS = ("D", "^", "v", "P", "X", "h", "<", ">", "p", "8", "d", "H")
SPARE_MARKERS = ("o", "^", "D", "v", "s", "P", "X", "<", ">", "p", "h", "d", "8", "H")

WIDTHS: Mapping[str, float] = {"column": 3.25, "page": 6.875}  # inches, of CVPR's pages
FORMATS = ("pdf", "png", "svg")
FONTS: Mapping[str, Sequence[str]] = {  # shipped with matplotlib; "serif" looks like Times
    "sans": ["DejaVu Sans"],
    "serif": ["STIXGeneral", "DejaVu Sans"],  # glyphs missing in the first come from the second
}
FALLBACK_FONTS = (  # for scripts missing in FONTS; the first font with a glyph is used
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "Hiragino Sans", "PingFang SC",
    "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAGothic",
    "Droid Sans Fallback", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Bengali", "Noto Sans Thai", "Arial Unicode MS", "FreeSans", "Symbola", "Noto Emoji",
    "Segoe UI Emoji", "Unifont", "Unifont Upper",
)  # fmt: skip
MAX_CURVES = 8


@dataclass(frozen=True, slots=True)
class Look:
    """Drawing options, in the form of the command line."""

    label: tuple[str, ...] = option(
        (), DRAWING, "Name for a codec: ours:beta=3.84=Ours; repeatable.", value_form="repeated"
    )
    colour: tuple[str, ...] = option(
        (), DRAWING, "Colour of a codec's curve: vtm=#332288; repeatable.", value_form="repeated"
    )
    order: tuple[str, ...] = option(
        (), DRAWING, "Codecs to list first in legends: ours,vtm.", value_form="listed"
    )
    style: Path | None = option(None, DRAWING, "Matplotlib style file to draw with.")
    font: str = option("sans", DRAWING, "Typeface: sans, or serif like LaTeX's Times.")
    width: str = option(
        "", DRAWING, "Width: column (3.25 in) or page (6.875 in); default: a column for one panel."
    )
    format: tuple[str, ...] = option(
        ("pdf", "png"), DRAWING, "File formats: pdf, png, svg.", value_form="listed"
    )
    linear_rate: bool = option(
        False, DRAWING, "Draw a linear rate axis, not a logarithmic one.", "--linear-rate"
    )
    values: tuple[str, ...] = option(
        (),
        DRAWING,
        "Range of a metric's axis, in its units: ssimulacra2=60:95; repeatable.",
        value_form="repeated",
    )
    every_curve: bool = option(
        False, DRAWING, "Draw all curves in each figure, not at most eight.", "--all"
    )

    @property
    def max_curves(self) -> int | None:
        """The maximum number of curves in a figure; None: no limit."""
        return None if self.every_curve else MAX_CURVES

    def place(self, edition: "Edition") -> int:
        """Return a sort key: the position in the option `order`; other editions come last."""
        from benchmark.rows.names import is_named  # imports numpy

        positions = (n for n, name in enumerate(self.order) if is_named(edition, name))
        return next(positions, len(self.order))

    def axis_range(self, metric: "Metric") -> tuple[float, float] | None:
        """Return the ends of a metric's axis that the user chose, if any."""
        ranges = {name: ends for name, *ends in map(parse_value_range, self.values)}
        low, high = ranges.get(metric.name, (None, None))
        return None if low is None or high is None else (low, high)

    def titles(self, editions: Iterable["Edition"]) -> "dict[Edition, str]":
        """Return the names that the user chose for editions."""
        return parse_names(self.label, editions)

    def check(self, editions: Iterable["Edition"]) -> None:
        """Raise `UsageError` if an option names a codec that is not in `editions`."""
        from benchmark.rows.edition import labels_of  # imports numpy
        from benchmark.rows.names import find_editions

        editions = list(editions)
        for text in (*self.label, *self.colour):
            if not parse_names([text], editions):
                labels = labels_of(editions).values()
                raise UnknownName("curve", text.rpartition("=")[0] or text, labels)
        find_editions(self.order, editions)


def parse_value_range(text: str) -> tuple[str, float, float]:
    """Parse the range of an axis ("ssim2=60:95"); raise `UsageError` or `UnknownName`."""
    from benchmark.rows.schema import metric_names  # imports numpy

    word, _, ends = text.rpartition("=")
    low, high = (number_in(end) for end in (*ends.partition(":")[::2],))
    if not word or not low < high:
        raise UsageError(f"--values {text!r} is not a metric's range: write ssimulacra2=60:95")
    (name,) = metric_names([word])
    return name, low, high


def parse_names(texts: Iterable[str], editions: Iterable["Edition"]) -> "dict[Edition, str]":
    r"""Parse texts NAME=VALUE; return the values by the edition that NAME resolves to.

    Greek letters may be written as in LaTeX.

    >>> from benchmark.rows.edition import Edition
    >>> from benchmark.spec import parse_codec
    >>> editions = [Edition.create(parse_codec(text)) for text in ("ours:beta=3.84", "vtm")]
    >>> [*parse_names(["ours:beta=3.84=Ours", "vtm=a=b"], editions).values()]
    ['Ours', 'a=b']
    """
    from benchmark.rows.names import find_variant  # imports numpy

    editions = list(editions)
    values_by_edition: dict[Edition, str] = {}
    for text in texts:
        parts = reduce(
            lambda name, letter: name.replace(GREEK_LATEX[letter], letter), GREEK_LATEX, text
        ).split("=")
        for count in range(len(parts) - 1, 0, -1):
            with suppress(BenchError):
                spec = find_variant("=".join(parts[:count]), editions)
                value = "=".join(parts[count:])
                values_by_edition |= {
                    edition: value for edition in editions if edition.spec == spec
                }
                break
    return values_by_edition


_current_look: ContextVar[Look] = ContextVar("look of figures", default=Look())  # noqa: B039


def look() -> Look:
    """Return the drawing options in use."""
    return _current_look.get()


@contextmanager
def use_look(chosen_look: Look | None = None, **changes: Any) -> Iterator[Look]:
    """Draw figures in this context with `chosen_look` and `changes`; `UsageError` if invalid."""
    with chdir(Path(__file__).parent):  # a matplotlibrc in the current folder may be invalid
        from matplotlib.colors import is_color_like

    chosen_look = replace(chosen_look or look(), **changes)
    options = [("font", chosen_look.font, FONTS), ("width", chosen_look.width or "page", WIDTHS)]
    for kind, name, choices in (
        *options,
        *(("format", name, FORMATS) for name in chosen_look.format),
    ):
        if name not in choices:
            raise UnknownName(kind, name, choices)
    for text in chosen_look.values:
        parse_value_range(text)
    for text in chosen_look.colour:
        if not is_color_like(text.rpartition("=")[2]):
            raise UsageError(
                f"--colour {text!r} does not end with a colour: write it like vtm=#332288"
            )
    token = _current_look.set(chosen_look)
    try:
        yield chosen_look
    finally:
        _current_look.reset(token)


class Style(NamedTuple):
    """Colour, marker and line of a codec variant in every figure."""

    colour: str  # "#D55E00"
    marker: str  # name in matplotlib
    dashes: tuple[float, ...] = ()  # dashes and gaps in line widths; (): a solid line


PROJECT_STYLE = Path(__file__).with_name("figure.mplstyle")


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the project and the look, not of matplotlibrc; raise `UsageError`."""
    import matplotlib as mpl

    settings: Any = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")}
    settings |= _style_file(PROJECT_STYLE)
    settings |= {"lines.linewidth": LINE_POINTS, "lines.markersize": MARKER_POINTS}
    settings |= {"font.family": [*FONTS[look().font], *fallback_fonts()]}
    settings |= {"mathtext.fontset": "stix" if look().font == "serif" else "dejavusans"}
    if (path := look().style) is not None:
        settings |= _style_file(path)
    settings |= {"text.parse_math": False, "text.usetex": False}  # names may contain $
    # Only `texts.add_legend` lays out figures.
    settings |= {"figure.autolayout": False, "figure.constrained_layout.use": False}
    font_logger = logging.getLogger("matplotlib.font_manager")
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # `texts.warn_of_boxes` reports missing glyphs
        font_logger.addFilter(_is_not_about_weight)
        try:
            yield
        finally:
            font_logger.removeFilter(_is_not_about_weight)


def _is_not_about_weight(record: logging.LogRecord) -> bool:
    return "font weight" not in record.msg


@cache
def fallback_fonts() -> list[str]:
    """Return the names of installed fonts in FALLBACK_FONTS."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    for path in {*findSystemFonts()}.difference(font.fname for font in fontManager.ttflist):
        with suppress(Exception):  # a font that matplotlib cannot read
            fontManager.addfont(path)
    installed_names = {font.name for font in fontManager.ttflist}
    return [name for name in FALLBACK_FONTS if name in installed_names]


def _style_file(path: Path) -> dict[str, Any]:
    import matplotlib as mpl

    settings: Any = mpl.RcParams()
    location = f"--style {path}"
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            key, _, value = re.sub(r"(^|\s)#.*", "", line).partition(":")
            location = f"--style {path}, line {number}"
            if key.strip():
                settings[key.strip()] = value.strip().strip("\"'")
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"{location} cannot be read: {' '.join(str(error).split())}") from error
    return dict(settings)


@cache
def families() -> dict[str, Style]:
    """Return the style of each codec family that declares one."""
    from benchmark.rows.edition import CATALOGUE

    family_facts = ((edition.family, edition.facts) for edition in CATALOGUE)
    return {
        family: Style(facts.colour, facts.marker) for family, facts in family_facts if facts.colour
    }


@cache
def _catalogue_styles() -> dict[str, Style]:
    from benchmark.rows.edition import CATALOGUE, label_of

    editions = {label_of(edition.spec): edition for edition in CATALOGUE}
    result = {
        label: Style(edition.facts.colour, edition.facts.marker)
        for label, edition in editions.items()
        if edition.facts.colour
    }
    for label, edition in editions.items():
        result.setdefault(label, _choose_distinct(edition, result.values()))
    return result


def styles(editions: Iterable["Edition"]) -> "dict[CodecSpec, Style]":
    """Return a different style for each codec variant of editions.

    A variant has its style in the catalogue, or else its codec's colour and a different marker. For
    unknown codecs, a checksum of the label chooses colour and marker. If two variants would get the
    same style, the second in alphabetical order gets its next choice. The user's first codec is
    black. Variants of a codec, and unknown codecs with the same colour, differ in line dashes.
    """
    from matplotlib.colors import to_hex

    from benchmark.rows.edition import label_of

    editions = sorted(editions, key=lambda edition: edition.measured)
    variants = {edition.spec: edition for edition in editions}
    ordered_editions = sorted(variants.values(), key=lambda edition: label_of(edition.spec))
    catalogue_styles = _catalogue_styles()
    user_family = next((e.family for e in ordered_editions if e.is_from_user), None)
    result: dict[CodecSpec, Style] = {}
    for edition in ordered_editions:
        colour = USER_COLOUR if edition.is_from_user and edition.family == user_family else ""
        result[edition.spec] = catalogue_styles.get(label_of(edition.spec)) or _choose_distinct(
            edition, catalogue_styles.values(), result.values(), colour
        )

    def dash_group(edition: "Edition") -> str:
        return edition.family if edition.family in families() else result[edition.spec].colour

    fewest_options_first = sorted(
        ordered_editions, key=lambda edition: (dash_group(edition), edition.further_options)
    )
    for _, group in groupby(fewest_options_first, dash_group):
        for edition, dashes in zip(group, cycle(DASHES), strict=False):
            result[edition.spec] = result[edition.spec]._replace(dashes=dashes)
    for edition, colour in parse_names(look().colour, ordered_editions).items():
        result[edition.spec] = result[edition.spec]._replace(colour=to_hex(colour))
    return result


def _choose_distinct(
    edition: "Edition",
    catalogue_styles: Iterable[Style],
    other_styles: Iterable[Style] = (),
    colour: str = "",
) -> Style:
    """Return an edition's first unused style, if possible one that differs in greyscale, too."""
    from benchmark.rows.edition import label_of

    catalogue_styles = [*catalogue_styles]
    choices = [*_style_choices(edition)]
    if colour:
        checksum = crc32(label_of(edition.spec).encode())
        markers = _rotate(USER_MARKERS[1:], checksum) if edition.further_options else USER_MARKERS
        choices = [Style(colour, marker) for marker in markers]
    free_styles = [
        style for style in choices if style not in {*catalogue_styles, *other_styles}
    ] or choices
    if free_styles[0].marker == edition.facts.marker or edition.family not in families():
        return free_styles[0]
    return next(
        (style for style in free_styles if _is_distinct(style, catalogue_styles)), free_styles[0]
    )


def _is_distinct(style: Style, other_styles: Iterable[Style]) -> bool:
    """Return whether a style differs from others in its marker or, in greyscale, its colour."""
    lightnesses = [
        lightness(entry.colour) for entry in other_styles if entry.marker == style.marker
    ]
    return all(abs(value - lightness(style.colour)) >= MIN_LIGHTNESS_GAP for value in lightnesses)


def _style_choices(edition: "Edition") -> Iterator[Style]:
    from benchmark.rows.edition import label_of

    family, checksum = edition.family, crc32(label_of(edition.spec).encode())
    family_style, declared_marker = families().get(family), edition.facts.marker
    markers = _rotate(SPARE_MARKERS, checksum)
    colours = _rotate(SPARE_COLOURS, crc32(family.encode()))
    if family_style is not None:
        colours = [family_style.colour]
        if not edition.further_options:
            yield family_style
        markers = [marker for marker in markers if marker != family_style.marker]
        if declared_marker not in ("", family_style.marker):
            markers.insert(0, declared_marker)
    yield from (Style(colour, marker) for colour in colours for marker in markers)


def _rotate(values: Sequence[_T], checksum: int) -> list[_T]:
    start = checksum % len(values)
    return [*values[start:], *values[:start]]


def lightness(colour: str) -> float:
    """Return the lightness L* in CIELAB of "#rrggbb", 0 to 100.

    >>> round(lightness("#ffffff"), 6), round(lightness("#777777"), 1)
    (100.0, 50.0)
    """
    y = luminance(colour)
    return 116 * y ** (1 / 3) - 16 if y > (6 / 29) ** 3 else y * (29 / 3) ** 3


def mix_with_grey(colour: str, target: int, share: float) -> str:
    """Return the colour mixed with a `share` of the grey value `target`, 0 to 255."""
    return "#" + "".join(f"{round(c + share * (target - c)):02x}" for c in channels(colour))


def luminance(colour: str) -> float:
    """Return the relative luminance of an sRGB colour "#rrggbb", 0 to 1."""
    shares = [channel / 255 for channel in channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def channels(colour: str) -> list[int]:
    """Return red, green and blue of "#rrggbb", 0 to 255."""
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
