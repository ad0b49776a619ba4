"""Tables of the verbs that compare codecs: `bench rank`, `tradeoff`, `match` and `bd`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmark.compare.builds import Family, is_default, one_build
from benchmark.compare.curves import Curve, Form, NoDelta, bd_metric, bd_rate
from benchmark.compare.interval import CONFIDENCE, DRAWS
from benchmark.compare.match import Average, Match, Tolerance
from benchmark.compare.rank import Estimate, Ranked, Target
from benchmark.compare.tradeoff import Tradeoff
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.measure import Measure
from benchmark.registry import METRICS
from benchmark.rows.stored import DatasetResults
from benchmark.rows.summarise import TIMED, Summary
from benchmark.show.report.details import gone_sentences
from benchmark.show.table import NOTHING, Table, chosen_notes
from benchmark.system.text import counted

PERCENT = f"{100 * CONFIDENCE:.0f} %"
FORMS: tuple[Form, ...] = ("akima", "cubic")
FEW_SHARED = (
    "the curves share less than half of the range that they span, so the number says little"
)


def rank_table(
    ranks: Mapping[Target, Sequence[Ranked]],
    measures: Sequence[Measure],
    stored: DatasetResults,
    budget: str,
) -> Table:
    """Return a row for each codec that is ranked at a target; notes on the others."""

    def cell(estimate: Estimate | None, form: str) -> str:
        if estimate is None:
            return NOTHING
        ends = estimate.interval
        interval = f" [{ends.low:{form}}, {ends.high:{form}}]" if ends else ""
        return f"{estimate.value:{form}}{interval}"

    headers = ["at", "rank", "codec", "bpp", *(measure.label for measure in measures)]
    rows = [[*headers, "encode (s)", "decode (s)", "typical (s/Mpx)"]]
    notes = []
    for target, ranked in ranks.items():
        for codec in ranked:
            if codec.rank is not None:
                values = [
                    cell(codec.values.get(m.column), ".2f" if "dB" in m.label else ".4f")
                    for m in measures
                ]
                times = codec.encode_seconds, codec.decode_seconds, codec.typical_seconds
                seconds = [
                    NOTHING if s is None else f"{s:.2g}" if s < 100 else f"{s:.0f}" for s in times
                ]
                row = [str(target), str(codec.rank), codec.label, cell(codec.bpp, ".3f")]
                rows.append([*row, *values, *seconds])
        short = [
            f"{codec.label} ({codec.reached} of {codec.images} images)"
            for codec in ranked
            if codec.rank is None and codec.images
        ]
        if short:
            notes.append(f"Not ranked at {target}, which not all images reach: {', '.join(short)}.")
        if without := [codec.label for codec in ranked if not codec.images]:
            notes.append(f"Without a curve for {target}: {', '.join(without)}.")
    images = max((codec.images for ranked in ranks.values() for codec in ranked), default=0)
    whose = "over all pixels of the set" if budget == "set" else "of each image"
    first = (
        f"{stored.name}, {counted(images, 'image')}: bpp {whose}; values interpolated, with "
        f"{PERCENT} intervals over images. Seconds are of an image, measured here; typical ones, "
        "to encode and decode on one core, are what the codec declares."
    )
    columns = [cells for cells in zip(*rows, strict=True) if {*cells[1:]} - {NOTHING}]
    header, *shown = zip(*columns, strict=True) if columns else [()]
    labels = (codec.label for ranked in ranks.values() for codec in ranked)
    return Table(header, tuple(shown), 3, (first, *notes, *_remarks(stored, labels)))


def families(
    summary: Summary, codec: str, against: str, measures: Sequence[Measure], build: str
) -> tuple[Family, list[Family]]:
    """Return the variants of a codec that are of one build, and those of each codec against it.

    build: how the fingerprint of the codec's build begins; empty to choose. Raises `UnknownName`
    for no such codec, `UsageError` for no such build, or none with values of both metrics.
    """
    points = (*summary.points, *summary.replaced)
    mine = _family(summary, codec, measures, build)
    editions = [point.edition for point in points if codec in (point.label, point.edition.codec)]
    builds = sorted({edition.build.fingerprint for edition in editions})
    if not any(fingerprint.startswith(build) for fingerprint in builds):
        raise UsageError(f"no build of {codec} begins with {build!r}: {', '.join(builds)}")
    others = [_family(summary, label, measures) for label in _labels(summary, against)]
    for name, of_codec in ((codec, [mine]), (against, others)):
        if not any(family.points for family in of_codec):
            metrics = " and ".join(measure.label for measure in measures)
            reasons = "; ".join(text for family in of_codec for text in family.left_out)
            raise UsageError(f"{name} has no points with {metrics} to compare: {reasons}")
    return mine, others


def _family(summary: Summary, codec: str, measures: Sequence[Measure], build: str = "") -> Family:
    labels = _labels(summary, codec)
    editions = [point.edition for point in summary.points if point.label in labels]
    variants = {(edition.codec, edition.variant) for edition in editions}
    return one_build(
        summary, lambda edition: (edition.codec, edition.variant) in variants, measures, build
    )


def _labels(summary: Summary, codec: str) -> list[str]:
    """Return the labels of a codec's variants, or one; raise `UnknownName` for no such codec.

    A codec's name alone means its default network and encoder, where those have results.
    """
    editions = [point.edition for point in summary.points]
    named = [edition for edition in editions if codec in (edition.label, edition.codec)]
    if not named:
        raise UnknownName("codec with results", codec, summary.labels)
    default = [edition for edition in named if is_default(edition)]
    return list(dict.fromkeys(edition.label for edition in default or named))


def tradeoff_table(
    points: Sequence[Tradeoff],
    codec: str,
    measures: tuple[Measure, Measure],
    stored: DatasetResults,
    mine: Family,
    others: Sequence[Family],
) -> Table:
    """Return a row for each setting of AGAINST, `measures` being distortion and realism."""
    distortion, realism = measures
    headers = (
        "against", "setting", "comparison", "bpp", realism.label, distortion.label,
        f"{codec}'s", "difference", f"{PERCENT} interval", "certainty (%)",
    )  # fmt: skip
    of_realism = realism.kind == "realism"
    better, worse = ("more", "less") if of_realism else ("better", "worse")
    noun = "realistic" if of_realism else realism.kind
    words = {"equal": f"equal {realism.kind}"}
    words |= {"all better": f"{better} {noun}", "all worse": f"{worse} {noun}"}
    rows = []
    for point in points:
        cells = [NOTHING] * 4
        if point.other is not None and point.difference is not None:
            interval = f"{point.low:+.3f} to {point.high:+.3f}"
            cells = [f"{point.other:.3f}", f"{point.difference:+.3f}", interval]
            cells.append(f"{100 * (point.certainty or 0):.1f}")
        start = (point.label, point.setting, words.get(point.verdict, point.verdict))
        values = (f"{point.bpp:.4f}", f"{point.realism:.4f}", f"{point.distortion:.3f}")
        rows.append((*start, *values, *cells))
    ids = stored.summary.protocols
    notes = (
        f"{stored.name}, {stored.summary.images} images; protocols {ids[distortion.column]}, "
        f"{ids[realism.column]}.",
        f"{words['equal']}: {codec} interpolated at the same rate and the same {realism.label}. "
        f"{words['all better']}, {words['all worse']}: every variant of {codec} is, at that rate; "
        f"its nearest one is given. other rates: {codec} has none like it.",
        f"Interval and certainty (share of draws with the same sign): {DRAWS} draws of images, "
        "both codecs' together; the interval allows for the number of images.",
        f"The surface of {codec}: {mine.described}.",
    )
    left_out = dict.fromkeys(text for family in (mine, *others) for text in family.left_out)
    more = (f"{text[0].upper()}{text[1:]}." for text in left_out)
    remarks = _remarks(stored, [*mine.points, *(point.label for point in points)])
    return Table(headers, tuple(rows), 3, (*notes, *remarks, *dict.fromkeys(more)))


def match_table(
    matches: Sequence[Match], by: Measure, tolerance: Tolerance, stored: DatasetResults
) -> Table:
    """Return a row for each two variants with pairs of streams that match in the measure `by`."""
    labels = {measure.column: measure.axis_label for measure in map(Measure.named, METRICS)}
    labels.setdefault(by.column, by.axis_label)
    labels |= dict(zip(TIMED, ("encode time", "decode time"), strict=True))
    measured = {name for of in matches for name, mean in of.averages.items() if mean.pairs}
    shown = [name for name in labels if name in measured]
    rows, unmatched = [], []
    for match in matches:
        size, first, second = match.averages["bytes"], match.first, match.second
        ends = size.interval
        rows.append((
            first.label, second.label, f"{match.matched_images}/{match.images}",
            str(len(match.pairs)), _average(size),
            f"{ends.low:.3f} to {ends.high:.3f}" if ends else NOTHING,
            *(_average(match.averages[name]) for name in shown),
        ))  # fmt: skip
        unmatched.append(
            f"{match.unmatched[0]} of {len(first.bpp)} streams of {first.label} and "
            f"{match.unmatched[1]} of {len(second.bpp)} of {second.label}"
        )
    headers = ("codec", "against", "images", "pairs", "bytes", f"{PERCENT} interval")
    notes = [
        f"{stored.name}: streams whose {by.axis_label} differs by at most {tolerance}. images: "
        "those with a pair, of those that both have.",
        "Geometric means of ratios, codec to against (0.9: a tenth less); values with a sign are "
        "mean differences. The interval is over images.",
        f"Without a match: {'; '.join(unmatched)}.",
        *_remarks(stored, (side.label for of in matches for side in (of.first, of.second))),
        *dict.fromkeys(f"Caveat: {text}." for match in matches for text in match.caveats),
    ]
    if not set(TIMED) & set(shown):
        notes.append("No times: no pair was timed alone on one machine (`bench run --timing`).")
    return Table((*headers, *(labels[name] for name in shown)), tuple(rows), 2, tuple(notes))


def _average(average: Average) -> str:
    if average.value is None:
        return NOTHING
    return f"{average.value:.3f}" if average.kind == "ratio" else f"{average.value:+.3f}"


def _remarks(stored: DatasetResults, labels: Iterable[str]) -> tuple[str, ...]:
    gone = (f"{text}." for text in gone_sentences(stored.gone))
    return (*gone, *chosen_notes(labels))


def bd_records(measure: Measure, anchor: Curve, test: Curve) -> Iterator[dict[str, Any]]:
    """Yield BD-rate and BD-metric of a curve by each form of interpolation, as JSON values."""
    for form in FORMS:
        rate = bd_rate(anchor, test, any_overlap=True, form=form)
        quality = bd_metric(anchor, test, measure, any_overlap=True, form=form)
        note = ""
        if isinstance(rate, NoDelta):
            note = f"{measure.label}: no BD-rate, since {rate.reason}."
        elif rate.doubtful:
            note = f"{measure.label}: {FEW_SHARED}."
        yield {
            "metric": measure.label,
            "form": form,
            "bd_rate_percent": getattr(rate, "value", None),
            "bd_metric": getattr(quality, "value", None),
            "overlap": rate.overlap,
            "note": note,
        }


def bd_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each record of `bd_records`."""
    forms = {"bd_rate_percent": "+.2f", "bd_metric": "+.3f", "overlap": ".0%"}
    rows = []
    for record in records:
        values = ((record[name], form) for name, form in forms.items())
        shown = (NOTHING if value is None else format(value, form) for value, form in values)
        rows.append((record["metric"], record["form"], *shown))
    headers = ("metric", "form", "BD-rate (%)", "BD-metric", "overlap")
    notes = dict.fromkeys(record["note"] for record in records if record["note"])
    return Table(headers, tuple(rows), 2, tuple(notes))
