"""Panels of the paper: the measured and published curves of each of its systems."""

from collections.abc import Iterable, Sequence

import msgspec

from benchmark.compare.published.curves import Panel, SystemCurve, published_curve
from benchmark.compare.published.points import PublishedPoint
from benchmark.datasets.dataset import profile
from benchmark.metrics.measure import Measure
from benchmark.rows.systems import FIELD_SYSTEMS, PAPER_SYSTEMS, System, default_anchors

SAME_RATE = 1.04  # two sources of one point: the first of them is kept
# By label: the label of a variant with the same pixels, and words on it.
STAND_INS = {default_anchors()[1]: (default_anchors()[0], "optimised tables")}
PARTS = ("professional", "mobile")  # of clic2020, where sources have means of these alone


def paper_panel(
    measure: Measure, dataset: str, here: Panel, points: Sequence[PublishedPoint], up_to_bpp: float
) -> Panel:
    """Return every system of the paper that has points below a rate, in the order of the table.

    `here` is the `measured_panel` of the dataset. A measured curve takes the place of a published
    one of the same codec, except our method's, whose published points are of another network. Of
    the other methods that were trained here only the published points are shown: `field_panel` has
    theirs. Measured means over fewer images than published ones (`too_few` names them) and
    published points of a protocol that is not in `measure.meets` are left out.
    """
    curves = []
    whole = _whole_curves(here, dataset)
    for system in PAPER_SYSTEMS:
        another = system.budget and system.published  # the network measured here is not that one
        measured = None if another else whole.get(system.label)
        if measured is None or system.keeps_published:
            curves.append(_published(system, measure, dataset, points))
        curves.append(measured and measured._replace(system=system))
    return Panel(measure, tuple(filter(None, curves))).up_to(up_to_bpp)


def field_panel(measure: Measure, dataset: str, here: Panel, up_to_bpp: float) -> Panel:
    """Return the measured curves below a rate of the networks that were trained with one budget.

    `here` is the `measured_panel` of the dataset; the curves of two programs are beside them.
    Where one of these lacks rows, a variant of it that has the same pixels replaces it.
    """
    curves = []
    whole = _whole_curves(here, dataset)
    for system in FIELD_SYSTEMS:
        variants = [(system.label, ""), STAND_INS.get(system.label, ("", ""))]
        known = [(whole[label], words) for label, words in variants if label in whole]
        curves += [curve._replace(system=system, build=words) for curve, words in known[:1]]
    return Panel(measure, tuple(curves)).up_to(up_to_bpp)


def too_few(here: Iterable[Panel], dataset: str) -> list[str]:
    """Return a sentence on every measured system of the paper that lacks images of the dataset."""
    reasons: dict[str, dict[str, None]] = {}
    of_paper = {system.measured for system in PAPER_SYSTEMS if system.measured}
    for panel in here:
        whole = _whole_curves(panel, dataset)
        known = {curve.system.label: curve for curve in panel.measured}
        lacks = [(key.label, key.why) for key in panel.excluded if key.label not in known]
        for label, curve in known.items():
            if label not in whole:
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


def _whole_curves(here: Panel, dataset: str) -> dict[str, SystemCurve]:
    """Return the measured curves of means over as many images as published ones, by label."""
    wanted = profile(dataset).published_images
    return {
        curve.system.label: curve
        for curve in here.measured
        if wanted is None or any(point.images == wanted for point in curve.points)
    }


def _published(
    system: System, measure: Measure, dataset: str, points: Sequence[PublishedPoint]
) -> SystemCurve | None:
    """Return the curve of a system's first variant with points.

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
                other.source != p.source
                and max(other.bpp, p.bpp) <= SAME_RATE * min(other.bpp, p.bpp)
                for other in kept
            ):
                kept.append(p)
        if kept:
            return published_curve(system, kept, dataset)
    return None
