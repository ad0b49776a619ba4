"""Rate curves of published points, and which of them may be beside measured ones."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from benchmark.compare.rule import Rule
from benchmark.compare.system_curve import CurvePoint, SystemCurve, cut_curves, marked_alike
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.facts import Facts
from benchmark.metrics.metric import Metric
from benchmark.published.points import ANY_DATASET, PublishedPoint, curve_name, slug
from benchmark.registry import UNSTATED
from benchmark.rows.edition import CATALOGUE, OURS, PAPER_EDITIONS, Edition, Origin, in_catalogue
from benchmark.rows.summary import Summary, images_in
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key, listed

# Editions of the catalogue by system and variant of published points.
KNOWN = {variant: edition for edition in CATALOGUE for variant in edition.facts.published}
SAME_RATE = 1.04  # two sources of one point: the first of them is kept
DIAL = re.compile(r"\w+(=[\d.]+| sweep)")  # variants of one network at choices of realism
PARTS = ("professional", "mobile")  # of clic2020, where sources have means of these alone


def published_curves(
    points: Iterable[PublishedPoint], dataset: str, metric: Metric
) -> list[SystemCurve]:
    """Return a dataset's curves of published points, in the order of the csv.

    A curve is a variant under a protocol from a source.
    """
    name_of = metric.published or metric.column
    groups = by_key(
        ((p.system, p.variant, p.protocol, p.kind, p.how, p.source), p)
        for p in points
        if p.dataset in (dataset, ANY_DATASET) and p.metric == name_of and p.kind != "step"
    )
    result = []
    for (name, variant, *_), group in groups.items():
        origin: Origin = "file" if group[0].protocol == UNSTATED else "published"
        edition = published_edition(name, variant, origin)
        result.append(published_curve(edition, metric, group, dataset))
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
    variant, plotted = curve[1], [*KNOWN]
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
    edition: Edition, metric: Metric, points: Sequence[PublishedPoint], dataset: str
) -> SystemCurve:
    """Return the curve of an edition through published points."""
    images = profile(dataset).published_images
    names = [name for name in CurvePoint._fields if name not in ("images", "interval", "seeds")]
    result = [
        CurvePoint(**{name: getattr(point, name) for name in names}, images=images)
        for point in sorted(points, key=lambda point: point.bpp)
    ]
    is_sampled = any(point.kind == "sample" for point in points)
    return SystemCurve(metric, edition, edition.facts.title, tuple(result), is_sampled)


def published_edition(system: str, variant: str, origin: Origin = "published") -> Edition:
    """Return the edition of a published variant: of the codec in the catalogue that it is, if any.

    >>> edition = published_edition("VTM", "CompressAI")
    >>> edition.spec.text, edition.title
    ('vtm', 'VTM (CompressAI)')
    >>> published_edition("WebP", "").spec.text  # of another program than the catalogue's
    'webp:variant='
    """
    title, place = curve_name(system, variant), ((system, variant),)
    option, _, value = variant.partition("=")
    choice = title.removeprefix(f"{system} ") if value else ""
    if known := KNOWN.get((system, variant)):
        facts = replace(known.facts, title=title, choice=choice, published=place)
        return replace(known, build=(title, 0), origin=origin, facts=facts)
    pair = (option, value) if value else ("variant", slug(variant) if variant else "")
    spec = CodecSpec(slug(system), (pair,))
    facts = Facts(title, kind="learned", choice=choice, published=place)
    return Edition(spec, (title, 0), origin, facts)


def system_of(curve: SystemCurve) -> str:
    """Return the name of the published system that a curve is of."""
    return curve.edition.facts.published[0][0]


class OtherMeans(UsageError):  # noqa: N818 - reads as what happened
    """Measured means that published ones cannot be beside."""


class Overlay(NamedTuple):
    """Published curves under one metric, by whether they may be beside its measured rows."""

    compatible: tuple[SystemCurve, ...]
    refused: tuple[SystemCurve, ...]  # of another protocol


def sharing_protocols(
    protocols: Iterable[str], metric: Metric, measured: str = ""
) -> frozenset[str]:
    """Return the protocols that may share the axis of a panel, in whichever order they are given.

    Those that `metric.meets` names are one class, any other is a class of its own, and that of a
    user's own file, which is not stated, fits in each. Measured rows choose their class: with
    `metric.meets` for a distortion, without for LPIPS and FID, where another back end decides.
    Without rows it is `metric.meets`, if a curve has one of these, else the protocol of most
    curves, of equally many the first by name.

    protocols: one for each published curve. measured: that of the rows; empty: there are none.

    >>> rules = ["fid/stablecodec", "fid256/hific", "unstated"]
    >>> sorted(sharing_protocols(rules, Metric.named("fid256")))
    ['fid256/hific', 'unstated']
    """
    counts = Counter(protocols)
    stated = sorted(counts.keys() - {UNSTATED})
    meets = {*metric.meets}
    if measured:
        chosen = {measured} | (meets if metric.kind == "distortion" else set())
    elif meets.isdisjoint(stated):
        chosen = {max(stated, key=counts.__getitem__, default=UNSTATED)}
    else:
        chosen = meets
    return frozenset(counts.keys() & {UNSTATED, *chosen})


def overlay(
    curves: Sequence[SystemCurve], metric: Metric, protocol: str = "", mix: bool = False
) -> Overlay:
    """Separate curves that may share a panel's axis, with the measured rows if any, from the rest.

    protocol: of the rows; empty: there are none. With `mix` all curves are compatible, and the rest
    are marked (`SystemCurve.other_rules`).
    """
    sharing = sharing_protocols([curve.protocol for curve in curves], metric, protocol)
    if mix:
        others = (() if curve.protocol in sharing else (curve.protocol,) for curve in curves)
        marked = (c._replace(other_rules=of) for c, of in zip(curves, others, strict=True))
        return Overlay(tuple(marked), ())
    return Overlay(
        compatible=tuple(curve for curve in curves if curve.protocol in sharing),
        refused=tuple(curve for curve in curves if curve.protocol not in sharing),
    )


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
    marked = marked_alike([panel.compatible for panel in result.values()])
    for (column, panel), curves in zip(result.items(), marked, strict=True):
        result[column] = panel._replace(compatible=tuple(curves))
    for metric in metrics:
        if summary and any(result.get(metric.column, ())):
            images = images_in(summary, metric)
            of = "" if images == summary.images else f" of {metric.label}"
            check_same_images(dataset, images, summary.pooled, of)
    systems = {system_of(curve) for panel in result.values() for curve in panel.compatible}
    for column, panel in result.items():
        excluded = {(c.title, c.protocol) for c in panel.refused if system_of(c) not in systems}
        if excluded:
            names = listed([f"{title} ({rule})" for title, rule in sorted(excluded)])
            rules = {curve.protocol for curve in panel.compatible} - {UNSTATED}
            others = summary.protocols[column] if summary else listed(sorted(rules))
            raise UsageError(
                f"{names} cannot be beside the others, whose {column} is by {others}; "
                "--mix-protocols draws all, and marks those of other rules"
            )
    return result


def left_out(
    points: Iterable[PublishedPoint], overlaid: Mapping[str, Overlay], dataset: str
) -> list[str]:
    """Return a sentence for each metric and protocol left out, and on systems without any points.

    `points` are those asked for.
    """
    refused: dict[tuple[str, str], dict[str, None]] = {}
    for column, panel in overlaid.items():
        for curve in panel.refused:
            refused.setdefault((column, curve.protocol), {})[curve.title] = None
    curves = (curve for panel in overlaid.values() for group in panel for curve in group)
    methods = {system_of(curve) for curve in curves}
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
    whole = {in_catalogue(of.spec): of for of in here if published in (None, of.points[0].images)}
    for edition in PAPER_EDITIONS:
        facts = edition.facts
        another = facts.budget and facts.published  # the network measured here is not that one
        measured = None if another else whole.get(edition)
        if measured is None or facts.group == OURS:  # beside another network of the method
            curves.append(_published(edition, metric, dataset, points))
        if measured:
            curves.append(measured.called(facts.title)._replace(group=facts.group))
    return cut_curves(filter(None, curves), Rule(up_to_bpp=up_to_bpp))


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
    edition: Edition, metric: Metric, dataset: str, points: Sequence[PublishedPoint]
) -> SystemCurve | None:
    """Return the curve of the first published variant of an edition that has points.

    Of two sources' points at one rate, the first of the csv is kept.
    """
    name = metric.published or metric.column
    for variant in edition.facts.published:
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
            curve = published_curve(edition, metric, kept, dataset)
            return curve._replace(group=edition.facts.group)
    return None
