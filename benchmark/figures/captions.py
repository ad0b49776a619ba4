"""Sentences that the captions and notes of several figures share, said once each."""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase

from benchmark.metrics.distribution_metric import FEW_IMAGES
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel, SystemCurve

LOWER = "An arrow down: lower is better."
DECIBELS = "MS-SSIM is drawn as -10 log10(1 - mean MS-SSIM)."
ORIGINS = {"author_csv": "", "table": ", a table", "digitised": ", read from a figure"}
BROKEN = ", broken lines"
MARKS = {
    "measured": "filled markers: measured here",
    "precomputed": "half-filled markers: precomputed (bundled rows or a pack)",
    "published": f"open markers{BROKEN}: published",
}


def axis_words(measure: Measure, few_images: int = 0) -> str:
    """Return the label of a metric's axis, with an arrow where lower values are better.

    few_images: number of images where a metric of a whole set is over few, which the label says.

    >>> axis_words(Measure("fd", "FD", "lower"), 24)
    'FD ↓\\n24 images: biased upward'
    """
    words = measure.axis_label + " ↓" * (measure.better == "lower")
    return f"{words}\n{few_images} images: {measure.over_few}" if few_images else words


def few_sentences(measures: Iterable[Measure]) -> list[str]:
    """Return the sentence on metrics of whole sets that are over few images here."""
    found = grouped((measure.over_few, measure.label) for measure in measures)
    start = f"Over fewer than {FEW_IMAGES} images,"
    return [
        f"{start} {listed(names)} {'are' if names[1:] else 'is'} {said}."
        for said, names in found.items()
    ]


def scale_sentences(measures: Iterable[Measure]) -> list[str]:
    """Return the sentences on decibels and arrows that these metrics' axes need."""
    measures = list(measures)
    return [DECIBELS] * any(measure.saturating for measure in measures) + [LOWER] * any(
        measure.better == "lower" for measure in measures
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names of pairs (what is said, name), each once, by what is said of them."""
    found: dict[str, dict[str, None]] = {}
    for said, name in pairs:
        found.setdefault(said, {})[name] = None
    return {said: list(names) for said, names in found.items()}


def told(found: Mapping[str, Sequence[str]]) -> str:
    """Return "names: what is said of them", with semicolons between."""
    return "; ".join(f"{', '.join(names)}: {said}" for said, names in found.items())


def letters(panels: Sequence[Panel]) -> dict[str, str]:
    """Return a letter for each protocol that is not its panel's own, by protocol id."""
    others = [rule for one in panels for rule in list(one.names_by_protocol)[1:]]
    return dict(zip(dict.fromkeys(others), ascii_lowercase, strict=False))


def marked(name: str, curve: str, panels: Sequence[Panel], known: Mapping[str, str]) -> str:
    """Return a name with raised letters for the protocols that the curve of that name follows."""
    own = [
        letter
        for rule, letter in known.items()
        if any(curve in one.names_by_protocol.get(rule, ()) for one in panels)
    ]
    return f"{name}$^{{\\mathrm{{{','.join(own)}}}}}$" if own else name


def origins_note(origins: Iterable[str], lines: bool = True) -> str:
    """Return the sentence on markers, of those origins that the figure has.

    lines: published points are joined by lines.

    >>> origins_note(["published", "measured"])
    'Filled markers: measured here; open markers, broken lines: published.'
    >>> origins_note(["published"], lines=False)
    'Open markers: published.'
    """
    there = set(origins)
    said = "; ".join(said for one, said in MARKS.items() if one in there)
    said = said if lines else said.replace(BROKEN, "")
    return f"{said[:1].upper()}{said[1:]}."


def panels_note(panels: Sequence[Panel]) -> list[str]:
    """Return the lines of the note inside a figure of panels: its markers, and mixed protocols."""
    said = origins_note(curve.origin for one in panels for curve in one.curves)
    published = [curve for one in panels for curve in one.published]
    read = [curve for curve in published if any(point.value_error for point in curve.points)]
    kinds = {"bars": not all(c.sampled for c in read), "bands": any(c.sampled for c in read)}
    shown = [kind for kind, there in kinds.items() if there and read]
    if shown:
        said += f" {listed(shown).capitalize()}: reading error of digitised numbers."
    known = letters(panels)
    if not known:
        return [said]
    own = listed(list(dict.fromkeys(one.own_protocol for one in panels)))
    foreign = "; ".join(f"{letter}\N{NO-BREAK SPACE}{rule}" for rule, letter in known.items())
    return [said, f"Protocols mixed: {foreign}; without a letter {own}."]


def published_sources(curves: Iterable[SystemCurve]) -> list[str]:
    """Return a sentence on the sources of published curves; none without any."""
    found = grouped(
        (point.source + ORIGINS[point.how], curve.system.name)
        for curve in curves
        if not curve.measured
        for point in curve.points
    )
    return [f"Published (open markers, broken lines): {told(found)}."] if found else []


def reading_errors(panel: Panel) -> list[str]:
    """Return a sentence on the reading errors of a panel's digitised numbers; none without any."""
    found = grouped(
        (f"± {point.value_error:g}", curve.name)
        for curve in panel.published
        for point in curve.points
        if point.value_error
    )
    read = "; ".join(f"{', '.join(names)} {error}" for error, names in found.items())
    return [f"Reading error in {panel.measure.label}: {read}."] if read else []


def published_rates(panels: Sequence[Panel]) -> list[str]:
    """Return a sentence on published rates that are counted by other rules; none without any."""
    points = [point for one in panels for curve in one.published for point in curve.points]
    rules = sorted({point.rate_protocol for point in points} - {"coding/1"})
    return [f"Published rates are as their sources count them ({listed(rules)})."] * bool(rules)
