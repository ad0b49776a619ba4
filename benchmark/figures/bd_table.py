"""Tables of BD-rates: an overview by codec, details by metric, and flat records."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.analysis.comparison import DISAGREEMENT, Comparison, ImagesDelta
from benchmark.analysis.interval import CONFIDENCE, DRAWS, Interval
from benchmark.analysis.rate_distortion import Delta, NoDelta
from benchmark.analysis.systems import trained_on
from benchmark.figures.captions import grouped, listed
from benchmark.figures.table import DOUBTFUL, FEW_MARK, FEW_NOTE, NOTHING, TRAINED, Table
from benchmark.metrics.measure import Measure

PERCENT = f"{100 * CONFIDENCE:.0f} %"
MEAN_CURVES, MEDIAN_IMAGE, MEAN_OF_IMAGES = "mean curves", "median image", "mean of images"
LONGEST_LIST = 6  # labels in one note


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
    rows = []
    for label in dict.fromkeys(one.label for one in comparisons):
        of_codec = [found[label, measure.column] for measure in measures]
        images = [one.images_rate for one in of_codec]
        curves = [_joined(_delta(one, one.rate, "+.2f"), one.rate_interval) for one in of_codec]
        rows.append((label, MEAN_CURVES, *curves))
        rows.append((label, MEDIAN_IMAGE, *map(_median, images)))
        if any(_disagrees(one) for one in of_codec):
            means = [
                NOTHING if isinstance(one, NoDelta) else _joined(f"{one.value:+.2f}", one.interval)
                for one in images
            ]
            rows.append((label, MEAN_OF_IMAGES, *means))
    notes = [
        f"BD-rate (%) against {anchor}; negative saves bits. {MEAN_CURVES}: of the averaged "
        f"curves, with the {PERCENT} interval from {DRAWS} draws of images, the same for both "
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
                f"{images.value:+.2f}", _ends(images.interval) or NOTHING,
                f"{images.median:+.2f}", _ends(images.quartiles),
                f"{images.images} of {whole}" if images.refused else str(images.images),
            ]  # fmt: skip
        overlap = one.rate.overlap
        first = _delta(one, one.rate, "+.2f"), _ends(one.rate_interval) or NOTHING
        last = NOTHING if overlap is None else f"{100 * overlap:.0f}"
        metric = _delta(one, one.quality, "+.4g")
        rows.append((labels[one.column], one.label, *first, *of_images, metric, last))
    notes = [f"Anchor: {anchor}. Overlap: what the curves share of the qualities they span."]
    of_sets = {measure.column for measure in measures if measure.of_sets}  # see the overview
    refused: dict[str, list[tuple[str, str]]] = {}
    for one in comparisons:
        refusals = [one.quality] if one.column in of_sets else [one.images_rate, one.quality]
        for refusal in refusals:
            if isinstance(refusal, NoDelta) and not isinstance(one.rate, NoDelta):
                refused.setdefault(refusal.reason, []).append((one.label, labels[one.column]))
    notes += [f"No number for {_by_label(whose)}: {why}." for why, whose in refused.items()]
    return Table(headers, tuple(rows), 2, tuple(notes))


def bd_records(
    comparisons: Sequence[Comparison], up_to_bpp: float | None = None
) -> list[dict[str, Any]]:
    """Return a flat record for each comparison, at full precision; refused ones have a reason."""
    records = []
    for one in comparisons:
        images = one.images_rate if isinstance(one.images_rate, ImagesDelta) else None
        low, high = one.rate_interval or (None, None)
        images_low, images_high = (images and images.interval) or (None, None)
        lower, upper = images.quartiles if images else (None, None)
        record = {
            "metric": one.column,
            "codec": one.label,
            "anchor": one.anchor,
            "up_to_bpp": up_to_bpp,
            "bd_rate_percent": getattr(one.rate, "value", None),
            "bd_rate_low_percent": low,
            "bd_rate_high_percent": high,
            "bd_rate_overlap": one.rate.overlap,
            "images_bd_rate_percent": images and images.value,
            "images_bd_rate_low_percent": images_low,
            "images_bd_rate_high_percent": images_high,
            "images_bd_rate_median_percent": images and images.median,
            "images_bd_rate_lower_quartile_percent": lower,
            "images_bd_rate_upper_quartile_percent": upper,
            "images_bd_rate_images": images and images.images,
            "images_bd_rate_refused": images and images.refused,
            "bd_metric": getattr(one.quality, "value", None),
            "bd_metric_overlap": one.quality.overlap,
            "few": one.few,
            "points_left_out": "; ".join(
                f"{point.label} {point.setting} by {point.below:.3g}" for point in one.left_out
            ),
            "reason": getattr(one.rate, "reason", None),
        }
        records.append(record)
    return records


def doubtful_note(shares: Sequence[tuple[str, str]]) -> list[str]:
    """Return the note on BD-rates of little overlap, if any: pairs (label, "PSNR 38 %")."""
    text = (
        f"{DOUBTFUL} The curves share less than half of the range they span: {_by_label(shares)}."
    )
    return [text] * bool(shares)


def _notes(
    comparisons: Sequence[Comparison], measures: Sequence[Measure], up_to_bpp: float | None
) -> list[str]:
    labels = {measure.column: measure.label.partition(" (dB)")[0] for measure in measures}
    unit = {one.column: " dB" * ("dB" in one.axis_label) for one in measures}

    def pairs(of: Iterable[tuple[Comparison, str]]) -> str:
        return _by_label((one.label, f"{labels[one.column]} {text}".rstrip()) for one, text in of)

    notes = [] if up_to_bpp is None else [f"Curves end at {up_to_bpp:g} bpp, by interpolation."]
    apart = [one for one in comparisons if _disagrees(one)]
    if apart:
        most = max(apart, key=lambda one: abs(one.disagreement))
        spread = [
            f"{rates.label} at {rates.setting} {rates.lowest_bpp:.2f} to {rates.highest_bpp:.2f} "
            f"bpp, median {rates.median_bpp:.2f}"
            for rates in most.spread
        ]
        notes.append(
            f"{MEAN_OF_IMAGES}: of single images, given where it differs from {MEAN_CURVES} by "
            f"more than {DISAGREEMENT:g} percentage points: "
            f"{pairs((one, f'{one.disagreement:+.1f}') for one in apart)}. At one setting codecs "
            "spread rate over images differently, and a curve of means averages at equal "
            f"settings: {'; '.join(spread)}."
        )
    numbers = [one for one in comparisons if isinstance(one.rate, Delta)]
    doubtful = [one for one in numbers if isinstance(one.rate, Delta) and one.rate.doubtful]
    notes += doubtful_note([(one.label, f"{labels[one.column]} {_share(one)}") for one in doubtful])
    without = [
        (one, f"{images.refused} of {images.images + images.refused}")
        for one in comparisons
        if isinstance(images := one.images_rate, ImagesDelta) and images.refused
    ]
    notes += [f"Images without a BD-rate of their own: {pairs(without)}."] * bool(without)
    notes += [FEW_NOTE] * any(one.few for one in numbers)
    if any(one.column in trained_on(one.label) for one in numbers):
        notes.append(f"{TRAINED} The metric is in the codec's training loss.")
    for words, of in (
        ("median", [one for one in measures if one.of_sets and one.by_image]),
        ("median and no interval", [one for one in measures if not one.by_image]),
    ):
        if of:
            notes.append(
                f"No {words} of {listed([labels[one.column] for one in of])}: metrics of whole "
                "sets have no curve of a single image."
            )
    left_out = grouped(
        (f"{p.label} {p.setting}", f"{labels[one.column]} {p.below:.3g}{unit[one.column]}")
        for one in comparisons
        for p in one.left_out
    )
    if left_out:
        points = [f"{point} ({', '.join(of)})" for point, of in left_out.items()]
        notes.append(
            "Left out of BD-rates, because another point of no higher rate is as good or better, "
            f"by so much: {', '.join(points)}."
        )
    refused: dict[str, list[tuple[Comparison, str]]] = {}
    for one in comparisons:
        if isinstance(one.rate, NoDelta):
            hint = " (--any-overlap gives a number)" * bool(one.rate.overlap)
            refused.setdefault(f"{one.rate.reason}{hint}", []).append((one, _share(one)))
    return notes + [f"{NOTHING} {pairs(whose)}: {why}." for why, whose in refused.items()]


def _median(images: ImagesDelta | NoDelta) -> str:
    if isinstance(images, NoDelta):
        return NOTHING
    return _joined(f"{images.median:+.2f}", images.quartiles)


def _disagrees(one: Comparison) -> bool:
    return abs(one.disagreement) > DISAGREEMENT


def _joined(number: str, interval: Interval | tuple[float, float] | None) -> str:
    return f"{number} {_ends(interval)}".rstrip()


def _ends(interval: Interval | tuple[float, float] | None) -> str:
    return f"[{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else ""


def _delta(one: Comparison, delta: Delta | NoDelta, form: str) -> str:
    if isinstance(delta, NoDelta):
        return NOTHING
    trained = one.column in trained_on(one.label)
    marks = DOUBTFUL * delta.doubtful + FEW_MARK * one.few + TRAINED * trained
    return f"{delta.value:{form}}{marks}"


def _share(one: Comparison) -> str:
    return f"{100 * one.rate.overlap:.0f} %" if one.rate.overlap else ""


def _by_label(pairs: Iterable[tuple[str, str]]) -> str:
    """Return "label (text, text), label (text)" of pairs (label, text), the first labels alone."""
    texts = [f"{label} ({', '.join(of)})" for label, of in grouped(pairs).items()]
    more = len(texts) - LONGEST_LIST
    return ", ".join(texts[:LONGEST_LIST]) + f" and {more} more" * (more > 0)
