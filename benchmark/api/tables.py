"""Answers of questions about stored rows as data frames, and curves on axes."""

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
from benchmark.compare.anchor import read_compared
from benchmark.compare.bd import compare
from benchmark.compare.experiment import IMAGES
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.compare.system_curve import measured_curves
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, remedies
from benchmark.option import (
    ALLOW_FEW,
    COMPARED,
    MANNER,
    METRICS,
    documented,
    flat,
    opt,
)
from benchmark.registry import metric_class
from benchmark.rows.names import find_variant
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import Source
from benchmark.show.bd_rates import bd_columns
from benchmark.show.figures.choice import choose, renamed
from benchmark.show.figures.rate_curve import draw_panel
from benchmark.show.figures.style import WIDTHS, Look, drawn_as, figure_style, styles
from benchmark.show.figures.texts import add_legend
from benchmark.show.ranks import rank as ranking
from benchmark.show.sections import curves_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 4.0  # of a new figure, with the legend below the axes
EXTRA = "_of_mean_mse", "_few"  # ends of columns that some metrics have
RATES = {
    "per_image": "mean of the images' own bits per pixel",
    "pooled": "all bits over all pixels",
}
CHOSEN = "codecs", "bundled", "anchor"  # options that choose among the rows of a folder
SOURCE = """source : DataFrame, path or Outcome
    Rows of one dataset, from `load` (any selection of them), or what `load` takes."""
COMMON = opt(MANNER, "Restrict all means to the images that every codec and setting has.")
AVERAGE = opt(MANNER, "Rate: 'per_image', the mean of the images' own bits per pixel, or 'pooled'.")
ANCHOR = opt(COMPARED, "Codec variant to compare with: its name in `summary`, or its spec.")
METRIC = opt(COMPARED, "Name of a metric.")


def as_function(question: Callable[..., Answer]) -> Callable[..., DataFrame]:
    """Return the function of Python that asks a question: its records as a frame.

    Lists stand for comma-separated texts. `attrs` has the units of the columns, the facts of the
    answer, its summary, and what is absent, with reasons.
    """
    asked = flat(question)
    signature = inspect.signature(asked)

    @wraps(question)
    def ask(*args: Any, **options: Any) -> DataFrame:
        bound = signature.bind(*args, **options)
        named = [name for name in CHOSEN if _chosen(signature, name, options)]
        if named and not isinstance(bound.arguments["source"], str | Path):
            what = " and ".join(named)
            raise UsageError(f"{what} can be chosen of a folder: name one, or give them to `load`")
        rows = bound.arguments["source"]
        bound.arguments["source"] = source_of(rows)
        frame = _frame(asked(*bound.args, **bound.kwargs))
        if isinstance(rows, DataFrame):  # what `load` left out is in no row of it
            frame.attrs["absent"] = [*rows.attrs.get("absent", []), *frame.attrs["absent"]]
        return frame

    ask.__doc__ = _documented(asked)
    ask.__annotations__ = {**question.__annotations__, "return": DataFrame}
    return ask


def _chosen(signature: inspect.Signature, name: str, options: dict[str, Any]) -> bool:
    """Return whether an option that has a default was given another value."""
    known = signature.parameters.get(name)
    has_default = known is not None and known.default is not inspect.Parameter.empty
    return has_default and options.get(name, "") not in ("", "all")


def _documented(asked: Callable[..., Answer]) -> str:
    """Return a question's docstring for Python: with its parameters in the form of numpydoc."""
    prose = (asked.__doc__ or "").partition("Examples:\n")[0].rstrip()
    lines = [prose, "", "Parameters", "----------", SOURCE, *documented(asked)]
    return "\n".join([*lines, "", "Returns", "-------", "DataFrame", "    A row for each record."])


def _frame(answer: Answer) -> DataFrame:
    """Return the records of an answer as a frame; numbers are float64 though they be absent."""
    frame = DataFrame(answer.records)
    for name in frame.columns:
        values = {type(record[name]) for record in answer.records}
        if values <= {float, type(None)}:
            frame[name] = frame[name].astype("float64")
        elif values == {int, type(None)}:
            frame[name] = frame[name].astype("Int64")
    units = {name: unit(name) for name in frame.columns}
    frame.attrs |= {"units": units, **answer.facts, "summary": answer.summary}
    frame.attrs["absent"] = [lacking._asdict() for lacking in answer.absent]
    return frame


def _summary(
    source: Source,
    *,
    metrics: Annotated[str, METRICS] = "all",
    common: Annotated[bool, COMMON] = False,
    average: Annotated[str, AVERAGE] = "per_image",
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Return the means of each codec variant at each setting, with the number of images of each.

    A record is a codec variant and setting, lowest rate first: ``bpp``, the number of images, and
    each mean followed by ``<metric>_images``, the number of images in it. Metrics without any value
    are left out.
    """
    names = metric_names(metrics)
    stored = read_compared(
        source, "all", names, common=common, pooled=average == "pooled", allow_few=allow_few
    )
    result = stored.summary
    columns = [metric_class(name).column for name in names]
    without = {
        f"{column}{end}"
        for column in columns
        if not result.values_of(column)
        for end in ("", "_images", "_infinite", *EXTRA)
    }
    records = [
        {name: value for name, value in record.items() if name not in without}
        for record in result.for_machines()
    ]
    facts = {**stored.facts, "meanings": {"bpp": RATES[average]}}
    return Answer(records, (), absent=result.absent, facts=facts)


def _bd_rate(
    source: Source,
    anchor: Annotated[str, ANCHOR],
    metric: Annotated[str, METRIC] = "psnr",
    *,
    rule: Rule,
    common: Annotated[bool, COMMON] = False,
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Return the Bjøntegaard deltas of every codec variant relative to an anchor.

    Computed as in `bench report`: Pareto fronts, interpolation of the logarithmic rate, at
    least four points, at most one in five points off the front. Raises `UnknownName`
    if there is no such metric, or the anchor has no rows.

    A record is a codec variant. ``bd_rate_percent`` is of the mean curves (negative: fewer bits at
    equal quality), ``images_bd_rate_percent`` the mean over single images, with median and
    quartiles; ``_low`` and ``_high`` are ends of 95 % intervals over resampled images.
    ``bd_rate_overlap`` (0 to 1) is the share of qualities that both curves span, ``bd_metric`` the
    mean difference of the metric at equal rate (of FID, KID and FD in percent: these are compared
    by their logarithm), ``points_left_out`` names points off the Pareto front,
    ``few`` marks distribution metrics of under 50 images. What cannot be
    computed is NaN, with its ``reason``.
    """
    (name,) = metric_names([metric])
    stored = read_compared(
        source, "all", (name,), anchor=anchor, common=common, allow_few=allow_few
    )
    result, compared = stored.summary, Metric.named(name)
    spec = find_variant(anchor, result.editions)
    if not result.values_of(compared.column):
        why = remedies([name], result.why_without(compared.column), result.again)
        raise UsageError(f"no row has {compared.label}: {why}")
    reference = next(edition for edition in result.editions if edition.spec == spec)
    comparisons = compare(result, [compared], reference, rule)
    columns = bd_columns([compared])
    return Answer([*comparisons.values()], columns, absent=result.absent, facts=stored.facts)


summary = as_function(_summary)
bd_rate = as_function(_bd_rate)
rank = as_function(ranking)
match = as_function(matching.match)
tradeoff = as_function(trading.tradeoff)


@flat
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
    """Draw a metric against bits per pixel, one curve per codec variant, in the report's style.

    At most eight curves are plotted. Points that are not over the same images as the others are
    left out, as in `bench report`. Raises `UsageError` if no point of the metric can be plotted, or
    an option has a value that it cannot take.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load`, or what `load` takes.
    metric : str
        Name of a metric.
    ax : matplotlib Axes, optional
        Axes to draw on, which keep their fonts; by default those of a new pyplot figure, with the
        legend below them.
    codecs, bundled, anchor : str
        Of a folder, which codecs to draw, as in `load`.
    common, allow_few : bool
        As in `summary`.
    {parameters}
    """
    import matplotlib.pyplot as plt

    (name,) = metric_names([metric])
    shown = Metric.named(name)
    anchor = anchor or (source.attrs.get("anchor", "") if isinstance(source, DataFrame) else "")
    stored = read_compared(
        source_of(source), codecs, (name,), anchor=anchor, instead=True, bundled=bundled,
        common=common, allow_few=allow_few, images=images,
    )  # fmt: skip
    result = stored.summary
    with drawn_as(look):
        look.check(result.editions)
        every = renamed([measured_curves(result, shown)])
        panels = choose(every, USUAL_RULE, stored.anchor.spec).of(every)
        if not panels:
            why = remedies([name], result.why_without(shown.column), result.again)
            raise UsageError(f"no point of {shown.label} can be drawn: {why}")
        styled = styles(result.editions)
        if ax is not None:
            draw_panel(ax, panels[0], styled)
            for text in ax.legend(fontsize="x-small", frameon=False).get_texts():
                text.set_parse_math(False)
            return ax
        with figure_style():
            size = WIDTHS[look.width or "page"], HEIGHT_INCHES
            figure, axes = plt.subplots(figsize=size, layout="constrained")
            lines = draw_panel(axes, panels[0], styled)
            add_legend(figure, [handle for _, handle in lines], curves_note(panels[0]))
    return axes
