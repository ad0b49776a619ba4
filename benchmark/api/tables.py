"""Means, deltas, ranks and matches of stored rows as data frames, and their curves on axes."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from pandas import DataFrame

from benchmark.api.rows import Source, load, shown, summarised, unit
from benchmark.compare.bd import compare
from benchmark.compare.match import matches, parse_tolerance
from benchmark.compare.panel import anchor_among, measured_panel
from benchmark.compare.rank import RATE, Budget, parse_target, rank_at
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.metrics.reasons import remedies
from benchmark.option import arguments
from benchmark.registry import METRICS, metric_named
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import named_images
from benchmark.rows.summary import Average, Summary
from benchmark.rows.systems import find_label
from benchmark.show.bd_tables import bd_records
from benchmark.show.figures.choice import choose
from benchmark.show.figures.rate_curve import draw_panel
from benchmark.show.figures.style import WIDTHS, Look, drawn_as, figure_style, styles
from benchmark.show.figures.texts import add_legend
from benchmark.show.sections import panels_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 4.0  # of a new figure, with the legend below the axes
NUMBERS = "_percent", "_overlap", "_bpp"  # ends of columns of `bd_rate` that are numbers
EXTRA = "_of_mean_mse", "_few"  # ends of columns that some metrics have
RATES = {
    "per_image": "mean of the images' own bits per pixel",
    "pooled": "all bits over all pixels",
}


def summary(
    source: Source,
    *,
    metrics: str | Sequence[str] = "all",
    common: bool = False,
    average: Average = "per_image",
    allow_few: bool = False,
) -> DataFrame:
    """Return the means of each codec variant at each setting, with the number of images of each.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load` (any selection of them), or what `load` takes.
    metrics : str or sequence of str
        Metrics to summarise; those without any value are left out.
    common : bool
        Restrict all means to the images that every codec and setting has.
    average : {"per_image", "pooled"}
        Mean of each image's bits per pixel, or all bits over all pixels.
    allow_few : bool
        Also compute distribution metrics of fewer than 50 images.

    Returns
    -------
    DataFrame
        One row per codec variant and setting, lowest rate first: ``bpp``, the number of images,
        and each mean followed by ``<metric>_images``, the number of images in it; NaN where there
        is no value. ``attrs`` has the units, what ``bpp`` averages (``meanings``), the protocols in
        use, the number of images compared, and what is ``absent``, with reasons.
    """
    names = metric_names(metrics)
    result = summarised(source, names, common, average, allow_few)
    columns = [metric_named(name).column for name in names]
    without = [
        f"{column}{end}"
        for column in columns
        if not result.values_of(column)
        for end in ("", "_images", "_infinite", *EXTRA)
    ]
    means = _frame(result.for_machines(), {"bpp", *result.points[0].means}, result)
    attrs = {
        "meanings": {"bpp": RATES[average]},
        "absent": [lacking._asdict() for lacking in result.absent],
        "machine": result.machine,
    }
    means = means.drop(columns=without, errors="ignore")
    means.attrs |= {**attrs, "units": {name: unit(name) for name in means.columns}}
    return means


def _frame(records: list[dict[str, Any]], numbers: Container[str], of: Summary) -> DataFrame:
    """Return records as a frame, columns of `numbers` as float64 even if they have None alone."""
    frame = DataFrame(records)
    frame = frame.astype({name: "float64" for name in frame.columns if name in numbers})
    frame.attrs = {
        "units": {name: unit(name) for name in frame.columns},
        "protocols": of.protocols_in_use,
        "images": of.images,
    }
    return frame


def bd_rate(
    source: Source,
    anchor: str,
    metric: str = "psnr",
    *,
    up_to_bpp: float | None = None,
    any_overlap: bool = False,
    common: bool = False,
    allow_few: bool = False,
) -> DataFrame:
    """Return the Bjøntegaard deltas of every codec variant relative to an anchor.

    Computed as in `bench report`: Pareto fronts, Akima interpolation of the logarithmic rate (PCHIP
    where a curve has three points), at most one in five points off the front. Raises `UnknownName`
    if there is no such metric, or the anchor has no rows.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        As in `summary`.
    anchor : str
        Codec variant to compare with: its name in `summary`, or its spec.
    metric : str
        Name of a metric.
    up_to_bpp : float, optional
        Cut all curves at this rate first.
    any_overlap : bool
        Also compare curves that share less than a third of the qualities they span together.
    common, allow_few : bool
        As in `summary`.

    Returns
    -------
    DataFrame
        One row per codec variant. ``bd_rate_percent`` is of the mean curves (negative: fewer bits
        at equal quality), ``images_bd_rate_percent`` the mean over single images, with median and
        quartiles; ``_low`` and ``_high`` are ends of 95 % intervals over resampled images.
        ``bd_rate_overlap`` (0 to 1) is the share of qualities that both curves span, ``bd_metric``
        the mean difference of the metric at equal rate (of FID, KID and FD in percent: these are
        compared by their logarithm), ``points_left_out`` names points off the Pareto front,
        ``three_points`` marks curves that have no more, ``few`` distribution metrics of under 50
        images. What cannot be computed is NaN, with its ``reason``.
    """
    (name,) = metric_names([metric])
    result = summarised(source, (name,), common, "per_image", allow_few, anchor=anchor)
    label, compared = find_label(anchor, result.labels), Metric.named(name)
    if not result.values_of(compared.column):
        why = remedies([name], result.why_without(compared.column), result.again)
        raise UsageError(f"no row has {compared.label}: {why}")
    records = bd_records(compare(result, compared, label, up_to_bpp, any_overlap), up_to_bpp)
    names = records[0] if records else ()
    numbers = {name for name in names if name.endswith(NUMBERS) or name == "bd_metric"}
    return _frame(records, numbers, result)


def match(
    source: Source, codec: str, against: str, metric: str = "psnr", *, tolerance: str | float = 0.1
) -> DataFrame:
    """Return ratios of two codecs over pairs of streams that match in one metric.

    Each stream of an image is paired with the nearest one of the other codec, if their values
    differ by no more than the tolerance, and is in one pair at most, as in codec-compare. Raises
    `UnknownName` or `UsageError` for a metric, codec or tolerance that does not allow it.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        As in `summary`.
    codec, against : str
        Codecs as in `run`, such as ``"ours"``, or names of variants in `summary`.
    metric : str
        Name of the metric of single images that has to match.
    tolerance : float or str
        Largest difference of matched values: a number in the metric's units (MS-SSIM in dB), or
        "1%" of the larger value.

    Returns
    -------
    DataFrame
        One row per pair of variants. ``bytes_ratio`` is the geometric mean over pairs of the bytes
        of `codec` to those of `against`; ``<metric>_ratio`` likewise, and ``<metric>_difference``
        the mean difference of metrics that are better when higher (MS-SSIM in dB);
        ``encode_seconds_ratio`` and ``decode_seconds_ratio`` are of pairs timed alone on one
        machine. Each is followed by both ends of its 95 % interval over images and by its number of
        pairs. ``images``, ``images_without_match``, ``pairs`` and ``..._streams_without_match`` are
        counts. Without a pair, numbers are NaN.
    """
    names = tuple(dict.fromkeys((*METRICS, *metric_names([metric]))))
    both = f"{codec},{against}"
    summary = summarised(source, names, False, "per_image", False, codecs=both)
    pairs = matches(summary, codec, against, metric, parse_tolerance(str(tolerance)))
    records = [match.for_machines() for match in pairs]
    ratios = [name for name in records[0] if "_ratio" in name or "_difference" in name]
    table = _frame(records, [name for name in ratios if not name.endswith("_pairs")], summary)
    table.attrs = {"protocols": summary.protocols_in_use, "machine": summary.machine}
    return table


def rank(
    source: Source,
    at: str | Sequence[str] = "bpp=0.3",
    *,
    metrics: str | Sequence[str] = "psnr,lpips_squeeze",
    codecs: str = "all",
    bundled: str = "",
    anchor: str = "",
    budget: Budget = "image",
    common: bool = False,
    allow_few: bool = False,
) -> DataFrame:
    """Return the codec variants at a rate or at a value of a metric, the best first.

    Each image's Pareto front is interpolated as in BD-rates; nothing is extrapolated. Raises
    `UsageError` if a target is no rate or value, or a metric is of a whole set and `budget` is
    "image".

    Parameters
    ----------
    source : DataFrame, path or Outcome
        As in `summary`.
    at : str or sequence of str
        What to compare at: ``"bpp=0.3"``, ``"psnr=32"``, ``"lpips_squeeze=0.15"``.
    metrics : str or sequence of str
        Metrics to return; at a rate, the first one ranks.
    codecs, bundled, anchor : str
        Of a folder, which codecs to rank, as in `load`.
    budget : {"image", "set"}
        Whether each image has the rate or value, or all images together with one setting.
    common, allow_few : bool
        Compare on the images that all codecs reach, not on those that most do; as in `summary`.

    Returns
    -------
    DataFrame
        One row per target (``at``) and codec variant, which is ``bundled`` or not. ``rank`` is
        missing where not all ``images`` that are compared reach the target (``images_reached`` do).
        ``bpp`` and metrics are means over images with their 95 % intervals; ``to_best`` is the
        difference from the best codec, at a rate of the first metric, else of the rate in percent,
        with its interval over images in pairs and ``images_better``, those in which this codec is
        better. Seconds are of an image, measured here, or typical ones per megapixel, as declared.
        What is not known is NaN.
    """
    names, texts = metric_names(metrics), [at] if isinstance(at, str) else at
    targets = [parse_target(text) for text in texts]
    asked = dict.fromkeys((*names, *(target.name for target in targets if target.name != RATE)))
    rows = shown(source, codecs=codecs, bundled=bundled, anchor=anchor)
    of_set = common and budget == "set"  # else by image, of any setting
    result = summarised(rows, tuple(asked), of_set, "per_image", allow_few)
    shown_metrics = [Metric.named(name) for name in names]
    records = [
        codec.record(shown_metrics)
        for target in targets
        for codec in rank_at(result, target, shown_metrics, budget, common)
    ]
    others = {"at", "rank", "codec", "bundled", "images", "images_reached"}
    return _frame(records, set(records[0]) - others, result).astype({"rank": "Int64"})


@arguments(Look)
def plot(
    source: Source,
    metric: str = "psnr",
    *,
    ax: "Axes | None" = None,
    codecs: str = "all",
    bundled: str = "",
    anchor: str = "",
    common: bool = False,
    allow_few: bool = False,
    **options: Any,
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

    look = Look.of(**options)
    (name,) = metric_names([metric])
    shown_metric = Metric.named(name)
    rows = shown(source, codecs=codecs, bundled=bundled, anchor=anchor)
    frame = rows if isinstance(rows, DataFrame) else load(rows)
    if look.images:
        frame = frame[frame["image"].isin(named_images(sorted(set(frame["image"])), look.images))]
    result = summarised(frame, (name,), common, "per_image", allow_few)
    with drawn_as(look):
        look.check(result.labels)
        panel = measured_panel(result, shown_metric)
        known = str(frame.attrs.get("anchor") or anchor_among(result).label)
        panels = choose([panel], known).of([panel])
        if not panels:
            why = remedies([name], result.why_without(shown_metric.column), result.again)
            raise UsageError(f"no point of {shown_metric.label} can be drawn: {why}")
        styled = styles(result.labels)
        if ax is not None:
            draw_panel(ax, panels[0], styled, look.linear_rate)
            for text in ax.legend(fontsize="x-small", frameon=False).get_texts():
                text.set_parse_math(False)
            return ax
        with figure_style():
            size = WIDTHS[look.width or "page"], HEIGHT_INCHES
            figure, axes = plt.subplots(figsize=size, layout="constrained")
            lines = draw_panel(axes, panels[0], styled, look.linear_rate)
            add_legend(figure, [handle for _, handle in lines], panels_note(panels))
    return axes
