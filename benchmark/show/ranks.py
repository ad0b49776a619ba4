"""Codecs at a rate or a quality: `bench rank`, and the columns and sentences of its records."""

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
    interval_text,
    seconds_text,
)
from benchmark.compare.anchor import read_with_anchor
from benchmark.compare.caveats import caveats_measured_here
from benchmark.compare.curve import Curve
from benchmark.compare.experiment import IMAGES, PUBLISHED
from benchmark.compare.published_rank import rank_systems
from benchmark.compare.rank import (
    RATE,
    TYPICAL_SECONDS,
    WIDE_GAP,
    Budget,
    RankedCodec,
    Target,
    parse_target,
    parse_targets,
    rank_at,
)
from benchmark.compare.rate_quality import MIN_POINTS
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, remedies
from benchmark.option import ALLOW_FEW, ANCHOR, BUNDLED, COMPARED, MANNER, SHOWN_CODECS, opt
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.rows.codecs import rerun_command
from benchmark.rows.edition import Edition, mark_bundled
from benchmark.rows.remedies import command_on_rows
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import DatasetResults, RowSource
from benchmark.rows.summary import SECONDS, Summary, excluded_points
from benchmark.show.means_table import FEW_NOTE
from benchmark.show.sections import seeds_sentences
from benchmark.show.table import FEW_MARK, WIDE_MARK
from benchmark.system.text import counted, group_by_key, listed

Record = Mapping[str, Any]

TARGETS_OPTION = opt(
    COMPARED, "Rates, or values of a metric: bpp=.3, bpp=.05,.1, psnr=32; repeatable.",
    value_form="repeated",
)  # fmt: skip
SHOWN_METRICS = opt(COMPARED, "Metrics to show; at a rate, the first one ranks the codecs.")
BUDGET = opt(MANNER, "Match the target per image ('image') or over all images together ('set').")
COMMON_IMAGES = opt(MANNER, "Use only images on which every codec reaches the target.")
BRACKETS = "Brackets: paired 95 % intervals over images."
MAX_METRICS = 3  # maximum number of metrics next to the settings found by a search
MAX_REMEDIES = 3  # maximum number of commands for bundled codecs that miss a target


def rank(
    source: RowSource,
    at: Annotated[tuple[str, ...], TARGETS_OPTION] = ("bpp=0.3",),
    *,
    metrics: Annotated[str, SHOWN_METRICS] = "psnr,lpips_squeeze",
    codecs: Annotated[str, SHOWN_CODECS] = "all",
    bundled: Annotated[str, BUNDLED] = "",
    published: Annotated[str, PUBLISHED] = "",
    anchor: Annotated[str, ANCHOR] = "",
    budget: Annotated[str, BUDGET] = "image",
    common: Annotated[bool, COMMON_IMAGES] = False,
    images: Annotated[tuple[str, ...], IMAGES] = (),
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Rank codecs at a rate or at a value of a metric, by interpolation of each image's curve.

    The experiment's codecs and its anchor are ranked, as in a report, on the images on which most
    of them reach the value; nothing is extrapolated. With `--budget set`, the bytes of all images
    are added up. Published systems are interpolated between their points, and have no rank.

    One record per codec and target. `rank` is missing unless all compared `images` reach the target
    (`images_reached` do). `bpp` and metrics are means over images with 95 % intervals. `to_best` is
    the difference from the best codec (at a rate in the first metric, else in percent of the rate)
    with a paired interval; `images_better` is the number of images on which the codec is better;
    `to_anchor` is the difference of rates from the anchor. Seconds are per image, measured here, or
    per megapixel on one core, as typical seconds that the codec declares.

    `points` is the minimum number of points of an image. If the rates of neighbouring points differ
    by more than 1.5 times, they are `interpolated_from` and `interpolated_to`. After a
    search for the target, the `setting` that meets it is used without interpolation.
    `<metric>_other_rule` is the rule of a published value, if it differs from the others' rule.

    Examples:
      bench rank --at bpp=.3
      bench rank --at psnr=32 --at lpips_squeeze=.15 --codecs ours,vtm,avif
      bench rank --dataset kodak --at bpp=.2 --published ms-illm,hific
      bench rank --dataset kodak,sample --bundled ours,elic
      bench rank --budget set --at bpp=.075,.15,.3
    """
    budget_kind, targets = parse_budget(budget), parse_targets(at)
    names = metric_names(metrics)
    read_names = dict.fromkeys(
        (*names, *(target.name for target in targets if target.name != RATE))
    )
    dataset_results = read_with_anchor(
        source, codecs, tuple(read_names), bundled=bundled, anchor=anchor, allow_few=allow_few,
        common=common and budget_kind == "set",  # with "image", settings may lack images
        min_settings=1, images=images,
    )  # fmt: skip
    shown_metrics, summary = [*map(Metric.named, names)], dataset_results.summary
    reference = summary.edition_of(dataset_results.anchor.spec)
    if not anchor and reference and reference.facts.kind != "standard":
        reference = None
    ranks = {
        target: rank_at(
            summary, target, shown_metrics, budget_kind, common, anchor=reference,
            tolerance=float(is_searched(dataset_results, target)),
        )
        for target in targets
    }  # fmt: skip
    absent_systems = list[Absent]()
    if published:
        curves, absent_systems = _published_curves(
            source, dataset_results, published, tuple(read_names)
        )
        ranks = {
            target: [
                *codec_ranks,
                *rank_published(curves, summary, target, shown_metrics, budget_kind, codec_ranks),
            ]
            for target, codec_ranks in ranks.items()
        }
    all_codecs = [codec for ranked_codecs in ranks.values() for codec in ranked_codecs]
    records, image_count = [codec.record for codec in all_codecs], len(dataset_results.image_names)
    all_keys = dict.fromkeys(key for record in records for key in record)
    headlines = [
        headline(target, ranked_codecs, shown_metrics[0], image_count)
        for target, ranked_codecs in ranks.items()
    ]
    summary_line = " ".join(
        [f"{dataset_results.subject}.", *headlines, BRACKETS, *caveats_measured_here(summary)]
    )
    absences = [
        absence
        for target, ranked_codecs in ranks.items()
        for absence in rank_absences(target, ranked_codecs, shown_metrics, dataset_results)
    ]
    return Answer(
        [{**all_keys, **record} for record in records],
        rank_columns(shown_metrics, all_codecs, summary, reference),
        "\n".join([summary_line, *mark_notes(all_codecs, shown_metrics)]),
        [*absences, *absent_systems, *summary.not_shown],
        {"dataset": dataset_results.name, "budget": budget, **dataset_results.facts},
        0 if any(record["rank"] for record in records) else 1,
    )


def nearest_settings(
    summary: Summary, target: Target, metrics: Sequence[Metric], reference: Edition | None
) -> Answer:
    """Return each codec at its setting nearest to a target, best first.

    At a quality, the lowest rate is best; at a rate, the first of `metrics` with values decides.
    reference: edition to compare the rates of others with, if it is ranked.
    """
    target_metrics = [Metric.named(target.name)] if target.name != RATE else []
    available_metrics = [
        m for m in metrics if not m.is_distribution and summary.count_values(m.column)
    ]
    shown_metrics = [metric for metric in available_metrics if metric not in target_metrics][
        :MAX_METRICS
    ] or target_metrics
    ranked_codecs, first_sentence = list[RankedCodec](), ""
    if shown_metrics:
        ranked_codecs = rank_at(
            summary, target, shown_metrics, anchor=reference, tolerance=math.inf
        )
        first_sentence = headline(target, ranked_codecs, shown_metrics[0], summary.images)
    columns = (
        rank_columns(shown_metrics, ranked_codecs, summary, reference, brief=True)
        if ranked_codecs
        else []
    )
    return Answer([codec.record for codec in ranked_codecs], columns, first_sentence)


def parse_budget(text: str) -> Budget:
    """Parse a budget, "image" or "set"; raise `UsageError` for any other text."""
    if text not in ("image", "set"):
        raise UsageError(f"the budget must be 'image' or 'set', not {text!r}")
    return "set" if text == "set" else "image"


def is_searched(dataset_results: DatasetResults, target: Target) -> bool:
    """Return whether a stored run searched for this target."""
    for run in dataset_results.runs:
        request = run.get("request")
        with suppress(UsageError):
            if isinstance(request, dict) and parse_target(str(request.get("target"))) == target:
                return True
    return False


def _published_curves(
    source: RowSource, dataset_results: DatasetResults, names: str, metrics: Iterable[str]
) -> tuple[list[Curve], list[Absent]]:
    from benchmark.published.curves import published_curves, system_of
    from benchmark.published.registry import chosen_points

    points = chosen_points(source.results, names)
    panels = [
        published_curves(points, dataset_results.name, Metric.named(name)) for name in metrics
    ]
    curves = [curve for panel in panels for curve in panel]
    systems = {system_of(curve) for curve in curves}
    systems_without_curve = dict.fromkeys(
        point.system for point in points if point.system not in systems
    )
    reason = f"nothing is published on {dataset_results.name} in these metrics"
    return curves, [Absent(name, reason) for name in systems_without_curve]


def rank_published(
    curves: Sequence[Curve],
    summary: Summary | None,
    target: Target,
    metrics: Sequence[Metric],
    budget: Budget,
    codecs: Sequence[RankedCodec],
) -> list[RankedCodec]:
    """Return published systems at a target, with rules that prevent a comparison with `codecs`."""
    from benchmark.published.curves import compatible_protocols

    protocols_by_metric = group_by_key((curve.metric, curve.protocol) for curve in curves)
    shared_protocols = {
        metric.column: compatible_protocols(
            metric_curves, metric, summary.protocols.get(metric.column, "") if summary else ""
        )
        for metric, metric_curves in protocols_by_metric.items()
    }
    difference = ""
    num_compared = next((codec.record["images"] for codec in codecs if codec.record["rank"]), None)
    images = next((point.images for curve in curves for point in curve.points), None)
    if summary and num_compared and images and images != num_compared:
        difference = f"its means are over {images} images, other codecs' means over {num_compared}"
    elif summary and budget == "set" and any(len({*p.image_pixels}) > 1 for p in summary.points):
        difference = "its bpp is a mean over images, other codecs' bpp is all bits over all pixels"
    return rank_systems(curves, target, metrics, shared_protocols, difference)


class ValueColumn(NamedTuple):
    """A column of records at targets: a rate, its change, or a metric."""

    name: str
    key: str  # key in records
    form: str
    quantity: str = ""  # name in targets, if the value may be interpolated
    scale: float = 1.0
    metric: Metric | None = None

    def text(self, record: Record) -> str | None:
        """Format a record's value with its marks; None without a value."""
        if record[self.key] is None:
            return None
        is_interpolated = record["interpolated_from"] is not None and self.quantity
        wide_mark = WIDE_MARK if is_interpolated and not _has_target(record, self.quantity) else ""
        rule_mark = OTHER_RULE if record.get(f"{self.key}_other_rule") else ""
        few_mark = FEW_MARK if self.metric and self.metric.has_few_images(record["images"]) else ""
        deviation = record.get(f"{self.key}_seeds_standard_deviation")
        seeds_text = "" if deviation is None else f" ± {deviation * self.scale:{self.form}}"
        value_text = f"{record[self.key] * self.scale:{self.form}}"
        return f"{wide_mark}{value_text}{seeds_text}{rule_mark}{few_mark}"

    def interval(self, record: Record) -> str:
        """Format the interval of a value; "" without an interval."""
        low, high = (record.get(f"{self.key}{end}") for end in ("_low", "_high"))
        return "" if low is None else f"[{low:{self.form}}, {high:{self.form}}]"

    def text_with_interval(self, record: Record) -> str | None:
        """Format a value with its interval; None without a value."""
        text = self.text(record)
        return text and f"{text} {self.interval(record)}".rstrip()


def value_columns(
    metrics: Sequence[Metric], has_rates: bool, against: str = ""
) -> list[ValueColumn]:
    """Return rate columns if `has_rates`, and columns of metrics. against: the anchor's name."""
    columns = list[ValueColumn]()
    if has_rates:
        columns.append(ValueColumn("bpp", RATE, ".3f", RATE))
        columns.append(ValueColumn("kB", "image_bytes", ".1f", scale=1e-3))
    if has_rates and against:
        columns.append(ValueColumn(f"against {against}", "to_anchor", "+z.1f"))
    return columns + [
        ValueColumn(m.label, m.column, f".{m.decimals}f", m.name, metric=m) for m in metrics
    ]


def rank_columns(
    metrics: Sequence[Metric],
    codecs: Sequence[RankedCodec],
    summary: Summary,
    reference: Edition | None = None,
    brief: bool = False,
) -> list[Column]:
    """Return the columns of a table of codecs at targets.

    brief: omit typical seconds and, if there is a reference, the difference from the best.
    """
    records, labels = [codec.record for codec in codecs], summary.labels
    bundled = {labels[edition] for edition in summary.bundled}
    first_codecs = {record["codec"] for record in records if record["rank"] == 1}
    anchor_column = (
        "" if reference is None or labels[reference] in first_codecs else f"{labels[reference]} (%)"
    )

    def better_text(record: Record) -> str | None:
        images = record["images_better"]
        return None if images is None else f"{images}/{record['images']}"

    columns = [Column("at")] if len({record["at"] for record in records}) > 1 else []
    columns += [
        Column("rank", lambda record: record["rank"] and str(record["rank"])),
        Column("codec", lambda record: mark_bundled(record["codec"], record["codec"] in bundled)),
    ]
    if has_settings := any(record["setting"] for record in records):
        columns += [Column("setting"), Column("reached", "reached", ".4g")]
    has_rates = has_settings or any(not _has_target(record, RATE) for record in records)
    for column in value_columns(metrics, has_rates, anchor_column):
        columns.append(
            Column(
                column.name,
                column.text_with_interval if column.key == "to_anchor" else column.text,
                str,
            )
        )
    if not (brief and anchor_column):
        columns.append(Column("to the best", partial(_difference_text, metrics[0]), str))
    columns += [] if brief else [Column("better on", better_text, str)]
    columns += [Column(name.partition("_")[0], name, seconds_text) for name in SECONDS]
    return columns if brief else [*columns, Column("typical, a Mpx", TYPICAL_SECONDS, seconds_text)]


def _has_target(record: Record, name: str) -> bool:
    return bool(record["at"].startswith(f"{name}="))


def mark_notes(all_codecs: Sequence[RankedCodec], metrics: Sequence[Metric]) -> list[str]:
    """Return the sentences on curves with few points and on the marks of values."""
    records, notes = [codec.record for codec in all_codecs], list[str]()
    codecs_by_num_points = group_by_key(
        (record["points"], record["codec"]) for record in records if not record["setting"]
    )
    for count, names in sorted(
        (num_points, names)
        for num_points, names in codecs_by_num_points.items()
        if num_points and num_points < MIN_POINTS
    ):
        notes.append(
            f"Interpolated on {counted(count, 'point')}: {listed([*dict.fromkeys(names)])}."
        )
    if any(record["interpolated_from"] for record in records):
        notes.append(
            f"{WIDE_MARK} interpolated between points more than {WIDE_GAP:g} times apart in rate."
        )
    notes += seeds_sentences(record["seeds"] for record in records if "seeds" in record)
    labels = {RATE: RATE, **{metric.column: metric.label for metric in metrics}}
    rules = group_by_key(
        ((labels[column], rule), record["codec"])
        for record in records
        for column in labels
        if (rule := record.get(f"{column}_other_rule"))
    )
    notes += [
        f"{OTHER_RULE} not comparable: {label} of {listed([*dict.fromkeys(codecs)])} ({rule})."
        for (label, rule), codecs in rules.items()
    ]
    if any(
        metric.has_few_images(record["images"]) and record[metric.column] is not None
        for record in records
        for metric in metrics
    ):
        notes.append(FEW_NOTE)
    return notes


def _difference_text(metric: Metric, record: Record) -> str | None:
    if _has_target(record, RATE):
        unit = f" {metric.unit}" if metric.unit else ""
        return interval_text(record, "to_best", f"+z.{metric.decimals}f", unit)
    return interval_text(record, "to_best", "+z.1f", " %")


def headline(target: Target, codecs: Sequence[RankedCodec], metric: Metric, images: int) -> str:
    """Return a sentence on the two best codecs at a target. images: number in the dataset."""
    ranked_records = [codec.record for codec in codecs if codec.record["rank"] is not None]
    num_compared = ranked_records[0]["images"] if ranked_records else images
    image_clause = f" on {num_compared} of {images} images" if num_compared < images else ""
    if len(ranked_records) < 2 or ranked_records[1]["to_best"] is None:
        only_codec = f"only {ranked_records[0]['codec']}" if ranked_records else "no codec"
        return f"At {target}{image_clause} {only_codec} is ranked."
    best_record, runner_up = ranked_records[:2]
    intervals = [
        (record["to_best_low"], record["to_best_high"])
        for record in ranked_records
        if record["to_best"] is not None
    ]
    is_certain = all(low is not None and not low <= 0 <= high for low, high in intervals)
    verdict = f"{best_record['codec']} {'is the best' if is_certain else 'has the best mean'}"
    if runner_up["rank"] == 1:
        verdict = f"{best_record['codec']} is as good as {runner_up['codec']}"
    change = _difference_text(metric, runner_up)
    return f"At {target}{image_clause} {verdict}; {runner_up['codec']} differs by {change}."


def rank_absences(
    target: Target,
    codecs: Sequence[RankedCodec],
    metrics: Sequence[Metric],
    results: DatasetResults | None,
) -> Iterator[Absent]:
    """Yield images that are not compared, and codecs and metrics that are not ranked."""
    names = results.image_names if results else {}
    ranked_codecs = [codec for codec in codecs if codec.record["rank"] is not None]
    target_metric = metrics[0] if target.name == RATE else Metric.named(target.name)
    if results and ranked_codecs and ranked_codecs[0].record["images"] < len(names):
        unreached_names = sorted(
            {names[number] for codec in ranked_codecs for number in codec.unreached_images}
        )
        images_with_value = (
            {*results.table.drop_nulls(target_metric.column)["image"]}
            if not target_metric.is_distribution
            else {*names.values()}
        )
        unreached_codecs = [codec for codec in ranked_codecs if codec.unreached_images]
        labels = listed([codec.record["codec"] for codec in unreached_codecs])
        can_use_set = all(codec.means_bracket_target for codec in unreached_codecs)
        hint = "; --budget set uses all images" if can_use_set else ""
        images_by_reason = {
            f"not reached by {labels}{hint}": unreached_names,
            f"no {target_metric.label}": sorted({*names.values()} - images_with_value),
        }
        for reason, images in images_by_reason.items():
            if images:
                yield Absent(listed(images), f"not compared at {target}: {reason}")
    for metric in metrics if ranked_codecs else ():
        has_value = any(codec.record[metric.column] is not None for codec in ranked_codecs)
        if results and not has_value and results.summary.count_values(metric.column):
            yield Absent(metric.label, f"no codec has values for all compared images at {target}")
    unranked_codecs = [
        codec for codec in codecs if codec.record["rank"] is None and not _has_value(codec, metrics)
    ]
    unranked_codecs.sort(key=lambda codec: codec.edition.origin != "here")
    has_few_bundled = sum(codec.edition.bundled for codec in unranked_codecs) <= MAX_REMEDIES
    for codec in unranked_codecs:
        remedy = ""
        if results and codec.unreached_images and (has_few_bundled or not codec.edition.bundled):
            remedy = _search_command(results, codec.edition, target)
        yield Absent(
            codec.record["codec"], _why_not_ranked(target, codec, target_metric, results), remedy
        )


def _has_value(codec: RankedCodec, metrics: Sequence[Metric]) -> bool:
    return any(codec.record[name] is not None for name in (RATE, *(m.column for m in metrics)))


def _why_not_ranked(
    target: Target, codec: RankedCodec, metric: Metric, dataset_results: DatasetResults | None
) -> str:
    low, high = codec.span or (None, None)
    if not codec.edition.measured or dataset_results is None:
        if low is None:
            return f"no published values of {metric.label}"
        return f"{target} not reached; published at {target.name}={low:.3g} to {high:.3g}"
    reason = f"no curve for {target}"
    if codec.unreached_images:
        unreached_names = listed(
            sorted(dataset_results.image_names[number] for number in codec.unreached_images)
        )
        reason = f"{target} not reached in {unreached_names}"
        if low is not None:
            reason += f"; all images reach {target.name}={low:.3g} to {high:.3g}"
    if codec.record["rank"] is None and not codec.means_bracket_target:
        reason += _excluded_settings_text(codec.edition, metric, dataset_results.summary)
    return f"{reason}; --budget set pools all bytes" if codec.means_bracket_target else reason


def _excluded_settings_text(edition: Edition, metric: Metric, summary: Summary) -> str:
    settings_by_reason = dict[str, list[str]]()
    for point, reason in excluded_points(summary, metric):
        if point.edition == edition:
            mean, cause = point.means[metric.column], reason
            if mean.missing and not point.missing and mean.reasons:
                count = f"{mean.images + mean.infinite} of {point.images} images"
                remedy = remedies([metric.name], mean.reasons[0][0], summary.rescore_command)
                cause = f"{metric.label} of {count}: {remedy}"
            settings_by_reason.setdefault(cause, []).append(str(point.setting))
    return "".join(
        f"; without {listed(settings)} ({cause})" for cause, settings in settings_by_reason.items()
    )


def _search_command(dataset_results: DatasetResults, edition: Edition, target: Target) -> str:
    """Return the command that searches for a codec's setting at a target; "" if impossible."""
    if target.name in DISTRIBUTION_METRICS:
        return ""
    for run in (
        dataset_results.runs if edition.origin == "here" else ()
    ):  # other editions ran elsewhere
        if (
            dict(run.get("conditions") or {}).get("run") == edition.run_facts.run
            and "request" in run
        ):
            return rerun_command(
                run, codecs=edition.spec.text, target=str(target), points=(), part=""
            )
    results = dataset_results.folder.parent.parent
    options = {"codecs": edition.spec.text, "target": str(target)}
    return command_on_rows("run", results, dataset_results.name, **options)
