"""Tables of BD-rates: an overview by codec, details by metric, and flat records."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.analysis.comparison import (
    DISAGREEMENT,
    Comparison,
    ImagesDelta,
    LeftOutPoint,
    RateSpread,
)
from benchmark.analysis.interval import CONFIDENCE, DRAWS, Interval
from benchmark.analysis.rate_distortion import Delta, NoDelta
from benchmark.figures.captions import grouped, listed
from benchmark.figures.table import DOUBTFUL, FEW_MARK, FEW_NOTE, NOTHING, Table
from benchmark.metrics.measure import Measure

PERCENT = f"{100 * CONFIDENCE:.0f} %"
MEAN_CURVES, MEDIAN_IMAGE, MEAN_OF_IMAGES = "mean curves", "median image", "mean of images"
LONGEST_LIST = 6  # names in one note


def bd_overview(
    comparisons: Sequence[Comparison],
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None = None,
) -> Table:
    """Return two or three rows for each codec, a column for each metric.

    BD-rates of the mean curves with their intervals, the median over images with the quartiles, and
    the mean over images where it differs from the first by more than DISAGREEMENT.
    """
    found = {(one.label, one.column): one for one in comparisons}
    columns = [measure.column for measure in measures]
    rows = []
    for label in dict.fromkeys(one.label for one in comparisons):
        of_codec = [found[label, column] for column in columns]
        rows.append((label, MEAN_CURVES, *map(_of_curves, of_codec)))
        rows.append((label, MEDIAN_IMAGE, *(_median(one.images_rate) for one in of_codec)))
        if any(_disagrees(one) for one in of_codec):
            rows.append((label, MEAN_OF_IMAGES, *(_mean(one.images_rate) for one in of_codec)))
    notes = [
        f"BD-rate (%) against {anchor}; negative saves bits. {MEAN_CURVES}: of the curves of "
        f"means, with its {PERCENT} interval over {DRAWS} draws of images, the same for both "
        f"codecs. {MEDIAN_IMAGE}: of single images, with the quartiles."
    ]
    notes += _notes(comparisons, measures, up_to_bpp)
    headers = ("codec", "of", *(measure.axis_label for measure in measures))
    return Table(headers, tuple(rows), 2, tuple(notes))


def bd_table(comparisons: Sequence[Comparison], measures: Sequence[Measure], anchor: str) -> Table:
    """Return a row for each metric and codec: BD-rates of mean curves and of images, BD-metric."""
    headers = (
        "metric", "codec", "BD-rate (%)", f"{PERCENT} interval", "mean of images' (%)",
        f"{PERCENT} interval", "median", "quartiles", "images", "BD-metric", "overlap (%)",
    )  # fmt: skip
    labels = {measure.column: measure.axis_label for measure in measures}
    rows = []
    for one in comparisons:
        images = one.images_rate
        of_images = [NOTHING] * 5
        if isinstance(images, ImagesDelta):
            whole = images.images + images.refused
            of_images = [
                f"{images.value:+.2f}",
                _ends(images.interval) or NOTHING,
                f"{images.median:+.2f}",
                _ends(images.quartiles),
                f"{images.images} of {whole}" if images.refused else str(images.images),
            ]
        overlap = one.rate.overlap
        rows.append(
            (
                labels[one.column],
                one.label,
                _delta(one, one.rate, "+.2f"),
                _ends(one.rate_interval) or NOTHING,
                *of_images,
                _delta(one, one.quality, "+.4g"),
                NOTHING if overlap is None else f"{100 * overlap:.0f}",
            )
        )
    notes = [f"Anchor: {anchor}. Overlap: what the curves share of the qualities they span."]
    refused = [
        (found.reason, f"{one.label} ({labels[one.column]})")
        for one in comparisons
        for found in (one.images_rate, one.quality)
        if isinstance(found, NoDelta) and not isinstance(one.rate, NoDelta)
    ]
    notes += [f"No number for {_named(whose)}: {why}." for why, whose in grouped(refused).items()]
    return Table(headers, tuple(rows), 2, tuple(notes))


def bd_records(
    comparisons: Sequence[Comparison], anchor: str, up_to_bpp: float | None = None
) -> list[dict[str, Any]]:
    """Return a flat record for each comparison, at full precision; refused ones have a reason."""
    records = []
    for one in comparisons:
        of_images = one.images_rate if isinstance(one.images_rate, ImagesDelta) else None
        low, high = one.rate_interval or (None, None)
        images_low, images_high = (of_images and of_images.interval) or (None, None)
        lower, upper = of_images.quartiles if of_images else (None, None)
        records.append(
            {
                "metric": one.column,
                "codec": one.label,
                "anchor": anchor,
                "up_to_bpp": up_to_bpp,
                "bd_rate_percent": getattr(one.rate, "value", None),
                "bd_rate_low_percent": low,
                "bd_rate_high_percent": high,
                "bd_rate_overlap": one.rate.overlap,
                "images_bd_rate_percent": of_images and of_images.value,
                "images_bd_rate_low_percent": images_low,
                "images_bd_rate_high_percent": images_high,
                "images_bd_rate_median_percent": of_images and of_images.median,
                "images_bd_rate_lower_quartile_percent": lower,
                "images_bd_rate_upper_quartile_percent": upper,
                "images_bd_rate_images": of_images and of_images.images,
                "images_bd_rate_refused": of_images and of_images.refused,
                "bd_metric": getattr(one.quality, "value", None),
                "bd_metric_overlap": one.quality.overlap,
                "few": one.few,
                "points_left_out": "; ".join(_left_out(point) for point in one.left_out),
                "reason": getattr(one.rate, "reason", None),
            }
        )
    return records


def doubtful_note(whose: Sequence[tuple[str, float]]) -> list[str]:
    """Return the note on BD-rates of little overlap: names and their overlaps, 0 to 1."""
    if not whose:
        return []
    shares = _named([f"{name} {100 * overlap:.0f} %" for name, overlap in whose])
    return [f"{DOUBTFUL} The curves share less than half of the range they span: {shares}."]


def _notes(
    comparisons: Sequence[Comparison], measures: Sequence[Measure], up_to_bpp: float | None
) -> list[str]:
    labels = {measure.column: measure.label.partition(" (dB)")[0] for measure in measures}
    unit = {one.column: " dB" if "dB" in one.axis_label else "" for one in measures}
    named = [(one, f"{one.label} ({labels[one.column]})") for one in comparisons]
    notes = [] if up_to_bpp is None else [f"Curves end at {up_to_bpp:g} bpp, by interpolation."]
    apart = [(one, name) for one, name in named if _disagrees(one)]
    if apart:
        differ = _named([f"{name} {one.disagreement:+.1f}" for one, name in apart])
        spreads = dict.fromkeys(spread for one, _ in apart for spread in one.spread)
        widest = sorted(spreads, key=_ratio, reverse=True)[:2]
        notes.append(
            f"{MEAN_OF_IMAGES}: of the images' own BD-rates, where it differs by more than "
            f"{DISAGREEMENT:g} percentage points: {differ}. A curve of means averages at equal "
            "settings, where rates of images differ and those of high rate decide; here each image "
            f"counts once. Rates of single images: {'; '.join(map(_rates, widest))}."
        )
    notes += doubtful_note(
        [
            (name, one.rate.overlap)
            for one, name in named
            if isinstance(one.rate, Delta) and one.rate.doubtful
        ]
    )
    notes += [FEW_NOTE] * any(one.few and isinstance(one.rate, Delta) for one in comparisons)
    of_sets = [labels[measure.column] for measure in measures if measure.of_sets]
    if of_sets:
        notes.append(
            f"No median and no interval of {listed(of_sets)}: metrics of whole sets have no curve "
            "of a single image."
        )
    left_out = grouped(
        (f"{_left_out(point)}{unit[one.column]}", labels[one.column])
        for one in comparisons
        for point in one.left_out
    )
    if left_out:
        points = [f"{point} in {listed(of)}" for point, of in left_out.items()]
        notes.append(
            "Left out of BD-rates, because another point of no higher rate is better by so much: "
            f"{'; '.join(points)}."
        )
    refused = grouped(
        (one.rate.reason, name) for one, name in named if isinstance(one.rate, NoDelta)
    )
    return [*notes, *(f"{NOTHING} {_named(whose)}: {why}." for why, whose in refused.items())]


def _of_curves(one: Comparison) -> str:
    return " ".join(filter(None, (_delta(one, one.rate, "+.2f"), _ends(one.rate_interval))))


def _median(found: ImagesDelta | NoDelta) -> str:
    if isinstance(found, NoDelta):
        return NOTHING
    return f"{found.median:+.2f} {_ends(found.quartiles)}"


def _mean(found: ImagesDelta | NoDelta) -> str:
    if isinstance(found, NoDelta):
        return NOTHING
    return " ".join(filter(None, (f"{found.value:+.2f}", _ends(found.interval))))


def _disagrees(one: Comparison) -> bool:
    return abs(one.disagreement) > DISAGREEMENT


def _ends(interval: Interval | tuple[float, float] | None) -> str:
    return f"[{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else ""


def _delta(one: Comparison, delta: Delta | NoDelta, form: str) -> str:
    if isinstance(delta, NoDelta):
        return NOTHING
    return f"{delta.value:{form}}" + DOUBTFUL * delta.doubtful + FEW_MARK * one.few


def _left_out(point: LeftOutPoint) -> str:
    return f"{point.label} {point.setting} by {point.below:.4g}"


def _ratio(spread: RateSpread) -> float:
    return spread.highest_bpp / spread.lowest_bpp


def _rates(spread: RateSpread) -> str:
    ends = f"{spread.lowest_bpp:.2f} to {spread.highest_bpp:.2f} bpp"
    return f"{spread.label} at {spread.setting} {ends}, median {spread.median_bpp:.2f}"


def _named(names: Iterable[str]) -> str:
    """Return the first of the names, and how many more there are."""
    names = list(dict.fromkeys(names))
    more = len(names) - LONGEST_LIST
    return ", ".join(names[:LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")
