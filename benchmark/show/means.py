"""Tables and sentences of what was measured: means, networks."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from benchmark.compare.panel import SystemCurve
from benchmark.metrics.metric import FEW_IMAGES, Metric
from benchmark.rows.summary import (
    REAL_TO_ESTIMATED,
    SECONDS,
    Edition,
    Mean,
    Point,
    Summary,
)
from benchmark.rows.systems import chosen_on, spec_of, training
from benchmark.show.sections import capitalised
from benchmark.show.table import ENDLESS, FEW_MARK, NOTHING, Column, Table, decimals, seconds_text
from benchmark.system.text import by_key

NETWORK_HEADERS = (
    *("work (kMAC/px)", "training (10^15 MAC)"),
    *("optimiser", "steps of a network"),
)
COUNT_NOTE = "A count in brackets: the mean is over that number of images only."
IDENTICAL_NOTE = (
    f"{ENDLESS} n: of n images the value is infinite (of PSNR: they came back identical); they are "
    "not in the mean."
)
FEW_NOTE = (
    f"{FEW_MARK} Over fewer than {FEW_IMAGES} images, where such a metric is biased or scattered."
)


def means_table(summary: Summary, metrics: Sequence[Metric]) -> Table:
    """Return a row for each point; each mean is over the row's images unless it says otherwise.

    Columns without any value are left out.
    """

    def images(point: Point) -> str:
        return f"{point.images} of {summary.images}" if point.missing else str(point.images)

    columns = [
        Column("codec", "label"),
        Column("setting", lambda point: str(point.setting)),
        Column("images", images, str),
        Column("bpp", "bpp", ".4f"),
        *(Column(m.label, partial(_mean_of_metric, m), str) for m in metrics),
        Column("real / estimated bits", partial(_mean, REAL_TO_ESTIMATED, "{:.4f}".format), str),
    ]
    columns += [
        Column(name.partition("_")[0], partial(_mean, name, seconds_text), str) for name in SECONDS
    ]
    if any(point.failed for point in summary.points):
        columns.append(Column("failed", lambda point: str(point.failed or ""), str))
    table = Table.of(columns, summary.points)
    text = "".join(cell for row in table.rows for cell in row[3:])
    signs = (("(", COUNT_NOTE), (ENDLESS, IDENTICAL_NOTE), (FEW_MARK, FEW_NOTE))
    notes = [note for sign, note in signs if sign in text]
    notes += [*chosen_notes(summary.labels), *caveat_notes(summary)]
    return table._replace(notes=tuple(notes)).filled(always=4)


def _mean_of_metric(metric: Metric, point: Point) -> str | None:
    mean = point.means[metric.column]
    few = mean.value is not None and metric.few(mean.images)
    form = f"{{:.{decimals(metric.label)}f}}".format
    return _mean(metric.column, form, point, FEW_MARK if few else "")


def _mean(name: str, form: Callable[[float], str], point: Point, mark: str = "") -> str | None:
    """Return a mean of a point in words: over how many images, and how many are infinite."""
    mean: Mean | None = point.means.get(name)
    if mean is None:
        return None
    endless = f"{ENDLESS} {mean.infinite}" if mean.infinite else ""
    if mean.value is None:
        return endless or None
    count = str(mean.images) if mean.images != point.images else ""
    inside = ", ".join(part for part in (count, endless) if part)
    return f"{form(mean.value)}{mark}" + (f" ({inside})" if inside else "")


def few_of(summary: Summary, metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics of whole sets that every point has of too few images."""
    return [
        metric
        for metric in metrics
        if metric.of_sets
        and all(metric.few(point.means[metric.column].images) for point in summary.points)
    ]


def training_cells(edition: Edition) -> tuple[str, str, str, str]:
    """Return the cells below `NETWORK_HEADERS`; empty for rows of other than bundled weights."""
    kmac, (petamacs, optimiser, steps, fingerprint) = training(edition.label)
    if not (fingerprint and edition.fingerprint.startswith(fingerprint)):
        return ("", "", "", "")
    return f"{kmac:.1f}", "" if petamacs is None else f"{petamacs:.2f}", optimiser, steps


def shared_label(labels: Sequence[str]) -> str:
    """Return the name and the options that codec variants share; all labels of several codecs.

    >>> shared_label(["ours:beta=0:size=micro", "ours:beta=3.84:size=micro"])
    'ours:size=micro'
    """
    first, *others = map(spec_of, labels)
    if any(spec.name != first.name for spec in others):
        return ", ".join(labels)
    shared = (at for at in first.options if all(at in spec.options for spec in others))
    return first._replace(options=tuple(shared)).text


def chosen_notes(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences on networks whose realism was chosen by a metric on a dataset.

    >>> chosen_notes(["jpeg", "ours:beta=0:size=micro", "ours:beta=3.84:size=micro"])
    ('Realism chosen on Kodak by LPIPS (SqueezeNet): ours:size=micro.',)
    """
    choices = [(chosen_on(label), label) for label in dict.fromkeys(labels)]
    return tuple(
        f"Realism chosen on {choice[0]} by {choice[1]}: "
        f"{shared_label([label for of, label in choices if of == choice])}."
        for choice in dict.fromkeys(choice for choice, _ in choices)
        if choice
    )


def caveat_notes(summary: Summary) -> list[str]:
    """Return the sentences on what has to stand beside numbers of codecs: "random weights"."""
    pairs = ((text, point.label) for point in summary.points for text in point.edition.caveats)
    return [
        capitalised(f"{text}: {', '.join(dict.fromkeys(labels))}")
        for text, labels in by_key(pairs).items()
    ]


def network_sentences(curves: Iterable[SystemCurve]) -> list[str]:
    """Return sentences on work and training of the curves' networks, and on how they were chosen.

    Networks are those that are bundled.
    """
    measured = {curve.name: curve.edition for curve in curves if curve.edition}
    names = by_key(
        (", ".join(cell or NOTHING for cell in cells), name)
        for name, edition in measured.items()
        if any(cells := training_cells(edition))
    )
    parts = "; ".join(f"{', '.join(of)}: {cells}" for cells, of in names.items())
    sentences = [capitalised(f"{', '.join(NETWORK_HEADERS)}: {parts}")] if parts else []
    return [*sentences, *chosen_notes(edition.label for edition in measured.values())]
