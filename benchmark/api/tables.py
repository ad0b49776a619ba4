"""Python functions that answer questions about stored rows as data frames, or plot curves."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pandas import DataFrame

from benchmark.answer import Answer
from benchmark.api.rows import Rows, source_of, unit
from benchmark.compare import match as matching
from benchmark.compare import tradeoff as trading
from benchmark.compare.anchor import read_with_anchor
from benchmark.compare.bd import compare
from benchmark.compare.curve import measured_curves
from benchmark.compare.experiment import IMAGES
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, remedies
from benchmark.option import (
    ALLOW_FEW,
    COMPARED,
    MANNER,
    METRICS,
    flatten,
    numpydoc_lines,
    opt,
)
from benchmark.registry import metric_class
from benchmark.rows.names import find_variant
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import RowSource
from benchmark.show.bd_rates import bd_columns
from benchmark.show.figures.choice import pick_curves, rename_curves
from benchmark.show.figures.rate_curve import draw_panel
from benchmark.show.figures.style import WIDTHS, Look, figure_style, styles, use_look
from benchmark.show.figures.texts import add_legend
from benchmark.show.ranks import rank as ranking
from benchmark.show.sections import curves_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 4.0  # height of a new figure, including the legend below the axes
EXTRA_SUFFIXES = "_of_mean_mse", "_few"  # suffixes of some metrics' columns
RATE_MEANINGS = {
    "per_image": "mean of per-image bits per pixel",
    "pooled": "all bits over all pixels",
}
SELECTION_OPTIONS = "codecs", "bundled", "anchor"  # options that select rows of a folder
SOURCE = """source : DataFrame, path or Outcome
    Rows of a dataset from `load`, or an argument of `load`."""
COMMON = opt(MANNER, "Average only over images that every codec and setting has.")
AVERAGE = opt(MANNER, "Rate: 'per_image', the mean of per-image bits per pixel, or 'pooled'.")
ANCHOR = opt(COMPARED, "Codec variant to compare with: its name in `summary`, or its spec.")
METRIC = opt(COMPARED, "Name of a metric.")


def make_function(question: Callable[..., Answer]) -> Callable[..., DataFrame]:
    """Make a Python function of a question: it returns records as a frame, facts in `attrs`."""
    function = flatten(question)
    signature = inspect.signature(function)
    source, *others = signature.parameters.values()

    @wraps(question)
    def call(*args: Any, **options: Any) -> DataFrame:
        bound_arguments = signature.bind(*args, **options)
        given_options = [name for name in SELECTION_OPTIONS if _is_given(signature, name, options)]
        if given_options and not isinstance(bound_arguments.arguments["source"], str | Path):
            names = " and ".join(given_options)
            raise UsageError(f"{names} apply only to a folder: pass a folder, or use `load`")
        rows = bound_arguments.arguments["source"]
        bound_arguments.arguments["source"] = source_of(rows)
        frame = _frame(function(*bound_arguments.args, **bound_arguments.kwargs))
        if isinstance(rows, DataFrame):  # add the editions that `load` left out
            frame.attrs["absent"] = [*rows.attrs.get("absent", []), *frame.attrs["absent"]]
        return frame

    call.__doc__ = _python_docstring(function)
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[source.replace(annotation=Rows), *others], return_annotation=DataFrame
    )
    return call


def _is_given(signature: inspect.Signature, name: str, options: dict[str, Any]) -> bool:
    parameter = signature.parameters.get(name)
    has_default = parameter is not None and parameter.default is not inspect.Parameter.empty
    return has_default and options.get(name, "") not in ("", "all")


def _python_docstring(function: Callable[..., Answer]) -> str:
    prose = (function.__doc__ or "").partition("Examples:\n")[0].rstrip()
    lines = [prose, "", "Parameters", "----------", SOURCE, *numpydoc_lines(function)]
    return "\n".join([*lines, "", "Returns", "-------", "DataFrame", "    A row for each record."])


def _frame(answer: Answer) -> DataFrame:
    """Convert an answer's records to a frame; numeric columns may have missing values."""
    frame = DataFrame(answer.records)
    for name in frame.columns:
        values = {type(record[name]) for record in answer.records}
        if values <= {float, type(None)}:
            frame[name] = frame[name].astype("float64")
        elif values == {int, type(None)}:
            frame[name] = frame[name].astype("Int64")
    units = {name: unit(name) for name in frame.columns}
    frame.attrs |= {"units": units, **answer.facts, "summary": answer.summary}
    frame.attrs["absent"] = [absence._asdict() for absence in answer.absent]
    return frame


def _summary(
    source: RowSource,
    *,
    metrics: Annotated[str, METRICS] = "all",
    common: Annotated[bool, COMMON] = False,
    average: Annotated[str, AVERAGE] = "per_image",
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Return the means of each codec variant and setting, lowest rate first.

    A record has ``bpp``, the number of images, and means; each is followed by its number of images,
    ``<metric>_images``. Metrics without values are omitted.
    """
    names = metric_names(metrics)
    dataset_results = read_with_anchor(
        source, "all", names, common=common, pooled=average == "pooled", allow_few=allow_few
    )
    means = dataset_results.summary
    columns = [metric_class(name).column for name in names]
    empty_columns = {
        f"{column}{suffix}"
        for column in columns
        if not means.count_values(column)
        for suffix in ("", "_images", "_infinite", *EXTRA_SUFFIXES)
    }
    records = [
        {name: value for name, value in record.items() if name not in empty_columns}
        for record in means.flat_records()
    ]
    facts = {**dataset_results.facts, "meanings": {"bpp": RATE_MEANINGS[average]}}
    return Answer(records, (), absent=means.absent, facts=facts)


def _bd_rate(
    source: RowSource,
    anchor: Annotated[str, ANCHOR],
    metric: Annotated[str, METRIC] = "psnr",
    *,
    rule: Rule,
    common: Annotated[bool, COMMON] = False,
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Return the Bjøntegaard deltas of every codec variant relative to an anchor.

    They are computed as in `bench report`: on Pareto fronts of at least four points (with at most
    one in five points below), by interpolation of the log rate. Raises `UnknownName`.

    One record per codec variant. ``bd_rate_percent`` compares mean curves (negative: fewer bits),
    ``images_bd_rate_percent`` the mean of per-image ones; ``_low`` and ``_high`` are ends of 95 %
    intervals over resampled images. ``bd_rate_overlap`` (0 to 1) is the share of qualities that
    both curves span, ``bd_metric`` the mean difference at equal rate (FID, KID, FD: in percent).
    ``points_left_out`` names points below the front; ``few`` marks distribution metrics over fewer
    than 50 images. Missing values are NaN, with a ``reason``.
    """
    (name,) = metric_names([metric])
    dataset_results = read_with_anchor(
        source, "all", (name,), anchor=anchor, common=common, allow_few=allow_few
    )
    means, compared_metric = dataset_results.summary, Metric.named(name)
    spec = find_variant(anchor, means.editions)
    if not means.count_values(compared_metric.column):
        reason = remedies(
            [name], means.absence_reason(compared_metric.column), means.rescore_command
        )
        raise UsageError(f"no row has {compared_metric.label}: {reason}")
    reference = next(edition for edition in means.editions if edition.spec == spec)
    comparisons = compare(means, [compared_metric], reference, rule)
    columns = bd_columns([compared_metric])
    return Answer(
        [*comparisons.values()], columns, absent=means.absent, facts=dataset_results.facts
    )


summary = make_function(_summary)
bd_rate = make_function(_bd_rate)
rank = make_function(ranking)
match = make_function(matching.match)
tradeoff = make_function(trading.tradeoff)


@flatten
def plot(
    source: Rows,
    metric: str = "psnr",
    *,
    look: Look,
    ax: "Axes | None" = None,
    codecs: str = "all",
    bundled: str = "",
    anchor: str = "",
    images: Annotated[tuple[str, ...], IMAGES] = (),
    common: bool = False,
    allow_few: bool = False,
) -> "Axes":
    """Draw a metric against bits per pixel: at most eight curves, one per codec variant.

    As in `bench report`, points over other images than the rest are excluded. Raises
    `UsageError` if no point can be drawn, and for invalid options.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of a dataset from `load`, or an argument of `load`.
    metric : str
        Name of a metric.
    ax : matplotlib Axes, optional
        Axes to draw on, whose fonts are kept; default: a new pyplot figure with a legend below.
    codecs, bundled, anchor : str
        Codecs of a folder to draw, as in `load`.
    common, allow_few : bool
        As in `summary`.
    {parameters}
    """
    import matplotlib.pyplot as plt

    (name,) = metric_names([metric])
    plotted_metric = Metric.named(name)
    anchor = anchor or (source.attrs.get("anchor", "") if isinstance(source, DataFrame) else "")
    dataset_results = read_with_anchor(
        source_of(source), codecs, (name,), anchor=anchor, fall_back=True, bundled=bundled,
        common=common, allow_few=allow_few, images=images,
    )  # fmt: skip
    means = dataset_results.summary
    with use_look(look):
        look.check(means.editions)
        curve_sets = rename_curves([measured_curves(means, plotted_metric)])
        panels = pick_curves(curve_sets, USUAL_RULE, dataset_results.anchor.spec).select(curve_sets)
        if not panels:
            reason = remedies(
                [name], means.absence_reason(plotted_metric.column), means.rescore_command
            )
            raise UsageError(f"no point of {plotted_metric.label} can be drawn: {reason}")
        curve_styles = styles(means.editions)
        if ax is not None:
            draw_panel(ax, panels[0], curve_styles)
            for text in ax.legend(fontsize="x-small", frameon=False).get_texts():
                text.set_parse_math(False)
            return ax
        with figure_style():
            size = WIDTHS[look.width or "page"], HEIGHT_INCHES
            figure, axes = plt.subplots(figsize=size, layout="constrained")
            lines = draw_panel(axes, panels[0], curve_styles)
            add_legend(figure, [handle for _, handle in lines], curves_note(panels[0]))
    return axes
