"""Panels of the paper: which measured and published curves stand for each of its systems."""

from collections.abc import Iterable, Sequence

import msgspec

from benchmark.analysis.comparable import plain_label
from benchmark.analysis.systems import FIELD_SYSTEMS, GROUPED_SYSTEMS, PAPER_SYSTEMS, System
from benchmark.datasets.dataset import profile
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel, SystemCurve, published_curve
from benchmark.published.points import PublishedPoint

SAME_RATE = 1.04  # two sources of one point: the first of them stands
# By label: the label of a variant with the same pixels, and words on it.
STAND_INS = {"jpeg": ("jpeg:optimize=1", "optimised tables")}
PARTS = ("professional", "mobile")  # of clic2020, where sources have means of these alone


def paper_panel(
    measure: Measure,
    dataset: str,
    here: Panel,
    points: Sequence[PublishedPoint],
    up_to_bpp: float,
) -> Panel:
    """Return every system of the paper that has points below a rate, in the order of the table.

    `here` is the `measured_panel` of the dataset. A measured curve takes the place of a published
    one of the same codec, except our method's, whose published points are of another network. Of
    the other methods that were trained here only the published points stand: `field_panel` has
    theirs. Measured means over fewer images than published ones (`too_few` names them) and
    published points of a protocol that is not in `measure.meets` are left out.
    """
    found = []
    mine = _measured(here, dataset)
    for system in PAPER_SYSTEMS:
        another = system.budget and system.published  # the network measured here is not that one
        measured = None if another else mine.get(system.label)
        if measured is None or system.keeps_published:
            found.append(_of_system(system, measure, dataset, points))
        found.append(measured)
    return _cut(measure, found, up_to_bpp)


def field_panel(measure: Measure, dataset: str, here: Panel, up_to_bpp: float) -> Panel:
    """Return the measured curves below a rate of the networks that were trained with one budget.

    `here` is the `measured_panel` of the dataset; the curves of two programs stand beside them.
    Where one of these lacks rows, a variant of it that has the same pixels stands in.
    """
    mine, whole = _measured(here, dataset), _whole_curves(here, dataset)
    found = []
    for system in FIELD_SYSTEMS:
        curve = mine.get(system.label)
        variant, words = STAND_INS.get(system.label, ("", ""))
        if curve is None and variant in whole:
            other = whole[variant]
            curve = other._replace(system=system, caveats=(words, *other.caveats))
        found.append(curve)
    return _cut(measure, found, up_to_bpp)


def _cut(measure: Measure, found: Iterable[SystemCurve | None], up_to_bpp: float) -> Panel:
    """Return a panel of the points below a rate of those curves that have any."""
    cut = [
        curve._replace(points=tuple(point for point in curve.points if point.bpp <= up_to_bpp))
        for curve in found
        if curve is not None
    ]
    return Panel(measure, tuple(curve for curve in cut if curve.points))


def too_few(here: Iterable[Panel], dataset: str) -> list[str]:
    """Return a sentence on every measured system of the paper that lacks images of the dataset."""
    reasons: dict[str, dict[str, None]] = {}
    of_paper = {system.measured for system in PAPER_SYSTEMS if system.measured}
    for panel in here:
        known = {curve.system.label: curve for curve in panel.measured}
        for label, curve in known.items():
            if label in of_paper and not _whole(curve, dataset):
                most = max(point.images or 0 for point in curve.points)
                why = f"{most} of {profile(dataset).published_images} images"
                reasons.setdefault(label, {})[why] = None
        for one in panel.excluded:
            if one.label not in known and one.label in of_paper:
                reasons.setdefault(one.label, {})[one.why] = None
    return [
        f"{dataset}: measured rows of {label} are not drawn: {'; '.join(why)}"
        for label, why in reasons.items()
    ]


def whole_set(points: Iterable[PublishedPoint], dataset: str) -> list[PublishedPoint]:
    """Return means over a whole dataset of which a source has the parts alone.

    The i-th point of one part goes with the i-th of the other: both are the codec's i-th setting.
    The mean over all images is the mean of the two weighted by their images, and exactly so for
    rates, which are means of each image's too. Parts that do not match give nothing.
    """
    by_part: list[list[PublishedPoint]] = [[], []]
    for point in points:
        name, _, part = point.dataset.partition(":")
        if name == dataset and part in PARTS:
            by_part[PARTS.index(part)].append(point)
    if len(by_part[0]) != len(by_part[1]):
        return []
    by_part = [sorted(part, key=lambda point: point.bpp) for part in by_part]
    weights = [profile(f"{dataset}:{part}").published_images or 0 for part in PARTS]
    return [
        _merged(pair, weights, dataset)
        for pair in zip(*by_part, strict=True)
        if pair[0].setting == pair[1].setting
    ]


def _measured(here: Panel, dataset: str) -> dict[str, SystemCurve]:
    """Return the measured curves over a whole dataset by label, named as systems of figures are.

    Where the newest edition of a codec variant has none, that of an older one stands in, and its
    name says so.
    """
    by_label = _whole_curves(here, dataset)
    found = {}
    for system in GROUPED_SYSTEMS:
        if system.label in by_label:
            found[system.label] = by_label[system.label]._replace(system=system)
            continue
        for label, curve in by_label.items():
            if plain_label(label) == system.label:
                build = label.removeprefix(system.label).strip(" ()")
                found[system.label] = curve._replace(system=system, build=build)
                break
    return found


def _whole_curves(here: Panel, dataset: str) -> dict[str, SystemCurve]:
    return {curve.system.label: curve for curve in here.measured if _whole(curve, dataset)}


def _whole(curve: SystemCurve, dataset: str) -> bool:
    """Return whether the curve's means are over as many images as published ones."""
    wanted = profile(dataset).published_images
    return wanted is None or any(point.images == wanted for point in curve.points)


def _merged(
    pair: tuple[PublishedPoint, ...], weights: Sequence[int], dataset: str
) -> PublishedPoint:
    def mean(numbers: Iterable[float]) -> float:
        return sum(w * n for w, n in zip(weights, numbers, strict=True)) / sum(weights)

    note = f"mean of {' and '.join(PARTS)}, weighted {weights[0]}:{weights[1]}"
    return msgspec.structs.replace(
        pair[0],
        dataset=dataset,
        bpp=mean(point.bpp for point in pair),
        value=mean(point.value for point in pair),
        note="; ".join(filter(None, [pair[0].note, note])),
        reference="; ".join(point.reference for point in pair),
    )


def _of_system(
    system: System, measure: Measure, dataset: str, points: Sequence[PublishedPoint]
) -> SystemCurve | None:
    for variant in system.published:
        of_variant = [
            point
            for point in points
            if (point.system, point.variant) == variant
            and point.metric == (measure.published or measure.column)
            and point.kind != "step"
            and point.protocol in measure.meets
        ]
        found = [p for p in of_variant if p.dataset == dataset] or whole_set(of_variant, dataset)
        if found:
            return published_curve(system, _without_duplicates(found), dataset)
    return None


def _without_duplicates(points: Sequence[PublishedPoint]) -> list[PublishedPoint]:
    """Sort by rate; of what two sources have at one rate, keep the first of the csv."""
    kept: list[PublishedPoint] = []
    for point in points:
        duplicates = (
            one.source != point.source
            and max(one.bpp, point.bpp) <= SAME_RATE * min(one.bpp, point.bpp)
            for one in kept
        )
        if not any(duplicates):
            kept.append(point)
    return sorted(kept, key=lambda point: point.bpp)
