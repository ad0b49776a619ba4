"""Rate curves of published points, and the rule for drawing them with measured curves."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from benchmark.compare.curve import Curve, CurvePoint, cut_curves, share_marks
from benchmark.compare.rule import Rule
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.facts import Facts
from benchmark.metrics.metric import Metric
from benchmark.published.points import ANY_DATASET, PublishedPoint, curve_name, realism_choice, slug
from benchmark.registry import UNSTATED
from benchmark.rows.edition import (
    CATALOGUE,
    OURS,
    PAPER_EDITIONS,
    Edition,
    Origin,
    find_in_catalogue,
)
from benchmark.rows.summary import Summary, count_images
from benchmark.spec import CodecSpec
from benchmark.system.text import group_by_key, listed

# Editions in the catalogue by (system, variant) of published points
EDITIONS = {variant: edition for edition in CATALOGUE for variant in edition.facts.published}
SAME_RATE = 1.04  # maximum ratio of rates that two sources state for the same point
ADJUSTABLE_REALISM = re.compile(r"\w+(=[\d.]+| sweep)")  # variants of one network
PARTS = ("professional", "mobile")  # of clic2020; some sources report means only of its parts


def published_curves(points: Iterable[PublishedPoint], dataset: str, metric: Metric) -> list[Curve]:
    """Return a dataset's curves, one per variant, protocol and source, in order of points."""
    metric_name = metric.published or metric.column
    groups = group_by_key(
        ((point.system, point.variant, point.protocol, point.kind, point.how, point.source), point)
        for point in points
        if point.dataset in (dataset, ANY_DATASET)
        and point.metric == metric_name
        and point.kind != "step"
    )
    result = []
    for (name, variant, *_), group in groups.items():
        origin: Origin = "file" if group[0].protocol == UNSTATED else "published"
        edition = published_edition(name, variant, origin)
        result.append(published_curve(edition, metric, group, dataset))
    return result


def main_points(points: Iterable[PublishedPoint]) -> list[PublishedPoint]:
    """Return the points of each system's main variant, by dataset and metric.

    The main variant is in the catalogue; otherwise it is the unnamed one, one trained for MSE, the
    latest version of a program, or the first. A network's levels of realism form one main curve.
    """
    result = []
    groups = group_by_key(((point.slug, point.dataset, point.metric), point) for point in points)
    for system_points in groups.values():
        variants = dict.fromkeys((point.system, point.variant) for point in system_points)
        _, main_variant = min(variants, key=_variant_rank)
        main_variants = {main_variant}
        if ADJUSTABLE_REALISM.fullmatch(main_variant):
            main_variants |= {v for _, v in variants if ADJUSTABLE_REALISM.fullmatch(v)}
        result += [point for point in system_points if point.variant in main_variants]
    return result


def _variant_rank(system_variant: tuple[str, str]) -> tuple[int, bool, bool, float]:
    variant, catalogue_variants = system_variant[1], [*EDITIONS]
    version = re.match(r"version (\d+)", variant)
    version_rank = -float(version[1]) if version else 0.0
    trained_for_mse = re.search(r"\bmse\b", variant)
    return (
        catalogue_variants.index(system_variant)
        if system_variant in catalogue_variants
        else len(catalogue_variants),
        bool(variant),
        not trained_for_mse,
        version_rank,
    )


def published_curve(
    edition: Edition, metric: Metric, points: Sequence[PublishedPoint], dataset: str
) -> Curve:
    """Return an edition's curve through published points."""
    num_images = profile(dataset).published_images
    names = [name for name in CurvePoint._fields if name not in ("images", "interval", "seeds")]
    result = [
        CurvePoint(**{name: getattr(point, name) for name in names}, images=num_images)
        for point in sorted(points, key=lambda point: point.bpp)
    ]
    is_sampled = any(point.kind == "sample" for point in points)
    return Curve(metric, edition, edition.facts.title, tuple(result), is_sampled)


def published_edition(system: str, variant: str, origin: Origin = "published") -> Edition:
    """Return the edition of a published variant, from the catalogue if that lists it.

    >>> edition = published_edition("VTM", "CompressAI")
    >>> edition.spec.text, edition.title
    ('vtm', 'VTM (CompressAI)')
    """
    title, catalogue_edition = curve_name(system, variant), EDITIONS.get((system, variant))
    facts = replace(
        catalogue_edition.facts if catalogue_edition else Facts(kind="learned"),
        title=title, method=system, choice=realism_choice(variant), published=((system, variant),),
    )  # fmt: skip
    option, _, value = variant.partition("=")
    spec_option = (option, value) if value else ("variant", slug(variant) if variant else "")
    spec = catalogue_edition.spec if catalogue_edition else CodecSpec(slug(system), (spec_option,))
    return Edition(spec, (title, 0), origin, facts)


def system_of(curve: Curve) -> str:
    """Return the name of a published curve's system."""
    return curve.edition.facts.published[0][0]


class MeansNotComparable(UsageError):  # noqa: N818 - as `NotComparable`
    """Measured means cannot be compared with published means."""


class Overlay(NamedTuple):
    """Published curves in a metric: those that may share a plot with measured ones, and others."""

    compatible: tuple[Curve, ...]
    incompatible: tuple[Curve, ...]  # with a different protocol


def compatible_protocols(
    protocols: Iterable[str], metric: Metric, measured_protocol: str = ""
) -> frozenset[str]:
    """Return the protocols that one plot may show, independent of the order of `protocols`.

    The protocols of `metric.meets` form one class, every other protocol has its own class, and the
    unstated protocol of a user's file belongs to all classes. The result is the class of measured
    rows (for a distortion, with `metric.meets`). Without rows, it is `metric.meets` if any curve
    has one of its protocols, else the most frequent protocol.
    """
    counts = Counter(protocols)
    stated_protocols = sorted(counts.keys() - {UNSTATED})
    comparable_protocols = {*metric.meets}
    if measured_protocol:
        is_distortion = metric.kind == "distortion"
        protocol_class = {measured_protocol, *(comparable_protocols if is_distortion else ())}
    elif comparable_protocols.isdisjoint(stated_protocols):
        protocol_class = {max(stated_protocols, key=counts.__getitem__, default=UNSTATED)}
    else:
        protocol_class = comparable_protocols
    return frozenset(counts.keys() & {UNSTATED, *protocol_class})


def overlay(
    curves: Sequence[Curve], metric: Metric, protocol: str = "", mix: bool = False
) -> Overlay:
    """Separate curves that one plot may show with rows of `protocol` ("": no rows) from others.

    With `mix`, all curves are compatible; those with different protocols get `Curve.other_rules`.
    """
    shared_protocols = compatible_protocols([curve.protocol for curve in curves], metric, protocol)
    if mix:
        other_rules = (
            () if curve.protocol in shared_protocols else (curve.protocol,) for curve in curves
        )
        marked_curves = (
            curve._replace(other_rules=rules)
            for curve, rules in zip(curves, other_rules, strict=True)
        )
        return Overlay(tuple(marked_curves), ())
    return Overlay(
        compatible=tuple(curve for curve in curves if curve.protocol in shared_protocols),
        incompatible=tuple(curve for curve in curves if curve.protocol not in shared_protocols),
    )


def overlays(
    points: Sequence[PublishedPoint],
    summary: Summary | None,
    metrics: Sequence[Metric],
    dataset: str,
    mix: bool,
) -> dict[str, Overlay]:
    """Return an overlay for every metric with values, by column.

    summary: None without measured rows. Raises `MeansNotComparable`, and `UsageError` for a system
    that cannot be plotted in any metric without `mix`.
    """
    result = {
        metric.column: overlay(
            published_curves(points, dataset, metric),
            metric,
            summary.protocols[metric.column] if summary else "",
            mix,
        )
        for metric in metrics
        if summary is None or summary.count_values(metric.column)
    }
    marked_panels = share_marks([panel.compatible for panel in result.values()])
    for (column, panel), curves in zip(result.items(), marked_panels, strict=True):
        result[column] = panel._replace(compatible=tuple(curves))
    for metric in metrics:
        if summary and any(result.get(metric.column, ())):
            num_images = count_images(summary, metric)
            metric_text = "" if num_images == summary.images else f" of {metric.label}"
            check_same_images(dataset, num_images, summary.pooled, metric_text)
    systems = {system_of(curve) for panel in result.values() for curve in panel.compatible}
    for column, panel in result.items():
        excluded_curves = {
            (c.title, c.protocol) for c in panel.incompatible if system_of(c) not in systems
        }
        if excluded_curves:
            names = listed([f"{title} ({rule})" for title, rule in sorted(excluded_curves)])
            rules = {curve.protocol for curve in panel.compatible} - {UNSTATED}
            protocol_text = summary.protocols[column] if summary else listed(sorted(rules))
            raise UsageError(
                f"{names} cannot share an axis with curves whose {column} has the protocol "
                f"{protocol_text}: --mix-protocols draws all, and marks curves with other protocols"
            )
    return result


def describe_excluded(
    points: Iterable[PublishedPoint], overlays_by_column: Mapping[str, Overlay], dataset: str
) -> list[str]:
    """Return a sentence per excluded metric and protocol, and one on systems without points."""
    titles: dict[tuple[str, str], dict[str, None]] = {}
    for column, panel in overlays_by_column.items():
        for curve in panel.incompatible:
            titles.setdefault((column, curve.protocol), {})[curve.title] = None
    curves = (curve for panel in overlays_by_column.values() for group in panel for curve in group)
    methods = {system_of(curve) for curve in curves}
    absent_systems = dict.fromkeys(point.system for point in points if point.system not in methods)
    sentences = [
        f"not drawn: published {column} of {', '.join(names)}: its protocol {protocol} differs "
        "from that of other curves (draw all with --mix-protocols)"
        for (column, protocol), names in titles.items()
    ]
    if absent_systems:
        sentences.append(
            f"without published values on {dataset} in these metrics: {', '.join(absent_systems)}"
        )
    return sentences


def check_same_images(dataset: str, num_images: int, pooled: bool, metric_text: str = "") -> None:
    """Raise `MeansNotComparable` if published means have different images or averages."""
    num_published_images = profile(dataset).published_images or num_images
    if num_published_images != num_images:
        raise MeansNotComparable(
            f"published means{metric_text} on {dataset} are over {num_published_images} images, "
            f"these results over {num_images}: they cannot be compared."
        )
    if pooled:
        raise MeansNotComparable("published rates are means of per-image bpp: omit --pooled.")


def paper_curves(
    metric: Metric,
    dataset: str,
    measured_curves: Sequence[Curve],
    points: Sequence[PublishedPoint],
    up_to_bpp: float,
) -> list[Curve]:
    """Return curves of the paper's systems with points below a rate, in the order of its table.

    A measured curve replaces the published curve of its codec, unless a different network was
    measured here. Measured means over other images than the published means, and published points
    whose protocol is not in `metric.meets`, are excluded.
    """
    num_published_images, curves = profile(dataset).published_images, []
    complete_curves = {
        find_in_catalogue(curve.spec): curve
        for curve in measured_curves
        if num_published_images in (None, curve.points[0].images)
    }
    for edition in PAPER_EDITIONS:
        facts = edition.facts
        is_retrained = facts.budget and facts.published  # it is not the published network
        measured = None if is_retrained else complete_curves.get(edition)
        if measured is None or facts.group == OURS:  # our method was measured with other networks
            curves.append(_first_published_curve(edition, metric, dataset, points))
        if measured:
            curves.append(measured._replace(title=facts.title, group=facts.group))
    return cut_curves(filter(None, curves), Rule(up_to_bpp=up_to_bpp))


def combine_parts(points: Iterable[PublishedPoint], dataset: str) -> list[PublishedPoint]:
    """Combine published means of a dataset's parts, weighted by numbers of images.

    Points are paired in order of rate. If the numbers of points differ, the list is empty.
    """
    points = sorted(points, key=lambda point: point.bpp)
    groups = [[point for point in points if point.dataset == f"{dataset}:{part}"] for part in PARTS]
    if len(groups[0]) != len(groups[1]):
        return []
    weights = [profile(f"{dataset}:{part}").published_images or 0 for part in PARTS]

    def mean(*numbers: float) -> float:
        terms = (weight * number for weight, number in zip(weights, numbers, strict=True))
        return sum(terms) / sum(weights)

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
        for first, second in zip(*groups, strict=True)
        if first.setting == second.setting
    ]


def _first_published_curve(
    edition: Edition, metric: Metric, dataset: str, points: Sequence[PublishedPoint]
) -> Curve | None:
    """Return the curve of an edition's first variant that has points, without duplicate rates."""
    name = metric.published or metric.column
    for variant in edition.facts.published:
        variant_points = [
            point for point in points
            if (point.system, point.variant) == variant and point.metric == name
            and point.kind != "step" and point.protocol in metric.meets
        ]  # fmt: skip
        dataset_points = [point for point in variant_points if point.dataset == dataset]
        curve_points: list[PublishedPoint] = []
        for point in dataset_points or combine_parts(variant_points, dataset):
            if not any(
                curve_point.source != point.source
                and max(curve_point.bpp, point.bpp) <= SAME_RATE * min(curve_point.bpp, point.bpp)
                for curve_point in curve_points
            ):
                curve_points.append(point)
        if curve_points:
            curve = published_curve(edition, metric, curve_points, dataset)
            return curve._replace(group=edition.facts.group)
    return None
