"""Tables and notes of what was measured: means of points, drawings, the networks behind them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from benchmark.compare.interval import DrawSpread, Interval
from benchmark.compare.panel import SystemCurve
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure, protocol_of
from benchmark.metrics.metric import FEW_IMAGES
from benchmark.registry import metric_named
from benchmark.rows.stored import DatasetResults
from benchmark.rows.summary import REAL_TO_ESTIMATED, SECONDS, Edition, Mean, Point, Summary
from benchmark.rows.systems import chosen_on, spec_of, training
from benchmark.show.table import (
    ENDLESS,
    FEW_MARK,
    NOTHING,
    Column,
    Table,
    csv_text,
    decimals,
    seconds_text,
)

NETWORK_HEADERS = (
    *("work (kMAC/px)", "training (10^15 MAC)"),
    *("optimiser", "steps of a network"),
)
COUNT_NOTE = "A count in brackets: the mean is over that number of images only."
IDENTICAL_NOTE = f"{ENDLESS} n: n images came back identical; they are not in the mean."
FEW_NOTE = (
    f"{FEW_MARK} Over fewer than {FEW_IMAGES} images, where such a metric is biased or scattered."
)
SHOWN_IMAGES = 3  # of each setting, of those that influence a metric
DRAWS_NOTE = (
    "Over draws: the lowest and the highest mean of a drawing. Over images: the 95 % interval of "
    "the mean over drawings."
)


def means_table(summary: Summary, measures: Sequence[Measure]) -> Table:
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
        *(Column(m.label, partial(_mean_of_metric, m), str) for m in measures),
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
    return table._replace(notes=(*notes, *chosen_notes(summary.labels))).filled(always=4)


def _mean_of_metric(measure: Measure, point: Point) -> str | None:
    mean = point.means[measure.column]
    few = mean.value is not None and measure.few(mean.images)
    form = f"{{:.{decimals(measure.label)}f}}".format
    return _mean(measure.column, form, point, FEW_MARK if few else "")


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


def draws_table(spreads: Sequence[DrawSpread]) -> Table:
    """Return a row for each spread over drawings, with the spread over images beside it."""

    def value(name: str, spread: DrawSpread) -> str:
        value: float | Interval | tuple[float, float] | None = getattr(spread, name)
        if value is None:
            return NOTHING
        ends = value if isinstance(value, tuple) else (value,)
        return " to ".join(f"{end:.{decimals(spread.measure.label)}f}" for end in ends)

    columns = (
        Column("codec", "label"),
        Column("setting", lambda spread: str(spread.setting)),
        Column("metric", "measure.label"),
        Column("draws", "draws", "d"),
        Column("mean", partial(value, "mean"), str),
        Column("over draws", partial(value, "over_draws"), str),
        Column("over images", partial(value, "over_images"), str),
    )
    return Table.of(columns, spreads, [DRAWS_NOTE] if spreads else ())


def few_of(summary: Summary, measures: Sequence[Measure]) -> list[Measure]:
    """Return the metrics of whole sets that every point has of too few images."""
    return [
        measure
        for measure in measures
        if measure.of_sets
        and all(measure.few(point.means[measure.column].images) for point in summary.points)
    ]


def attribution_files(metric: str, stored: DatasetResults) -> tuple[Table, dict[str, str]]:
    """Return the largest parts, and all of them as a file `attribution_<column>.csv`.

    Raises `UsageError` where no point has values of two images.
    """
    kind, protocol = metric_named(metric), protocol_of(metric)
    from benchmark.rows.reduce import attribution

    parts = attribution(stored.table, kind.column, protocol)
    if not parts:
        raise UsageError(
            f"{stored.name} has no {kind.label} of two images: "
            f"`bench rescore --dataset {stored.name} --metrics {metric}`"
        )
    seen = Counter[tuple[str, str]]()
    shown = []
    for part in parts:
        seen[part.label, part.setting] += 1
        if (place := seen[part.label, part.setting]) <= SHOWN_IMAGES:
            shown.append({**part._asdict(), "value": part.value if place == 1 else None})
    columns = (
        Column("codec", "label"),
        Column("setting"),
        Column("image"),
        Column(kind.label, "value", ".4f"),
        Column("without the image", "without", ".4f"),
        Column("influence", "influence", "+.4f"),
    )
    note = (
        f"The {SHOWN_IMAGES} images that move {kind.label} most at each setting ({protocol}); "
        "values without an image are to first order."
    )
    text = csv_text([part._asdict() for part in parts])
    return Table.of(columns, shown, [note], ""), {f"attribution_{kind.column}.csv": text}


def training_cells(edition: Edition) -> tuple[str, str, str, str]:
    """Return the cells below `NETWORK_HEADERS`; empty for rows of other than bundled weights."""
    kmac, (petamacs, optimiser, steps, fingerprint) = training(edition.label)
    if not (fingerprint and edition.build.fingerprint.startswith(fingerprint)):
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


def network_sentences(curves: Iterable[SystemCurve]) -> list[str]:
    """Return sentences on work and training of the curves' networks, and on how they were chosen.

    Networks are those that are bundled.
    """
    measured = {curve.name: curve.edition for curve in curves if curve.edition}
    names: dict[str, list[str]] = {}
    for name, edition in measured.items():
        if any(cells := training_cells(edition)):
            names.setdefault(", ".join(cell or NOTHING for cell in cells), []).append(name)
    sentences = []
    if names:
        heads = ", ".join(NETWORK_HEADERS)
        parts = "; ".join(f"{', '.join(of)}: {cells}" for cells, of in names.items())
        sentences.append(f"{heads[0].upper()}{heads[1:]}: {parts}.")
    return [*sentences, *chosen_notes(edition.label for edition in measured.values())]
