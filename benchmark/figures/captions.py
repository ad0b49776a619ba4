"""Sentences that the captions and notes of several figures share, made of what is drawn."""

from collections.abc import Iterable, Mapping, Sequence

from benchmark.analysis.systems import trained_on
from benchmark.metrics.distribution_metric import FEW_IMAGES
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel, SystemCurve

MOST_WORDS = 60  # of a caption
LOWER = "Arrow down: lower is better."
DECIBELS = "MS-SSIM is drawn as -10 log10(1 - mean MS-SSIM)."
ORIGINS = {"author_csv": "", "table": ", a table", "digitised": ", read from a figure"}
CAVEAT = "*"
MIXED = "Protocols mixed: see the details."


def axis_words(measure: Measure, few_images: int = 0) -> str:
    """Return the label of a metric's axis, with an arrow where lower values are better.

    few_images: number of images where a metric of a whole set is over few, which the label says.

    >>> axis_words(Measure("fd", "FD", "lower"), 24)
    'FD ↓\\n24 images: biased upward'
    """
    words = measure.axis_label + " ↓" * (measure.better == "lower")
    return f"{words}\n{few_images} images: {measure.over_few}" if few_images else words


def few_images(panel: Panel) -> int:
    """Return the least number of images of a distribution metric that are few; 0 for none."""
    counts = {point.images or 0 for curve in panel.measured for point in curve.points}
    return min(filter(panel.measure.few, counts), default=0)


def few_sentences(measures: Iterable[Measure]) -> list[str]:
    """Return the sentence on metrics of whole sets that are over few images here."""
    start = f"Over fewer than {FEW_IMAGES} images,"
    return [
        f"{start} {listed(names)} {'are' if names[1:] else 'is'} {why}."
        for why, names in grouped((measure.over_few, measure.label) for measure in measures).items()
    ]


def scale_sentences(measures: Iterable[Measure]) -> list[str]:
    """Return the sentences on decibels and arrows that these metrics' axes need."""
    measures = list(measures)
    lower = any(measure.better == "lower" for measure in measures)
    return [DECIBELS] * any(measure.saturating for measure in measures) + [LOWER] * lower


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group names by sentence, of pairs (sentence, name); each name once."""
    groups: dict[str, dict[str, None]] = {}
    for sentence, name in pairs:
        groups.setdefault(sentence, {})[name] = None
    return {sentence: list(names) for sentence, names in groups.items()}


def by_name(groups: Mapping[str, Sequence[str]]) -> str:
    """Return "names: sentence" of grouped names, with semicolons between."""
    return "; ".join(f"{', '.join(names)}: {sentence}" for sentence, names in groups.items())


def protocol_sentence(measure: Measure, names_by_protocol: Mapping[str, Sequence[str]]) -> str:
    """Return the sentence on the protocols of a metric's values, with the names of their curves."""
    start = "Protocols mixed in" if len(names_by_protocol) > 1 else "Protocol of"
    rules = "; ".join(f"{rule} {', '.join(names)}" for rule, names in names_by_protocol.items())
    return f"{start} {measure.label}: {rules}."


def training_sentences(panels: Sequence[Panel]) -> list[str]:
    """Return the sentence on metrics that are in codecs' training losses; none without any."""
    pairs = [
        (panel.measure.label, curve.name)
        for panel in panels
        for curve in panel.curves
        if panel.measure.column in trained_on(curve.system.label)
    ]
    metrics = [f"{metric} of {listed(names)}" for metric, names in grouped(pairs).items()]
    return [f"In the training loss: {'; '.join(metrics)}."] * bool(metrics)


def caveats(curves: Iterable[SystemCurve]) -> dict[str, list[str]]:
    """Return the names of measured curves by caveat."""
    return grouped((caveat, curve.name) for curve in curves for caveat in curve.caveats)


def caveat_note(groups: Mapping[str, Sequence[str]]) -> str:
    """Return the sentence that explains the mark CAVEAT in a figure; empty without any.

    It is what all caveats have in common, if anything.
    """
    parts = [caveat.split("; ") for caveat in groups]
    common = [part for part in parts[0] if all(part in of for of in parts)] if parts else []
    words = "; ".join(common) or "a caveat: see the details"
    return f"{CAVEAT} {words}." if groups else ""


def panels_note(panels: Sequence[Panel]) -> str:
    """Return the line inside a figure of panels: published points, mixed protocols, caveats."""
    curves = [curve for panel in panels for curve in panel.curves]
    parts = ["Open markers: published."] * any(not curve.measured for curve in curves)
    parts += [MIXED] * any(len(panel.names_by_protocol) > 1 for panel in panels)
    return " ".join(filter(None, [*parts, caveat_note(caveats(curves))]))


def brief(sentences: Iterable[str]) -> str:
    """Return a caption of at most MOST_WORDS: the sentences, in their order, that fit."""
    kept: list[str] = []
    for sentence in filter(None, sentences):
        if len(" ".join([*kept, sentence]).split()) <= MOST_WORDS:
            kept.append(sentence)
    return " ".join(kept)


def metric_names(measures: Iterable[Measure]) -> str:
    """Return metrics as a sentence names them, without units."""
    return listed([measure.label.partition(" (dB)")[0] for measure in measures])


def images_of(panels: Iterable[Panel]) -> str:
    """Return the numbers of images that the means are over: of measured curves, if any."""
    panels = list(panels)
    curves = [curve for panel in panels for curve in panel.measured]
    curves = curves or [curve for panel in panels for curve in panel.curves]
    counts = {point.images for curve in curves for point in curve.points if point.images}
    return " or ".join(map(str, sorted(counts)))


def panels_caption(panels: Sequence[Panel], dataset: str, left_out: int = 0) -> str:
    """Return the caption of panels of rate curves. left_out: number of curves that are not drawn"""
    measures = [panel.measure for panel in panels]
    bars = [measure for measure in measures if measure.of_sets and measure.by_image]
    curves = {curve.name for panel in panels for curve in panel.curves}
    return brief(
        [
            f"{metric_names(measures)} against rate on {dataset} "
            f"({images_of(panels)} images), means over images.",
            *scale_sentences(measures),
            *["Bars: 95 % intervals over images."] * bool(bars),
            panels_note(panels),
            *(f"{len(curves)} of {len(curves) + left_out} curves." for _ in range(left_out > 0)),
        ]
    )


def published_sentences(panels: Sequence[Panel]) -> list[str]:
    """Return sentences on sources, reading errors and rates of published curves, if any."""
    curves = [(panel.measure, curve) for panel in panels for curve in panel.published]
    points = [(*pair, point) for pair in curves for point in pair[1].points]
    sources = grouped((p.source + ORIGINS[p.how], curve.system.name) for _, curve, p in points)
    errors = grouped(
        (measure.label, f"{curve.name} ± {p.value_error:g}")
        for measure, curve, p in points
        if p.value_error
    )
    rules = sorted({p.rate_protocol for *_, p in points} - {"coding/1"})
    sentences = [f"Published (open markers, broken lines): {by_name(sources)}."] * bool(sources)
    sentences += [f"Reading error in {one}: {', '.join(them)}." for one, them in errors.items()]
    counted = f"Published rates are as their sources count them ({listed(rules)})."
    return sentences + [counted] * bool(rules)
