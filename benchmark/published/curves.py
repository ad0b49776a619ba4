"""Rate curves of published points, and which of them may be beside measured ones."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from benchmark.compare.system_curve import CurvePoint, SystemCurve, up_to
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.points import ANY_DATASET, PublishedPoint, curve_name, slug
from benchmark.registry import UNSTATED
from benchmark.rows.summary import Summary, images_in
from benchmark.rows.systems import OURS, PAPER_SYSTEMS, SYSTEMS, System
from benchmark.system.text import by_key

STYLE_LABELS = {variant: system.label for system in SYSTEMS for variant in system.published}
SAME_RATE = 1.04  # two sources of one point: the first of them is kept
DIAL = re.compile(r"\w+(=[\d.]+| sweep)")  # variants of one network at choices of realism
PARTS = ("professional", "mobile")  # of clic2020, where sources have means of these alone


def published_curves(
    points: Iterable[PublishedPoint], dataset: str, metric: Metric
) -> list[SystemCurve]:
    """Return a dataset's curves of published points, in the order of the csv.

    A curve is a variant under a protocol from a source; its `System` has that variant alone.
    """
    name_of = metric.published or metric.column
    groups = by_key(
        ((p.system, p.variant, p.protocol, p.kind, p.how, p.source), p)
        for p in points
        if p.dataset in (dataset, ANY_DATASET) and p.metric == name_of and p.kind != "step"
    )
    result = []
    for (name, variant, *_), group in groups.items():
        names = curve_name(name, variant), style_label(name, variant)
        system = System(*names, published=((name, variant),))
        result.append(published_curve(system, metric, group, dataset))
    return result


def main_curves(points: Iterable[PublishedPoint]) -> list[PublishedPoint]:
    """Return the points of each system's main variant on a dataset in a metric.

    It is the one that this project compares its own rows with, else the one without a name, that
    for squared error, or the first of the registry; of program versions the latest. All choices of
    realism of one network are its main curve.
    """
    result = []
    for of_one in by_key(((p.slug, p.dataset, p.metric), p) for p in points).values():
        main = min(dict.fromkeys((p.system, p.variant) for p in of_one), key=_place)[1]
        dial = bool(DIAL.fullmatch(main))
        result += [p for p in of_one if p.variant == main or (dial and DIAL.fullmatch(p.variant))]
    return result


def _place(curve: tuple[str, str]) -> tuple[int, bool, bool, float]:
    """Return the place of a system's variant among others: the main one comes first."""
    variant, plotted = curve[1], [*STYLE_LABELS]
    version = re.match(r"version (\d+)", variant)
    newest = -float(version[1]) if version else 0.0
    trained_on = re.search(r"\bmse\b", variant)
    return (
        plotted.index(curve) if curve in plotted else len(plotted),
        bool(variant),
        not trained_on,
        newest,
    )


def published_curve(
    system: System, metric: Metric, points: Sequence[PublishedPoint], dataset: str
) -> SystemCurve:
    """Return the curve of a system through published points."""
    images = profile(dataset).published_images
    names = [name for name in CurvePoint._fields if name not in ("images", "interval")]
    result = [
        CurvePoint(**{name: getattr(point, name) for name in names}, images=images)
        for point in sorted(points, key=lambda point: point.bpp)
    ]
    is_sampled = any(point.kind == "sample" for point in points)
    return SystemCurve(metric, system, tuple(result), sampled=is_sampled)


def style_label(system: str, variant: str) -> str:
    """Return the label that a published variant's style goes by: that of its system, if known.

    >>> style_label("VTM", "CompressAI"), style_label("CRDR", "beta=2"), style_label("TCM", "")
    ('vtm', 'crdr:beta=2', 'tcm:variant=')
    >>> style_label("WebP", "")  # of another program than the table's
    'webp:variant='
    """
    option = variant if "=" in variant else f"variant={slug(variant) if variant else ''}"
    return STYLE_LABELS.get((system, variant)) or f"{slug(system)}:{option}"


class OtherMeans(UsageError):  # noqa: N818 - reads as what happened
    """Measured means that published ones cannot be beside."""


class Overlay(NamedTuple):
    """Published curves under one metric, by whether they may be beside its measured rows."""

    compatible: tuple[SystemCurve, ...]
    refused: tuple[SystemCurve, ...]  # of another protocol


def overlay(
    curves: Sequence[SystemCurve], metric: Metric, protocol: str = "", mix: bool = False
) -> Overlay:
    """Separate curves that may be beside the measured rows from those of other protocols.

    protocol: of the rows; empty: there are none, and the first curve's counts. Protocols that
    `metric.meets` names fit, but beside rows only those of a distortion: of LPIPS and FID another
    back end decides. Those of a user's own file, whose protocol is not stated, are beside any. With
    `mix` all are compatible.
    """
    first = [curve.protocol for curve in curves[:1]]
    rules = {UNSTATED, *([protocol] if protocol else first)}
    if not protocol or metric.kind == "distortion":
        rules |= {*metric.meets}
    fits = [curve for curve in curves if mix or curve.protocol in rules]
    return Overlay(tuple(fits), tuple(curve for curve in curves if curve not in fits))


def overlays(
    points: Sequence[PublishedPoint],
    summary: Summary | None,
    metrics: Sequence[Metric],
    dataset: str,
    mix: bool,
) -> dict[str, Overlay]:
    """Return the overlay of every metric that has values, by column.

    summary: of the measured rows; None where there are none.

    Raises `OtherMeans`, and `UsageError` where a system can be plotted under no metric but by
    mixing protocols, which was not asked for.
    """
    result = {
        metric.column: overlay(
            published_curves(points, dataset, metric),
            metric,
            summary.protocols[metric.column] if summary else "",
            mix,
        )
        for metric in metrics
        if summary is None or summary.values_of(metric.column)
    }
    for metric in metrics:
        if summary and any(result.get(metric.column, ())):
            images = images_in(summary, metric)
            of = "" if images == summary.images else f" of {metric.label}"
            check_same_images(dataset, images, summary.pooled, of)
    methods = {curve.method for of_column in result.values() for curve in of_column.compatible}
    for column, of_column in result.items():
        for curve in of_column.refused:
            if curve.method not in methods:
                others = summary.protocols[column] if summary else "another rule"
                raise UsageError(
                    f"{curve.system.name} cannot be beside the others: its {column} is by "
                    f"{curve.protocol}, theirs by {others}; --mix-protocols draws both, and "
                    "the figure says so"
                )
    return result


def left_out(
    points: Iterable[PublishedPoint], overlaid: Mapping[str, Overlay], dataset: str
) -> list[str]:
    """Return a sentence for each metric and protocol left out, and on systems without any points.

    `points` are those asked for.
    """
    refused: dict[tuple[str, str], dict[str, None]] = {}
    for column, of_column in overlaid.items():
        for curve in of_column.refused:
            refused.setdefault((column, curve.protocol), {})[curve.system.name] = None
    methods = {c.method for of_column in overlaid.values() for curves in of_column for c in curves}
    absent = dict.fromkeys(point.system for point in points if point.system not in methods)
    sentences = [
        f"not drawn: published {column} of {', '.join(names)}: {protocol} is another rule than "
        "that of the others (--mix-protocols draws them)"
        for (column, protocol), names in refused.items()
    ]
    if absent:
        sentences.append(f"nothing published on {dataset} in these metrics: {', '.join(absent)}")
    return sentences


def check_same_images(dataset: str, images: int, pooled: bool, of: str = "") -> None:
    """Raise `OtherMeans` where measured means are over other images or averages than published.

    of: the words " of METRIC".
    """
    published = profile(dataset).published_images or images
    if published != images:
        raise OtherMeans(
            f"published means{of} over {dataset} are of {published} images, these results are of "
            f"{images}: they cannot be compared."
        )
    if pooled:
        raise OtherMeans("published rates are means of each image's bpp: leave out --pooled.")


def paper_curves(
    metric: Metric,
    dataset: str,
    here: Sequence[SystemCurve],
    points: Sequence[PublishedPoint],
    up_to_bpp: float,
) -> list[SystemCurve]:
    """Return every system of the paper that has points below a rate, in the order of the table.

    here: the `measured_curves` of the dataset. A measured curve takes the place of a published one
    of the same codec, except our method's, whose published points are of another network, and those
    of the other methods that were trained here. Measured means over other images than published
    ones and published points of a protocol that is not in `metric.meets` are left out.
    """
    published, curves = profile(dataset).published_images, []
    whole = {of.system.label: of for of in here if published in (None, of.points[0].images)}
    for system in PAPER_SYSTEMS:
        another = system.budget and system.published  # the network measured here is not that one
        measured = None if another else whole.get(system.label)
        if measured is None or system.group == OURS:  # beside another network of the method
            curves.append(_published(system, metric, dataset, points))
        curves.append(measured and measured._replace(system=system))
    return up_to(filter(None, curves), up_to_bpp)


def whole_set(points: Iterable[PublishedPoint], dataset: str) -> list[PublishedPoint]:
    """Return means over a whole dataset of which a source has the parts alone.

    The i-th point of one part goes with the i-th of the other: both are the codec's i-th setting.
    The mean over all images is the mean of the two weighted by their images, and exactly so for
    rates, which are means of each image's too. Parts that do not match give nothing.
    """
    points = list(points)
    parts = [
        sorted((p for p in points if p.dataset == f"{dataset}:{part}"), key=lambda p: p.bpp)
        for part in PARTS
    ]
    if len(parts[0]) != len(parts[1]):
        return []
    weights = [profile(f"{dataset}:{part}").published_images or 0 for part in PARTS]

    def mean(*numbers: float) -> float:
        return sum(w * n for w, n in zip(weights, numbers, strict=True)) / sum(weights)

    note = f"mean of {' and '.join(PARTS)}, weighted {weights[0]}:{weights[1]}"
    return [
        msgspec.structs.replace(
            first,
            dataset=dataset,
            bpp=mean(first.bpp, second.bpp),
            value=mean(first.value, second.value),
            note="; ".join(filter(None, [first.note, note])),
            reference=f"{first.reference}; {second.reference}",
        )
        for first, second in zip(*parts, strict=True)
        if first.setting == second.setting
    ]


def _published(
    system: System, metric: Metric, dataset: str, points: Sequence[PublishedPoint]
) -> SystemCurve | None:
    """Return the curve of a system's first variant with points.

    Of two sources' points at one rate, the first of the csv is kept.
    """
    name = metric.published or metric.column
    for variant in system.published:
        of_variant = [
            p for p in points
            if (p.system, p.variant) == variant and p.metric == name
            and p.kind != "step" and p.protocol in metric.meets
        ]  # fmt: skip
        kept: list[PublishedPoint] = []
        for p in [p for p in of_variant if p.dataset == dataset] or whole_set(of_variant, dataset):
            if not any(
                other.source != p.source
                and max(other.bpp, p.bpp) <= SAME_RATE * min(other.bpp, p.bpp)
                for other in kept
            ):
                kept.append(p)
        if kept:
            return published_curve(system, metric, kept, dataset)
    return None
