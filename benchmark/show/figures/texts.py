"""Texts of a figure (caption, notes, titles, ticks, legend), and its files."""

import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.answer import Column
from benchmark.compare.bd import compare_curves
from benchmark.compare.curve import Curve, CurvePoint, Panel, variant_curve
from benchmark.compare.rule import Rule
from benchmark.errors import Notice, StoreError
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition
from benchmark.rows.summary import Summary
from benchmark.show.bd_rates import doubt_notes, number_text, short_name
from benchmark.show.figures import style
from benchmark.show.figures.style import FORMATS, GREY, TEXT_POINTS, WIDTHS, look
from benchmark.show.sections import command_sentence, listed, markdown, other_rules_note, section
from benchmark.show.table import Table, csv_text, latex
from benchmark.spec import CodecSpec
from benchmark.system.atomic import write_files
from benchmark.system.text import one_line, range_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

# Suffixes of a figure's files. txt: the caption; details.md: the sources of its curves
SUFFIXES = (*FORMATS, "csv", "tex", "txt", "details.md")
UNRECORDED_FIELDS = ("reference", "interval", "seeds")  # fields of points that records omit
RATE_LABEL = "Rate (bit per pixel)"
CHARACTERS_PER_INCH = 17  # at TEXT_POINTS, in the wider typeface
LINE_INCHES = 0.12  # height of a line of TEXT_POINTS
MAX_INCHES = 9.0  # height of a figure on a page
EDGE_INCHES, PAD_INCHES = 0.07, 0.03  # left and right of legend and note; above and below a note
MAX_LEGEND_ROWS = 6  # maximum number of entries of a group in a column of the legend
VARYING_METADATA: Mapping[str, Sequence[str]] = {  # keys that differ between runs, by format
    "pdf": ("CreationDate", "Producer", "Creator"),
    "png": ("Software",),
    "svg": ("Date", "Creator"),
}


class DrawnFigure(NamedTuple):
    """A figure with a caption of at most sixty words, plotted values and sources of curves."""

    figure: "Figure"
    caption: str
    records: Sequence[Mapping[str, Any]] = ()  # one per plotted point or bar
    table: Table | None = None
    sources: Table | None = None  # origins, protocols and caveats of the curves


class PaperFigure(NamedTuple):
    """A drawing, or None, and sentences on what was left out."""

    drawing: DrawnFigure | None
    sentences: Sequence[str] = ()


def point_records(curves: Iterable[Curve]) -> list[dict[str, Any]]:
    """Return a flat record for each plotted point."""
    curves = [*curves]
    has_seeds = any(point.seeds for curve in curves for point in curve.points)
    return [
        {
            "metric": curve.metric.column,
            "system": f"{curve.title}{curve.mark}",
            "group": curve.group,
            "measured": curve.measured,
            "from": curve.edition.origin,
            "sampled": curve.sampled,
            "drawn": curve.metric.axis_position(point.value),
            **{
                name: value
                for name, value in point._asdict().items()
                if name not in UNRECORDED_FIELDS
            },
            **(_spread_over_seeds(point) if has_seeds else {}),
        }
        for curve in curves
        for point in curve.points
    ]


def _spread_over_seeds(point: CurvePoint) -> dict[str, float | None]:
    values = [value for _, value in point.seeds]
    ends = (min(values), max(values)) if values else (None, None)
    deviation = stdev(values) if len(values) > 1 else None
    names = "seeds", "seeds_low", "seeds_high", "seeds_standard_deviation"
    return dict(zip(names, (len(values), *ends, deviation), strict=True))


def rate_table(panels: Sequence[Panel], anchor: CodecSpec | None, rule: Rule) -> Table:
    """Return a table of curves: points, rates, and BD-rates against the anchor, if any."""
    anchors = [variant_curve(panel, anchor) for panel in panels]
    rows: list[dict[str, Any]] = []
    metrics = [panel[0].metric for panel in panels]
    for name in dict.fromkeys(curve.name for panel in panels for curve in panel):
        codec_curves = [next((c for c in panel if c.name == name), None) for panel in panels]
        present_curves = [curve for curve in codec_curves if curve]
        bpp = [point.bpp for curve in present_curves for point in curve.points]
        row: dict[str, Any] = {
            "system": f"{present_curves[0].title}{present_curves[0].mark}",
            "from": present_curves[0].edition.origin,
            "points": max(curve.num_points for curve in present_curves),
            "bpp": range_text(min(bpp), max(bpp), ".3f"),
        }
        for curve, anchor_curve in zip(codec_curves, anchors, strict=True):
            if curve and anchor_curve:
                row[curve.metric.column] = compare_curves(
                    anchor_curve.rates, curve.rates, curve.metric, rule
                )
        rows.append(row)
    columns = [
        Column("system"),
        Column("from"),
        Column("points", form="d"),
        Column("bpp", form=str),
    ]
    for metric in metrics:
        name = f"BD-rate, {short_name(metric, metrics)} (%)"
        columns.append(Column(name, partial(_rate_text, metric.column), str))
    anchor_text = next((curve.title for curve in anchors if curve), "")
    if not anchor_text:
        return Table.create(columns[:4], rows)
    anchor_text += rule.form_words
    notes = [
        f"Against {anchor_text}, over these rates; negative values mean fewer bits at equal "
        "quality."
    ]
    decade_labels = [metric.label for metric in metrics if metric.scale == "decades"]
    if decade_labels:
        notes.append(f"{listed(decade_labels)}: compared by logarithm.")
    rates = [row[metric.column] for row in rows for metric in metrics if metric.column in row]
    notes += doubt_notes((rate["doubtful"] for rate in rates), rule)
    notes += filter(None, [other_rules_note(curve for panel in panels for curve in panel)])
    return Table.create(columns, rows, notes).drop_empty_columns(num_fixed=4)


def _rate_text(column: str, row: Mapping[str, Any]) -> str | None:
    return number_text(row[column], form="+z.1f") if column in row else None


def wrap_text(text: str, inches: float) -> str:
    """Break a text of TEXT_POINTS into lines of at most `inches`; line breaks are kept.

    Control characters become blanks. A mark stays with the text that explains it.

    >>> wrap_text("a note\\nof two\\x1blines", 0.5)
    'a note\\nof two\\nlines'
    """
    width = max(int(CHARACTERS_PER_INCH * inches), 1)
    fill = partial(textwrap.fill, width=width, break_on_hyphens=False)
    lines = (one_line(line).replace("* ", "*\xa0") for line in text.split("\n"))
    return "\n".join(map(fill, lines)).replace("*\xa0", "* ")


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> "tuple[Figure, Any]":
    """Return a figure (height in inches, without legend) and its axes, (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=style.DOTS_PER_INCH, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def figure_width(panels: int = 1) -> float:
    """Return a figure's width in inches: the chosen width, or else a column for one panel."""
    return WIDTHS[look().width or ("column" if panels == 1 else "page")]


def panels_per_row(panels: int) -> int:
    """Return the number of panels in a row; one if the figure has a column's width."""
    return 1 if figure_width(panels) == WIDTHS["column"] else min(panels, 3 if panels != 4 else 2)


def panel_figure(
    panels: int, height: float = style.PANEL_INCHES, **options: Any
) -> "tuple[Figure, list[Axes], float]":
    """Return a figure, its axes (at most three in a row), and its width in inches."""
    width = figure_width(panels)
    columns = panels_per_row(panels)
    rows = -(-panels // columns)
    figure, grid = new_figure(width, height * rows, rows, columns, **options)
    all_axes = [*grid.ravel()]
    for axes in all_axes[panels:]:
        axes.remove()
    return figure, all_axes[:panels], width


def title(axes: "Axes", text: str, inches: float) -> None:
    """Write a small title above the left edge of the axes."""
    axes.set_title(wrap_text(text, inches), loc="left", fontsize=TEXT_POINTS, color=GREY, pad=3)


def set_plain_ticks(axis: "Axis", wide: bool = True) -> None:
    """Write numbers on a logarithmic axis; wide: at 1, 2, 5, for ranges of more than 5 times."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def add_legend(
    figure: "Figure", handles: "Sequence[Line2D]", note: str = "", groups: bool = False
) -> None:
    """Add one legend for all panels below the axes, and a note below the legend.

    The figure is enlarged for both; then its layout is fixed. groups: group entries by gid.
    """
    width, height = (float(inches) for inches in figure.get_size_inches())
    available_inches = width - 2 * EDGE_INCHES
    text = figure.text(
        0, 0, wrap_text(note, available_inches), fontsize=TEXT_POINTS, va="top", color=GREY
    )
    text.set_in_layout(False)
    note_inches = text.get_window_extent().height / figure.dpi + 2 * PAD_INCHES if note else 0.0
    legend = _legend(figure, handles, available_inches, groups) if handles else None
    legend_inches = legend.get_window_extent().height / figure.dpi if legend else 0.0
    total_inches = min(height + note_inches + legend_inches, MAX_INCHES)
    figure.set_size_inches(width, total_inches)
    text.set_position((EDGE_INCHES / width, (note_inches - PAD_INCHES) / total_inches))
    reserved_share = (note_inches + legend_inches) / total_inches
    if legend:
        legend.set_bbox_to_anchor(
            (EDGE_INCHES / width, reserved_share), transform=figure.transFigure
        )
        legend.set_in_layout(False)
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, reserved_share, 1, 1 - reserved_share))
    for _ in range(2):  # the first layout may change tick labels
        engine.execute(figure)
    figure.set_layout_engine(None)  # "none" is an engine that draws each file twice


def _legend(
    figure: "Figure", handles: "Sequence[Line2D]", available_inches: float, groups: bool
) -> "Legend":
    orders = [_grouped_columns(handles)] if groups else []
    rows = range(1, len(handles) + 1)
    for entries, columns in [*orders, *((handles, math.ceil(len(handles) / n)) for n in rows)]:
        legend = figure.legend(
            handles=entries,
            labels=[wrap_text(str(entry.get_label()), available_inches - 0.3) for entry in entries],
            ncols=columns, loc="upper left", borderaxespad=0, borderpad=0.1, frameon=False,
            handlelength=2.1, handletextpad=0.5, columnspacing=1.2, labelspacing=0.25,
            fontsize=TEXT_POINTS,
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent().width <= available_inches * figure.dpi:
            break
        legend.remove()
    headings = {handle.get_gid() for handle in handles}
    for text in legend.get_texts():
        text.set_parse_math(_is_math(text.get_text()))
        text.set_fontweight("bold" if text.get_text() in headings else "normal")
    return legend


def _is_math(text: str) -> bool:
    """Return whether a legend entry contains mathematics from the user's `--label`."""
    from matplotlib.mathtext import MathTextParser

    labels = [label.rpartition("=")[2] for label in look().label if label.count("$") > 1]
    try:
        return any(label in text for label in labels) and bool(MathTextParser("path").parse(text))
    except ValueError:
        return False


def _grouped_columns(handles: "Sequence[Line2D]") -> "tuple[list[Line2D], int]":
    from matplotlib.lines import Line2D

    columns: list[list[Line2D]] = []
    for group in dict.fromkeys(handle.get_gid() for handle in handles):
        entries = [handle for handle in handles if handle.get_gid() == group]
        rows = math.ceil(len(entries) / math.ceil(len(entries) / MAX_LEGEND_ROWS))
        for start in range(0, len(entries), rows):
            heading = Line2D([], [], linestyle="", label=" " if start else group)
            columns.append([heading, *entries[start : start + rows]])
    handle_rows = zip_longest(*columns, fillvalue=Line2D([], [], linestyle="", label=" "))
    return [handle for column in zip(*handle_rows, strict=True) for handle in column], len(columns)


def axis_words(metric: Metric, few_images: int = 0) -> str:
    """Return the label of a metric's axis, with an arrow if lower values are better.

    >>> axis_words(Metric("fd", "FD", "lower"), 24)
    'FD ↓\\n24 images: biased upward'
    """
    label = f"{metric.axis_label} ↓" if metric.better == "lower" else metric.axis_label
    return f"{label}\n{few_images} images: {metric.over_few}" if few_images else label


def few_images(panel: Panel) -> int:
    """Return the minimum number of images if that number is too low for the metric; else 0."""
    measured_curves = [curve for curve in panel if curve.measured]
    counts = (
        (curve.metric, point.images or 0) for curve in measured_curves for point in curve.points
    )
    return min((count for metric, count in counts if metric.has_few_images(count)), default=0)


def file_bytes(figure: "Figure", kind: str) -> bytes:
    """Return the figure as a pdf, png or svg without dates: the same figure, the same bytes."""
    stream, metadata = BytesIO(), dict.fromkeys(VARYING_METADATA[kind])
    with style.figure_style():
        warn_of_boxes(figure)
        figure.savefig(stream, format=kind, dpi=style.DOTS_PER_INCH, metadata=metadata)
    return stream.getvalue()


def warn_of_boxes(figure: "Figure") -> None:
    """Warn once about letters that are missing in all typefaces and so drawn as boxes."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text

    fonts = [get_font(findfont(FontProperties(family=name))) for name in rcParams["font.family"]]
    available_characters = {ord("\n")}.union(*(font.get_charmap() for font in fonts))
    text_items: Any = figure.findobj(Text)
    letters = {
        letter
        for text in text_items
        for letter in text.get_text()
        if ord(letter) not in available_characters
    }
    if letters:
        remedy = "install a font such as Noto Sans CJK, or rename the codec with --label"
        problem = f"no installed typeface has {' '.join(sorted(letters))}, which a figure contains"
        warnings.warn(f"{problem}; boxes are drawn instead: {remedy}", Notice, stacklevel=2)


def figure_files(figure: "Figure", name: str, *more_kinds: str) -> dict[str, str | bytes]:
    """Return a figure's files by name, in the look's formats and `more_kinds`."""
    kinds = dict.fromkeys((*look().format, *more_kinds))
    return {f"{name}.{kind}": file_bytes(figure, kind) for kind in kinds}


def write_figure(name: str, drawing: DrawnFigure | None, folder: Path, command: str) -> list[Path]:
    """Replace the files of an earlier figure; return the paths of the figures.

    command: command for the figure. Existing files are replaced and removed only if an earlier
    figure's details are next to them. Raises `StoreError` for other files or an unwritable folder.
    """
    files: dict[str, str | bytes] = {}
    if drawing:
        sources = [drawing.sources] if drawing.sources else []
        details = section(name, name, drawing.caption, *sources, command_sentence(command))
        files = figure_files(drawing.figure, name) | {
            f"{name}.csv": csv_text(drawing.records),
            f"{name}.txt": f"{drawing.caption}\n",
            f"{name}.details.md": markdown(details),
        }
        if drawing.table is not None:
            files[f"{name}.tex"] = latex(drawing.table)
    has_details = (folder / f"{name}.details.md").is_file()
    if not has_details and (
        foreign_file := next((file for file in files if (folder / file).exists()), None)
    ):
        raise StoreError(
            f"{folder / foreign_file} is not from an earlier figure (no {name}.details.md next to"
            " it): move it, or choose another folder with --out"
        )
    obsolete_names = {f"{name}.{suffix}" for suffix in SUFFIXES if has_details} - files.keys()
    write_files(folder, files, obsolete_names, what="figures")
    return [folder / file for file in files if file.rpartition(".")[2] in FORMATS]


def figure_names(summary: Summary) -> dict[Edition, str]:
    """Return the names of a summary's editions in figures and tables, with the look's labels."""
    return summary.titles() | look().titles(summary.editions)
