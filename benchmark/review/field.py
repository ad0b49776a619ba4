"""Answers from the field: claims, anchors that are absent, metrics in the training loss."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from benchmark.answer import NOTHING, Absent
from benchmark.compare.curves import bd_rate, curve_of
from benchmark.compare.published.points import slug
from benchmark.facts import facts_of
from benchmark.metrics.metric import Metric
from benchmark.registry import METRICS, metric_named
from benchmark.review.claim import Judged
from benchmark.review.evidence import BROKEN, Answer, Reviewed, Verdict
from benchmark.review.streams import label_of_row
from benchmark.show.table import Table
from benchmark.spec import CodecSpec
from benchmark.system.text import counted, listed

MOST_COMPARED = 20  # curves
SURVIVALS: Mapping[str, tuple[Verdict, str]] = {
    "supported": ("yes", "the whole interval is at least what is claimed"),
    "undecided": ("partly", "the interval has what is claimed and less: the images do not decide"),
    "contradicted": ("no", "the whole interval is less than what is claimed"),
    "as stated": ("unknown", "the means say so; without several images there is no interval"),
    "not as stated": ("no", "the stated means say less than what is claimed"),
    "refused": ("unknown", "there is no number"),
}


def claim(judged: Judged, of: Reviewed) -> Answer:
    """Say whether a claim survives the interval of its BD-rate."""
    claim, rate, interval = judged.claim, judged.rate, judged.interval
    labels = {judged.label, judged.anchor}
    aside = {row["dataset"] for row in of.rows} - {row["dataset"] for row in of.rows_of_dataset}
    mine = [stream for stream in of.again if stream.row["dataset"] not in aside]
    streams = [stream for stream in mine if label_of_row(stream.row) in labels]
    broken = sum(stream.state in BROKEN for stream in streams)  # in no mean
    as_sent = sum(not stream.values for stream in streams) - broken
    unmeasured = [row for row in of.unmeasured if row["dataset"] not in aside]
    as_sent += sum(label_of_row(row) in labels for row in unmeasured)
    verdict, words = SURVIVALS[judged.survival]
    if claim.percent > 0:
        words = words.replace("less", "more").replace("at least", "at most")
    digits = max(0, round(-math.log10(2 * claim.slack)))
    form, claimed = f"+z.{digits + 1}f", f"{claim.percent:+z.{digits}f} %"
    value = f"{rate.value:{form}} %" if rate else NOTHING
    ends = f"[{interval.low:{form}}, {interval.high:{form}}]" if interval else NOTHING
    overlap = f"{100 * (rate.overlap or 0):.0f} %" if rate else NOTHING
    if rate and rate.doubtful and verdict == "yes":
        verdict, words = "partly", f"{words}, but the curves share only {overlap} of their range"
    shown = f"{value} {ends}" if interval else value
    sentence = f"{words}: BD-rate {shown}, claimed {claimed}"
    if as_sent:
        sentence += f"; of {counted(as_sent, 'row')} the values are as sent, not measured here"
    if broken:
        sentence += f"; without {counted(broken, 'stream')} that did not decode"
    if as_sent or broken:
        verdict = "unknown" if verdict == "yes" else verdict
    if not rate:
        sentence = f"{words}: {judged.reason}"
    cells = {
        "system": claim.test,
        "anchor": claim.anchor,
        "metric": Metric.named(claim.metric).label,
        "anchor's numbers from": judged.anchor_of,
        "system's numbers from": judged.test_of,
        "claimed": claimed,
        "BD-rate": value,
        "95 % interval": ends,
        "overlap": overlap,
        "images": str(judged.images) if judged.images else "not stated",
    }
    table = Table(tuple(cells), (tuple(cells.values()),), 5)
    return Answer("claim", f"Is it so: “{claim.text}”?", verdict, sentence, table)


def anchors(of: Reviewed) -> Answer:
    """Say which anchors of earlier years are not compared with."""
    names = {
        slug(label_of_row(row)) for row in (*of.declared, *(stream.row for stream in of.again))
    }
    names |= {slug(curve.name) for curve in of.curves}
    claims = [judged.claim for judged in of.claims if judged.rate]
    names |= {slug(name) for claim in claims for name in (claim.test, claim.anchor)}
    names |= {slug(facts_of(CodecSpec.of_row(stream.row)).title) for stream in of.again}
    kinds = {"distortion"} | ({"realism"} if _is_generative(of) else set())
    expected = [anchor for anchor in of.anchors if anchor.kind in kinds and anchor.year < of.year]
    published = Counter(point.slug for point in of.points if point.dataset == of.dataset)
    rows = []
    for anchor in expected:
        known = anchor.names.split(";")
        same = any(f"-{name}-" in f"-{other}-" for name in known for other in names)
        has = "yes" if same else "no"
        count = str(sum(published[name] for name in known) or NOTHING)
        rows.append((anchor.system, has, anchor.reference, str(anchor.year), count))
    absent = [system for system, has, *_ in rows if has == "no"]
    sentence = f"{len(absent)} of {counted(len(expected), 'anchor')} of before {of.year} are absent"
    sentence += f": {', '.join(absent)}" if absent else ""
    values = f"published values here, {of.dataset}"
    headers = ("anchor", "in what was sent", "reference", "year", values)
    note = "The list is results/published/anchors.csv: ask the author about an absent anchor."
    some: Verdict = "partly" if len(absent) < len(expected) else "no"
    verdict: Verdict = some if absent else "yes"
    question = "Are the anchors of the year there?"
    return Answer("anchors", question, verdict, sentence, Table(headers, tuple(rows), 3, (note,)))


def published(of: Reviewed) -> Answer:
    """Compare curves that were sent with the published ones of the anchors, by their means."""
    systems = {name: anchor.system for anchor in of.anchors for name in anchor.names.split(";")}
    rows, compared = [], []
    for curve in of.curves[:MOST_COMPARED]:
        for metric in (Metric.named(name) for name in METRICS):
            if metric.column not in curve.series:
                continue
            series: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
            for point in of.points:
                same = point.metric in (metric.column, metric.published)
                same &= point.kind == "point" and point.dataset == of.dataset
                if same and point.slug in systems:
                    known = systems[point.slug], point.system, point.variant
                    series[*known, point.protocol, point.source].append((point.bpp, point.value))
            mine = curve_of(*curve.series[metric.column], metric)
            for key in sorted(series, key=lambda key: [*systems.values()].index(key[0])):
                anchor, system, variant, _, source = key
                own = anchor if anchor.partition(" ")[0] == system else system
                several = sum(other[:3] == key[:3] for other in series) > 1
                name = " ".join(filter(None, (own, variant, f"({source})" if several else "")))
                rates, values = zip(*sorted(series[key]), strict=True)
                rate = bd_rate(curve_of(rates, values, metric), mine)
                number = NOTHING if rate.value is None else f"{rate.value:+z.1f} %"
                rows.append((curve.name, metric.label, name, number))
                compared += [f"{curve.name} {number} against {name}"] if number != NOTHING else []
    sentence = f"BD-rates by published means of {of.dataset}: {listed(compared)}"
    if not compared:
        sentence = f"no anchor has published points of {of.dataset} that meet them (--dataset)"
    question = "Can the curves be compared with published ones?"
    table = Table(("curve", "metric", "anchor", "BD-rate"), tuple(rows), 3)
    return Answer("published", question, "yes" if compared else "unknown", sentence, table)


def _is_generative(of: Reviewed) -> bool:
    """Return whether systems are trained on, or shown in, more than distortion metrics."""
    specs = {CodecSpec.of_row(stream.row) for stream in of.again}
    columns = {column for spec in specs for column in facts_of(spec).trained_on}
    columns |= {name for curve in of.curves for name in curve.series}
    columns |= {metric_named(name).column for name in of.trained_on}
    columns |= {metric_named(judged.claim.metric).column for judged in of.claims}
    return any(not name.startswith(("psnr", "ms_ssim", "ssim")) for name in columns)


def training(of: Reviewed) -> Answer:
    """Say which metrics are in the training loss of the system that they judge."""
    stated = tuple(metric_named(name).column for name in of.trained_on)
    systems: dict[str, tuple[str, ...] | None] = {curve.name: stated or None for curve in of.curves}
    for row in (*of.declared, *(stream.row for stream in of.again)):
        facts = facts_of(CodecSpec.of_row(row))
        known = () if facts.kind == "standard" else facts.trained_on or stated or None
        systems[label_of_row(row)] = known
    labels = {metric_named(name).column: metric_named(name).label for name in METRICS}
    rows, judged, unknown, columns = [], set(), [], of.columns
    for name, trained in systems.items():
        own = sorted(columns & set(trained or ()))
        judged |= {(name, column) for column in own}
        unknown += [name] if trained is None else []
        others = sorted(columns - set(trained or ()))
        judges, shown = (", ".join(labels.get(c, c) for c in names) for names in (own, others))
        stated_own = "not stated" if trained is None else judges or NOTHING
        rows.append((name, stated_own, shown or NOTHING))
    verdict: Verdict = "partly" if judged else "unknown" if unknown else "yes"
    if judged:
        pairs = [f"{labels.get(column, column)} of {name}" for name, column in sorted(judged)]
        sentence = f"in the training loss, and so no independent judge: {listed(pairs)}"
    elif unknown:
        sentence = f"not stated for {listed(unknown)}: ask the author (--trained-on psnr,lpips)"
    else:
        sentence = "no metric that is shown is in a training loss"
    question = "Are the metrics independent of the training?"
    headers = ("system", "judges itself in", "other metrics")
    return Answer("training", question, verdict, sentence, Table(headers, tuple(rows), 3))


def left_out(files: Sequence[Absent]) -> Answer:
    """List the files of the supplement that were not read."""
    rows = tuple((file.what, file.why) for file in files[:200])
    sentence = f"{counted(len(files), 'file was', 'files were')} not read"
    return Answer("files", "Was every file read?", "no", sentence, Table(("file", "why"), rows, 2))
