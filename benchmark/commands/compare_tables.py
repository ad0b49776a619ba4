"""Tables of the verbs that compare codecs: `bench rank`, `tradeoff` and `match`."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter

from benchmark.answer import NOTHING, Column, decimals, seconds_text
from benchmark.compare.builds import Family, is_default, one_build
from benchmark.compare.interval import CONFIDENCE, DRAWS
from benchmark.compare.match import Average, Match, Tolerance
from benchmark.compare.rank import RATE, Ranked, Target
from benchmark.compare.tradeoff import Tradeoff
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, overview_columns, remedies
from benchmark.registry import METRICS, metric_named
from benchmark.rows.comparable import image_numbers
from benchmark.rows.experiment import named_variants
from benchmark.rows.stored import DatasetResults
from benchmark.rows.summary import TIMED, Summary
from benchmark.rows.systems import marked_bundled
from benchmark.show.means import chosen_notes, not_shown
from benchmark.show.sections import ONLY_BUNDLED, capitalised
from benchmark.show.table import Table
from benchmark.system.text import counted, listed

PERCENT = f"{100 * CONFIDENCE:.0f} %"
SECONDS = {
    "encode": "encode_seconds",
    "decode": "decode_seconds",
    "typical, a Mpx": "typical_seconds",
}

# Metrics of single images to compare in, where no row has a value of the one that was asked for
OTHERS = {"distortion": ("psnr", "ms_ssim"), "realism": ("lpips_squeeze", "dists", "lpips")}


def rank_table(
    ranks: Mapping[Target, Sequence[Ranked]],
    metrics: Sequence[Metric],
    stored: DatasetResults,
    budget: str,
) -> Table:
    """Return a row for each codec that is ranked at a target; notes on the others."""
    names = image_names(stored)
    rows, notes = list[Ranked](), list[str]()
    for target, ranked in ranks.items():
        best = [codec for codec in ranked if codec.rank is not None]
        rows += best
        if len(best) > 1 and best[1].to_best:
            better = _better(best[1], " of ")
            ends = [codec.to_best.interval for codec in best if codec.to_best]
            sure = all(of and not of.low <= 0 <= of.high for of in ends)
            first = f"{best[0].label} {'is the best' if sure else 'has the best mean'}"
            if best[1].rank == 1:
                first = f"{best[0].label} is as good as {best[1].label}"
            notes.append(
                f"At {target} {first}; {best[1].label} differs by {_to_best(metrics[0], best[1])}"
                + (f" and is better on {better} images." if better else ".")
            )
        if best and best[0].images < len(names):
            out = sorted({names[number] for codec in best for number in codec.short})
            whose = listed([codec.label for codec in best if codec.short])
            verb = "is" if len(out) == 1 else "are"
            why = f": {listed(out)} {verb} not reached by {whose}" if out else ""
            by = metrics[0] if target.name == RATE else Metric.named(target.name)
            if not by.of_sets:
                known = stored.table.drop_nulls(by.column)["image"].to_list()
                lacking = sorted({*names.values()} - {*known})
                why += f"; no {by.label} of {listed(lacking)}" if lacking else ""
            number = f"{best[0].images} of {counted(len(names), 'image')}"
            notes.append(f"At {target} {number} are compared{why}.")
        shown = {column for codec in best for column in codec.values}
        if best and (others := [m for m in metrics if m.column not in shown]):
            known = [m.label for m in others if stored.summary.values_of(m.column)]
            notes += [
                f"At {target} no codec has {label} of each compared image." for label in known
            ]
        if short := [
            _short(codec, names) for codec in ranked if codec.rank is None and codec.short
        ]:
            notes.append(f"Not ranked at {target}: {'; '.join(short)}.")
        if without := [codec.label for codec in ranked if codec.rank is None and not codec.short]:
            of_all = " over all images" if budget == "set" else ""
            notes.append(f"Without a curve for {target}{of_all}: {', '.join(without)}.")
    at = listed([str(target) for target in ranks], len(ranks))
    whose = "over all pixels of the set" if budget == "set" else "of each image"
    notes.append(
        f"{stored.heading}, {counted(stored.summary.images, 'image')}, at {at}, bpp {whose}: means "
        f"of interpolated values. To the best: mean difference with its {PERCENT} interval over "
        "images in pairs. Typical: seconds to encode and decode on one core, as declared."
    )
    bundled = {codec.label: codec.bundled for ranked in ranks.values() for codec in ranked}
    columns = [
        *([Column("at", lambda codec: str(codec.target))] if len(ranks) > 1 else []),
        Column("rank", lambda codec: str(codec.rank)),
        _codec(bundled, "codec", "label"),
    ]
    if any(target.name != RATE for target in ranks):
        columns.append(Column("bpp", "bpp.value", ".3f"))
    columns += [
        Column(m.label, f"values.{m.column}.value", f".{decimals(m.label)}f") for m in metrics
    ]
    columns += [
        Column("to the best", partial(_to_best, metrics[0]), str),
        Column("better on", _better, str),
        *(Column(name, field, seconds_text) for name, field in SECONDS.items()),
    ]
    return Table.of(columns, rows, (*notes, *_remarks(stored, bundled))).filled()


def _to_best(ranks: Metric, codec: Ranked) -> str | None:
    if codec.to_best is None:
        return None
    form, end = f"+z.{decimals(ranks.label)}f", " dB" if ranks.label.endswith("(dB)") else ""
    if codec.target.name != RATE:
        form, end = "+z.1f", " %"
    change, ends, _ = codec.to_best
    return f"{change:{form}}{end}" + (f" [{ends.low:{form}}, {ends.high:{form}}]" if ends else "")


def _better(codec: Ranked, of: str = "/") -> str | None:
    better = codec.to_best and codec.to_best.better
    return None if better is None else f"{better}{of}{codec.images}"


def _short(codec: Ranked, names: Mapping[int, str]) -> str:
    """Return where a codec does not reach its target, and the targets that it does everywhere."""
    span = ""
    if codec.span:
        low, high = codec.span
        span = f"; everywhere at {codec.target.name}={low:.3g} to {high:.3g}"
    missed = listed(sorted(names[number] for number in codec.short))
    return f"{codec.label} (not reached in {missed}{span})"


def image_names(stored: DatasetResults) -> dict[int, str]:
    """Return the names of images by the numbers that points have them under."""
    names = stored.table["image"].to_list()
    return dict(zip(image_numbers(stored.table).tolist(), names, strict=True))


def require_values(stored: DatasetResults, metrics: tuple[Metric, Metric]) -> None:
    """Raise `UsageError` where no row has a value of the distortion or the realism metric."""
    known = {column.name for column in stored.table if column.count()}
    for metric, (option, names) in zip(metrics, OTHERS.items(), strict=True):
        if not stored.summary.values_of(metric.column):
            has = [name for name in names if metric_named(name).column in known]
            other = f"for --{option} {names[0]}, {remedies(names[:1], again=stored.summary.again)}"
            remedy = f"try --{option} {has[0]}" if has else other
            raise UsageError(f"{stored.name} has no {metric.label}: {remedy}")


def families(
    summary: Summary, codec: str, against: str, metrics: Sequence[Metric], build: str
) -> tuple[Family, list[Family]]:
    """Return the variants of a codec that are of one build, and those of each codec against it.

    build: how the fingerprint of the codec's build begins; empty to choose. Raises `UnknownName`
    for no such codec, `UsageError` for no such build, or none with values of both metrics.
    """
    points = (*summary.points, *summary.replaced)
    mine = _family(summary, codec, metrics, build)
    named = {codec, *_labels(summary, codec)}
    named_points = (point for point in points if named & {point.label, point.edition.codec})
    builds = sorted({point.edition.fingerprint for point in named_points})
    if not any(fingerprint.startswith(build) for fingerprint in builds):
        raise UsageError(f"no build of {codec} begins with {build!r}: {', '.join(builds)}")
    others = [_family(summary, label, metrics) for label in _labels(summary, against)]
    for name, of_codec in ((codec, [mine]), (against, others)):
        if not any(family.points for family in of_codec):
            asked = " and ".join(metric.label for metric in metrics)
            reason, *more = (text for family in of_codec for text in family.left_out)
            reason += f" (and {counted(len(more), 'variant')} more)" if more else ""
            labels = _labels(summary, name)
            without = {m.column for m in metrics if not summary.values_of(m.column, labels)}
            lacking = [each for each in METRICS if metric_named(each).column in without]
            reason += f"; {remedies(lacking, again=summary.again)}" if lacking else ""
            raise UsageError(f"{name} has no points with {asked} to compare: {reason}")
    return mine, others


def _family(summary: Summary, codec: str, metrics: Sequence[Metric], build: str = "") -> Family:
    labels = _labels(summary, codec)
    editions = [point.edition for point in summary.points if point.label in labels]
    variants = {(edition.codec, edition.variant) for edition in editions}
    return one_build(
        summary, lambda edition: (edition.codec, edition.variant) in variants, metrics, build
    )


def _labels(summary: Summary, codec: str) -> list[str]:
    """Return the labels of a codec's variants, or one; raise `UnknownName` for no such codec.

    A codec's name alone means its default network and encoder, where those have results.
    """
    editions = [point.edition for point in summary.points]
    named = [edition for edition in editions if codec in (edition.label, edition.codec)]
    if not named:
        pairs = named_variants([codec], {(of.codec, of.variant) for of in editions})
        named = [of for of in editions if (of.codec, of.variant) in pairs]
    default = [edition for edition in named if is_default(edition)]
    return list(dict.fromkeys(edition.label for edition in default or named))


def tradeoff_table(
    points: Sequence[Tradeoff],
    codec: str,
    metrics: tuple[Metric, Metric],
    stored: DatasetResults,
    mine: Family,
    others: Sequence[Family],
) -> Table:
    """Return a row for each setting of AGAINST, `metrics` being distortion and realism."""
    distortion, realism = metrics
    of_realism = realism.kind == "realism"
    better, worse = ("more", "less") if of_realism else ("better", "worse")
    noun = "realistic" if of_realism else realism.kind
    curves = {label: of for family in (mine, *others) for label, of in family.points.items()}
    bundled = {label: of[0].edition.bundled for label, of in curves.items()}
    words = {"equal": f"equal {realism.kind}"}
    words |= {"all better": f"{better} {noun}", "all worse": f"{worse} {noun}"}
    columns = (
        _codec(bundled, "against", "label"),
        Column("setting"),
        Column("comparison", lambda point: words.get(point.verdict, point.verdict)),
        Column("bpp", "bpp", ".4f"),
        Column(realism.label, "realism", ".4f"),
        Column(distortion.label, "distortion", ".3f"),
        Column(f"{codec}'s", "other", ".3f"),
        Column("difference", "difference", "+z.3f"),
        Column(f"{PERCENT} interval", _signed_span, str),
        Column("certainty (%)", "certainty", lambda share: f"{100 * share:.1f}"),
    )
    ids = stored.summary.protocols
    notes = (
        f"{stored.heading}, {counted(points[0].images, 'image')}; protocols "
        f"{ids[distortion.column]}, {ids[realism.column]}.",
        f"{words['equal']}: {codec} interpolated at the same rate and the same {realism.label}. "
        f"{words['all better']}, {words['all worse']}: every variant of {codec} is, at that rate; "
        f"its nearest one is given. other rates: {codec} has none like it.",
        f"Interval and certainty (share of draws with the same sign): {DRAWS} draws of images, "
        "both codecs' together; the interval allows for the number of images.",
        f"The surface of {codec}: {mine.described}.",
    )
    left_out = dict.fromkeys(text for family in (mine, *others) for text in family.left_out)
    remarks = _remarks(stored, bundled)
    return Table.of(columns, points, (*notes, *remarks, *dict.fromkeys(map(capitalised, left_out))))


def _signed_span(of: Tradeoff) -> str | None:
    return None if of.low is None else f"{of.low:+z.3f} to {of.high:+z.3f}"


def match_table(
    matches: Sequence[Match],
    metrics: Sequence[Metric],
    tolerance: Tolerance,
    stored: DatasetResults,
) -> Table:
    """Return a row for each two variants with pairs of streams that match in the first metric.

    columns are of all metrics; of a single one, of those of the overview too.
    """
    by, *others = metrics
    labels = {of.column: of.axis_label for of in (*metrics, *map(Metric.named, METRICS))}
    labels |= dict(zip(TIMED, ("encode time", "decode time"), strict=True))
    counts = {name: 1 for of in matches for name, mean in of.averages.items() if mean.pairs}
    wanted = [of.column for of in metrics] if others else [by.column, *overview_columns(counts)]
    shown = [name for name in labels if name in counts and name in (*wanted, *TIMED)]
    lacking = {of.column: of.label for of in metrics if counts and of.column not in counts}
    bundled = {point.label: point.edition.bundled for point in stored.summary.points}
    columns = [
        _codec(bundled, "codec", "first.label"),
        _codec(bundled, "against", "second.label"),
        Column("images", lambda of: f"{of.matched_images}/{of.images}", str),
        Column("pairs", lambda of: len(of.pairs), "d"),
        Column("bytes", "averages.bytes", _average),
        Column(f"{PERCENT} interval", "averages.bytes.interval", "{0[0]:.3f} to {0[1]:.3f}".format),
    ]
    columns += [Column(labels[name], f"averages.{name}", _average) for name in shown]
    unmatched = [
        f"{of.unmatched[0]} of {len(of.first.bpp)} streams of {of.first.label} and "
        f"{of.unmatched[1]} of {len(of.second.bpp)} of {of.second.label}"
        for of in matches
    ]
    notes = [
        f"{stored.heading}: streams whose {by.axis_label} differs by at most {tolerance}. images: "
        "those with a pair, of those that both have.",
        "Geometric means of ratios, codec to against (0.9: a tenth less); values with a sign are "
        "mean differences. The interval is over images.",
        f"Without a match: {'; '.join(unmatched)}.",
        *_remarks(stored, bundled),
        *dict.fromkeys(f"Caveat: {text}." for match in matches for text in match.caveats),
    ]
    if lacking:
        computes = stored.summary.again.computes(",".join(lacking))
        notes.append(f"Without values: {', '.join(lacking.values())} ({computes}).")
    if not set(TIMED) & set(shown):
        notes.append("No times: no pair was timed alone on one machine (`bench run --timing`).")
    return Table.of(columns, matches, notes)


def _average(average: Average) -> str:
    if average.value is None:
        return NOTHING
    return f"{average.value:.3f}" if average.kind == "ratio" else f"{average.value:+z.3f}"


def _codec(bundled: Mapping[str, bool], heading: str, label: str) -> Column:
    """Return a column of labels, the bundled ones marked unless all are. bundled: by label."""
    of, mixed = attrgetter(label), not all(bundled.values())
    return Column(heading, lambda row: marked_bundled(of(row), mixed and bundled[of(row)]))


def _remarks(stored: DatasetResults, bundled: Mapping[str, bool]) -> tuple[str, ...]:
    texts = [*([ONLY_BUNDLED] if all(bundled.values()) else []), *not_shown(stored.summary)]
    return (*map(capitalised, texts), *chosen_notes(bundled))
