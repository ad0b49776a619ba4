"""Codecs at a rate or at a quality: the question of `bench rank`, and how its records are shown."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, NamedTuple

from benchmark.answer import (
    OTHER_RULE,
    Absent,
    Answer,
    Column,
    decimals,
    seconds_text,
    with_interval,
)
from benchmark.compare.anchor import read_compared
from benchmark.compare.caveats import own_caveats
from benchmark.compare.curves import MIN_POINTS
from benchmark.compare.experiment import IMAGES, PUBLISHED
from benchmark.compare.published_rank import published_at
from benchmark.compare.rank import (
    RATE,
    TYPICAL,
    WIDE_GAP,
    Budget,
    Ranked,
    Target,
    parse_target,
    parse_targets,
    rank_at,
)
from benchmark.compare.system_curve import SystemCurve
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, remedies
from benchmark.option import ALLOW_FEW, ANCHOR, BUNDLED, COMPARED, EXPERIMENT, MANNER, opt
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.rows.codecs import run_again
from benchmark.rows.edition import Edition, marked_bundled
from benchmark.rows.remedies import command_on_rows
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import DatasetResults, Source
from benchmark.rows.summary import SECONDS, Summary, excluded
from benchmark.show.means_table import FEW_NOTE
from benchmark.show.table import FEW_MARK, WIDE
from benchmark.system.text import by_key, counted, listed

Record = Mapping[str, Any]

AT = opt(
    COMPARED, "Rates, or values of a metric: bpp=.3, bpp=.05,.1, psnr=32; repeatable.",
    many="repeated",
)  # fmt: skip
SHOWN = opt(COMPARED, "Metrics to show; at a rate, the first one ranks.")
WHOSE = opt(MANNER, "What has the rate or value: each image, or the set as a whole.")
ALL_REACH = opt(MANNER, "Average over the images that all codecs reach, and rank those.")
BRACKETS = "Brackets: 95 % intervals over images in pairs."
MOST_METRICS = 3  # beside the settings of a search
MOST_REMEDIES = 3  # commands for bundled codecs that do not reach a target


def rank(
    source: Source,
    at: Annotated[tuple[str, ...], AT] = ("bpp=0.3",),
    *,
    metrics: Annotated[str, SHOWN] = "psnr,lpips_squeeze",
    codecs: Annotated[str, EXPERIMENT] = "all",
    bundled: Annotated[str, BUNDLED] = "",
    published: Annotated[str, PUBLISHED] = "",
    anchor: Annotated[str, ANCHOR] = "",
    budget: Annotated[str, WHOSE] = "image",
    common: Annotated[bool, ALL_REACH] = False,
    images: Annotated[tuple[str, ...], IMAGES] = (),
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Rank codecs at a rate or at a value of a metric, by interpolation of each image's curve.

    Ranked are the codecs of the experiment and its anchor, as in a report, on the images in which
    most of them reach the value; nothing is extrapolated. With the budget of a set the bytes of all
    images count together. Published systems are interpolated on their own points, and have no rank.

    A record is a codec at a target. `rank` is missing where not all `images` that are compared
    reach the target (`images_reached` do). `bpp` and metrics are means over images with their 95 %
    intervals; `to_best` is the difference from the best codec, at a rate of the first metric, else
    of the rate in percent, with its interval over images in pairs, and `images_better` those in
    which the codec is better; `to_anchor` is that of the rate from the anchor's. Seconds are of an
    image, measured here, or typical ones per megapixel on one core, as declared.

    A codec is interpolated on as many `points`, of the image that has fewest; if the neighbouring
    ones are more than 1.5 times apart in rate, `interpolated_from` and `interpolated_to` are their
    rates. After a search for the target, the `setting` that meets it counts as it is.
    `<metric>_other_rule` is the rule of a published value that is another than the others'.

    Examples:
      bench rank --at bpp=.3
      bench rank --at psnr=32 --at lpips_squeeze=.15 --codecs ours,vtm,avif
      bench rank --dataset kodak --at bpp=.2 --published ms-illm,hific
      bench rank --dataset kodak,sample --bundled ours,elic
      bench rank --budget set --at bpp=.075,.15,.3
    """
    whose, targets = budget_of(budget), parse_targets(at)
    names = metric_names(metrics)
    read = dict.fromkeys((*names, *(target.name for target in targets if target.name != RATE)))
    stored = read_compared(
        source, codecs, tuple(read), bundled=bundled, anchor=anchor, allow_few=allow_few,
        common=common and whose == "set",  # else by image, of any setting
        least_settings=1, images=images,
    )  # fmt: skip
    shown, summary = [*map(Metric.named, names)], stored.summary
    reference = summary.edition_of(stored.anchor.spec)
    if not anchor and reference and reference.facts.kind != "standard":
        reference = None
    ranks = {
        target: rank_at(
            summary, target, shown, whose, common, anchor=reference,
            tolerance=float(is_searched(stored, target)),
        )
        for target in targets
    }  # fmt: skip
    without = list[Absent]()
    if published:
        curves, without = _published(source, stored, published, tuple(read))
        ranks = {
            target: [*of, *published_beside(curves, summary, target, shown, whose, of)]
            for target, of in ranks.items()
        }
    every = [codec for ranked in ranks.values() for codec in ranked]
    records, image_count = [codec.record for codec in every], len(stored.image_names)
    keys = dict.fromkeys(key for record in records for key in record)
    firsts = [headline(target, ranked, shown[0], image_count) for target, ranked in ranks.items()]
    summary_line = " ".join([f"{stored.subject}.", *firsts, BRACKETS, *own_caveats(summary)])
    lacking = [
        of for target, ranked in ranks.items() for of in absent(target, ranked, shown, stored)
    ]
    return Answer(
        [{**keys, **record} for record in records],
        rank_columns(shown, every, summary, reference),
        "\n".join([summary_line, *mark_notes(every, shown)]),
        [*lacking, *without, *summary.not_shown],
        {"dataset": stored.name, "budget": budget, **stored.facts},
        0 if any(record["rank"] for record in records) else 1,
    )


def settings_at(
    summary: Summary, target: Target, metrics: Sequence[Metric], reference: Edition | None
) -> Answer:
    """Return each codec at its setting that is nearest to a target, the best first.

    At a quality the best is the smallest; at a rate the first of `metrics` with values decides.
    reference: whose rates others are compared with, where it is one of them.
    """
    by = [Metric.named(target.name)] if target.name != RATE else []
    known = [of for of in metrics if not of.of_sets and summary.values_of(of.column)]
    shown = [of for of in known if of not in by][:MOST_METRICS] or by
    ranked, firsts = list[Ranked](), ""
    if shown:
        ranked = rank_at(summary, target, shown, anchor=reference, tolerance=math.inf)
        firsts = headline(target, ranked, shown[0], summary.images)
    columns = rank_columns(shown, ranked, summary, reference, brief=True) if ranked else []
    return Answer([codec.record for codec in ranked], columns, firsts)


def budget_of(text: str) -> Budget:
    """Return a budget; raise `UsageError` for a text that is none."""
    if text not in ("image", "set"):
        raise UsageError(f"a budget is of an image or of the set, not of {text!r}")
    return "set" if text == "set" else "image"


def is_searched(stored: DatasetResults, target: Target) -> bool:
    """Return whether a run whose rows are stored searched for this target."""
    for run in stored.runs:
        request = run.get("request")
        with suppress(UsageError):
            if isinstance(request, dict) and parse_target(str(request.get("target"))) == target:
                return True
    return False


def _published(
    source: Source, stored: DatasetResults, names: str, metrics: Iterable[str]
) -> tuple[list[SystemCurve], list[Absent]]:
    """Return curves of published systems on a dataset, and the systems that have none."""
    from benchmark.published.curves import published_curves, system_of
    from benchmark.published.registry import chosen_points

    points = chosen_points(source.results, names)
    every = [published_curves(points, stored.name, Metric.named(name)) for name in metrics]
    curves = [curve for panel in every for curve in panel]
    systems = {system_of(curve) for curve in curves}
    without = dict.fromkeys(point.system for point in points if point.system not in systems)
    why = f"nothing published on {stored.name} in these metrics"
    return curves, [Absent(name, why) for name in without]


def published_beside(
    curves: Sequence[SystemCurve],
    summary: Summary | None,
    target: Target,
    metrics: Sequence[Metric],
    budget: Budget,
    ranked: Sequence[Ranked],
) -> list[Ranked]:
    """Return published systems at a target, with the rules that forbid a comparison with `ranked`.

    summary: of the rows that are ranked; None where there are none.
    """
    from benchmark.published.curves import sharing_protocols

    by_metric = by_key((curve.metric, curve.protocol) for curve in curves)
    sharing = {
        metric.column: sharing_protocols(
            of, metric, summary.protocols.get(metric.column, "") if summary else ""
        )
        for metric, of in by_metric.items()
    }
    unlike = ""
    compared = next((of.record["images"] for of in ranked if of.record["rank"]), None)
    images = next((point.images for curve in curves for point in curve.points), None)
    if summary and compared and images and images != compared:
        unlike = f"means of {images} images, the others of {compared}"
    elif summary and budget == "set" and any(len({*p.image_pixels}) > 1 for p in summary.points):
        unlike = "the mean of images' bpp, the others all bits over all pixels"
    return published_at(curves, target, metrics, sharing, unlike)


class ValueColumn(NamedTuple):
    """A column of what records have at targets: a rate, its change, or a metric."""

    name: str
    key: str  # of records
    form: str
    quantity: str = ""  # in the words of targets, if it may be interpolated
    scale: float = 1.0
    metric: Metric | None = None

    def text(self, record: Record) -> str | None:
        """Return a value with its marks; None without one."""
        if record[self.key] is None:
            return None
        interpolated = record["interpolated_from"] is not None and self.quantity
        wide = WIDE if interpolated and not _is_at(record, self.quantity) else ""
        rule = OTHER_RULE if record.get(f"{self.key}_other_rule") else ""
        few = FEW_MARK if self.metric and self.metric.few(record["images"]) else ""
        return f"{wide}{record[self.key] * self.scale:{self.form}}{rule}{few}"

    def ends(self, record: Record) -> str:
        """Return the interval of a value; empty without one."""
        low, high = (record.get(f"{self.key}{end}") for end in ("_low", "_high"))
        return "" if low is None else f"[{low:{self.form}}, {high:{self.form}}]"

    def whole(self, record: Record) -> str | None:
        """Return a value with its interval; None without one."""
        text = self.text(record)
        return text and f"{text} {self.ends(record)}".rstrip()


def value_columns(
    metrics: Sequence[Metric], has_rates: bool, against: str = ""
) -> list[ValueColumn]:
    """Return the columns of rates, if they differ, and of metrics. against: name of the anchor."""
    columns = list[ValueColumn]()
    if has_rates:
        columns.append(ValueColumn("bpp", RATE, ".3f", RATE))
        columns.append(ValueColumn("kB", "image_bytes", ".1f", scale=1e-3))
    if has_rates and against:
        columns.append(ValueColumn(f"against {against}", "to_anchor", "+z.1f"))
    return columns + [
        ValueColumn(m.label, m.column, f".{decimals(m.label)}f", m.name, metric=m) for m in metrics
    ]


def rank_columns(
    metrics: Sequence[Metric],
    ranked: Sequence[Ranked],
    summary: Summary,
    reference: Edition | None = None,
    brief: bool = False,
) -> list[Column]:
    """Return the columns of a table of codecs at targets.

    reference: whose rates others are compared with. brief: rates are compared with those of the
    best only where there is no reference, and there are no typical seconds.
    """
    records, labels = [codec.record for codec in ranked], summary.labels
    bundled = {labels[edition] for edition in summary.bundled}
    best = {record["codec"] for record in records if record["rank"] == 1}
    against = "" if reference is None or labels[reference] in best else f"{labels[reference]} (%)"

    def better(record: Record) -> str | None:
        images = record["images_better"]
        return None if images is None else f"{images}/{record['images']}"

    columns = [Column("at")] if len({record["at"] for record in records}) > 1 else []
    columns += [
        Column("rank", lambda of: of["rank"] and str(of["rank"])),
        Column("codec", lambda of: marked_bundled(of["codec"], of["codec"] in bundled)),
    ]
    if as_is := any(record["setting"] for record in records):
        columns += [Column("setting"), Column("reached", "reached", ".4g")]
    has_rates = as_is or any(not _is_at(record, RATE) for record in records)
    for of in value_columns(metrics, has_rates, against):
        columns.append(Column(of.name, of.whole if of.key == "to_anchor" else of.text, str))
    if not (brief and against):
        columns.append(Column("to the best", partial(_to_best, metrics[0]), str))
    columns += [] if brief else [Column("better on", better, str)]
    columns += [Column(name.partition("_")[0], name, seconds_text) for name in SECONDS]
    return columns if brief else [*columns, Column("typical, a Mpx", TYPICAL, seconds_text)]


def _is_at(record: Record, name: str) -> bool:
    """Return whether a record is at a value of `name`, the rate or a metric."""
    return bool(record["at"].startswith(f"{name}="))


def mark_notes(ranked: Sequence[Ranked], metrics: Sequence[Metric]) -> list[str]:
    """Return the sentences on few points, and on the marks of values."""
    records, notes = [codec.record for codec in ranked], list[str]()
    points = by_key((of["points"], of["codec"]) for of in records if not of["setting"])
    for count, names in sorted((n, of) for n, of in points.items() if n and n < MIN_POINTS):
        notes.append(
            f"Interpolated on {counted(count, 'point')}: {listed([*dict.fromkeys(names)])}."
        )
    if any(record["interpolated_from"] for record in records):
        notes.append(
            f"{WIDE} interpolated between points more than {WIDE_GAP:g} times apart in rate."
        )
    labels = {RATE: RATE, **{metric.column: metric.label for metric in metrics}}
    rules = by_key(
        ((labels[column], rule), record["codec"])
        for record in records
        for column in labels
        if (rule := record.get(f"{column}_other_rule"))
    )
    notes += [
        f"{OTHER_RULE} not comparable: {label} of {listed([*dict.fromkeys(of)])} ({rule})."
        for (label, rule), of in rules.items()
    ]
    if any(
        metric.few(record["images"]) and record[metric.column] is not None
        for record in records
        for metric in metrics
    ):
        notes.append(FEW_NOTE)
    return notes


def _to_best(metric: Metric, record: Record) -> str | None:
    if _is_at(record, RATE):
        unit = " dB" if metric.label.endswith("(dB)") else ""
        return with_interval(record, "to_best", f"+z.{decimals(metric.label)}f", unit)
    return with_interval(record, "to_best", "+z.1f", " %")


def headline(target: Target, ranked: Sequence[Ranked], metric: Metric, images: int) -> str:
    """Return the sentence on the best codec at a target, and on the next one.

    images: of the dataset.
    """
    best = [codec.record for codec in ranked if codec.record["rank"] is not None]
    compared = best[0]["images"] if best else images
    few = f" on {compared} of {images} images" if compared < images else ""
    if len(best) < 2 or best[1]["to_best"] is None:
        only = f"only {best[0]['codec']}" if best else "no codec"
        return f"At {target}{few} {only} is ranked."
    first, second = best[:2]
    ends = [(of["to_best_low"], of["to_best_high"]) for of in best if of["to_best"] is not None]
    sure = all(low is not None and not low <= 0 <= high for low, high in ends)
    how = f"{first['codec']} {'is the best' if sure else 'has the best mean'}"
    if second["rank"] == 1:
        how = f"{first['codec']} is as good as {second['codec']}"
    change = _to_best(metric, second)
    return f"At {target}{few} {how}; {second['codec']} differs by {change}."


def absent(
    target: Target,
    ranked: Sequence[Ranked],
    metrics: Sequence[Metric],
    stored: DatasetResults | None,
) -> Iterator[Absent]:
    """Yield the images that are not compared, and the codecs and metrics without a place."""
    names = stored.image_names if stored else {}
    best = [codec for codec in ranked if codec.record["rank"] is not None]
    by = metrics[0] if target.name == RATE else Metric.named(target.name)
    if stored and best and best[0].record["images"] < len(names):
        out = sorted({names[number] for codec in best for number in codec.short})
        known = (
            {*stored.table.drop_nulls(by.column)["image"]} if not by.of_sets else {*names.values()}
        )
        whys = {
            f"not reached by {listed([of.record['codec'] for of in best if of.short])}": out,
            f"no {by.label}": sorted({*names.values()} - known),
        }
        for why, images in whys.items():
            if images:
                yield Absent(listed(images), f"not compared at {target}: {why}")
    for metric in metrics if best else ():
        has = any(codec.record[metric.column] is not None for codec in best)
        if stored and not has and stored.summary.values_of(metric.column):
            yield Absent(metric.label, f"no codec has it of each compared image at {target}")
    others = [of for of in ranked if of.record["rank"] is None and not _has_value(of, metrics)]
    others.sort(key=lambda codec: codec.edition.origin != "here")
    few = sum(codec.edition.bundled for codec in others) <= MOST_REMEDIES
    for codec in others:
        remedy = ""
        if stored and codec.short and (few or not codec.edition.bundled):
            remedy = _search_command(stored, codec.edition, target)
        yield Absent(codec.record["codec"], _why_not_ranked(target, codec, by, stored), remedy)


def _has_value(codec: Ranked, metrics: Sequence[Metric]) -> bool:
    return any(codec.record[name] is not None for name in (RATE, *(m.column for m in metrics)))


def _why_not_ranked(
    target: Target, codec: Ranked, by: Metric, stored: DatasetResults | None
) -> str:
    """Return why a codec does not reach a target, and where it would, as part of a sentence."""
    low, high = codec.span or (None, None)
    if not codec.edition.measured or stored is None:
        if low is None:
            return f"nothing published in {by.label}"
        return f"{target} not reached; published at {target.name}={low:.3g} to {high:.3g}"
    why = f"no curve for {target}"
    if codec.short:
        missed = listed(sorted(stored.image_names[number] for number in codec.short))
        why = f"{target} not reached in {missed}"
        if low is not None:
            why += f"; everywhere at {target.name}={low:.3g} to {high:.3g}"
    if codec.record["rank"] is None and not codec.set_reaches:
        why += _settings_left_out(codec.edition, by, stored.summary)
    return f"{why}; --budget set counts all bytes together" if codec.set_reaches else why


def _settings_left_out(edition: Edition, metric: Metric, summary: Summary) -> str:
    """Return the clause on settings that are in no curve, with what computes a metric now."""
    whys = dict[str, list[str]]()
    for point, reason in excluded(summary, metric):
        if point.edition == edition:
            mean, why = point.means[metric.column], reason
            if mean.missing and not point.missing and mean.reasons:
                count = f"{mean.images + mean.infinite} of {point.images} images"
                computing = remedies([metric.name], mean.reasons[0][0], summary.again)
                why = f"{metric.label} of {count}: {computing}"
            whys.setdefault(why, []).append(str(point.setting))
    return "".join(f"; without {listed(settings)} ({why})" for why, settings in whys.items())


def _search_command(stored: DatasetResults, edition: Edition, target: Target) -> str:
    """Return the command that searches a codec's setting for a target; empty where none can."""
    if target.name in DISTRIBUTION_METRICS:
        return ""
    for run in stored.runs if edition.origin == "here" else ():  # others ran elsewhere
        if dict(run.get("conditions") or {}).get("run") == edition.ran.run and "request" in run:
            return run_again(run, codecs=edition.spec.text, target=str(target), points=(), part="")
    results = stored.folder.parent.parent
    options = {"codecs": edition.spec.text, "target": str(target)}
    return command_on_rows("run", results, stored.name, **options)
