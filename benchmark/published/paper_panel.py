"""Panels of the paper: which measured and published curves stand for each of its systems."""

from collections.abc import Iterable, Sequence

import msgspec

from benchmark.analysis.systems import FIELD_SYSTEMS, GROUPED_SYSTEMS, PAPER_SYSTEMS, System
from benchmark.datasets.dataset import profile
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel, SystemCurve, published_curve
from benchmark.published.points import PublishedPoint
from benchmark.registry import ANCHORS

SAME_RATE = 1.04  # two sources of one point: the first of them is kept
# By label: the label of a variant with the same pixels, and words on it.
STAND_INS = {ANCHORS[1]: (ANCHORS[0], "optimised tables")}
PARTS = ("professional", "mobile")  # of clic2020, where sources have means of these alone


def paper_panel(
    measure: Measure, dataset: str, here: Panel, points: Sequence[PublishedPoint], up_to_bpp: float
) -> Panel:
    """Return every system of the paper that has points below a rate, in the order of the table.

    `here` is the `measured_panel` of the dataset. A measured curve takes the place of a published
    one of the same codec, except our method's, whose published points are of another network. Of
    the other methods that were trained here only the published points stand: `field_panel` has
    theirs. Measured means over fewer images than published ones (`too_few` names them) and
    published points of a protocol that is not in `measure.meets` are left out.
    """
    curves = []
    mine = _measured(here, dataset)
    for system in PAPER_SYSTEMS:
        another = system.budget and system.published  # the network measured here is not that one
        measured = None if another else mine.get(system.label)
        if measured is None or system.keeps_published:
            curves.append(_published(system, measure, dataset, points))
        curves.append(measured)
    return _cut(measure, curves, up_to_bpp)


def field_panel(measure: Measure, dataset: str, here: Panel, up_to_bpp: float) -> Panel:
    """Return the measured curves below a rate of the networks that were trained with one budget.

    `here` is the `measured_panel` of the dataset; the curves of two programs stand beside them.
    Where one of these lacks rows, a variant of it that has the same pixels stands in.
    """
    mine, whole = _measured(here, dataset), _whole_curves(here, dataset)
    for label, (variant, words) in STAND_INS.items():
        if variant in whole:
            system = next(one for one in FIELD_SYSTEMS if one.label == label)
            mine.setdefault(label, whole[variant]._replace(system=system, build=words))
    return _cut(measure, (mine.get(system.label) for system in FIELD_SYSTEMS), up_to_bpp)


def _cut(measure: Measure, curves: Iterable[SystemCurve | None], up_to_bpp: float) -> Panel:
    """Return a panel of the points below a rate of those curves that have any."""
    cut = [
        curve._replace(points=tuple(point for point in curve.points if point.bpp <= up_to_bpp))
        for curve in curves
        if curve is not None
    ]
    return Panel(measure, tuple(curve for curve in cut if curve.points))


def too_few(here: Iterable[Panel], dataset: str) -> list[str]:
    """Return a sentence on every measured system of the paper that lacks images of the dataset."""
    reasons: dict[str, dict[str, None]] = {}
    of_paper = {system.measured for system in PAPER_SYSTEMS if system.measured}
    for panel in here:
        known = {curve.system.label: curve for curve in panel.measured}
        lacks = [(one.label, one.why) for one in panel.excluded if one.label not in known]
        for label, curve in known.items():
            if not _whole(curve, dataset):
                most = max(point.images or 0 for point in curve.points)
                lacks.append((label, f"{most} of {profile(dataset).published_images} images"))
        for label, why in lacks:
            if label in of_paper:
                reasons.setdefault(label, {})[why] = None
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
            one,
            dataset=dataset,
            bpp=mean(one.bpp, other.bpp),
            value=mean(one.value, other.value),
            note="; ".join(filter(None, [one.note, note])),
            reference=f"{one.reference}; {other.reference}",
        )
        for one, other in zip(*parts, strict=True)
        if one.setting == other.setting
    ]


def _measured(here: Panel, dataset: str) -> dict[str, SystemCurve]:
    """Return the measured curves over a whole dataset by label, named as systems of figures are."""
    whole = _whole_curves(here, dataset)
    return {
        system.label: whole[system.label]._replace(system=system)
        for system in GROUPED_SYSTEMS
        if system.label in whole
    }


def _whole_curves(here: Panel, dataset: str) -> dict[str, SystemCurve]:
    return {curve.system.label: curve for curve in here.measured if _whole(curve, dataset)}


def _whole(curve: SystemCurve, dataset: str) -> bool:
    """Return whether the curve's means are over as many images as published ones."""
    wanted = profile(dataset).published_images
    return wanted is None or any(point.images == wanted for point in curve.points)


def _published(
    system: System, measure: Measure, dataset: str, points: Sequence[PublishedPoint]
) -> SystemCurve | None:
    """Return the curve of a system's first variant with points, lowest rate first.

    Of two sources' points at one rate, the first of the csv is kept.
    """
    metric = measure.published or measure.column
    for variant in system.published:
        of_variant = [
            p for p in points
            if (p.system, p.variant) == variant and p.metric == metric
            and p.kind != "step" and p.protocol in measure.meets
        ]  # fmt: skip
        kept: list[PublishedPoint] = []
        for p in [p for p in of_variant if p.dataset == dataset] or whole_set(of_variant, dataset):
            if not any(
                one.source != p.source and max(one.bpp, p.bpp) <= SAME_RATE * min(one.bpp, p.bpp)
                for one in kept
            ):
                kept.append(p)
        if kept:
            return published_curve(system, sorted(kept, key=lambda p: p.bpp), dataset)
    return None
