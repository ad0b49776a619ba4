"""A claim of bits saved, "ours 10 % fewer bits than vtm", and whether its interval leaves it so."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from benchmark.compare.bd import compare
from benchmark.compare.curves import Curve, Delta, bd_rate, curve_of, mean_curve
from benchmark.compare.interval import Interval
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.facts import facts_of
from benchmark.metrics.metric import Metric, protocols
from benchmark.published.curve_file import NamedCurve
from benchmark.published.points import select
from benchmark.published.registry import read_points
from benchmark.registry import METRICS, metric_called, unknown_metric
from benchmark.review.streams import Row, label_of_row
from benchmark.rows.means import summarise
from benchmark.rows.shard import table_of
from benchmark.rows.store import Store, stores_below
from benchmark.rows.summary import Summary
from benchmark.rows.systems import label_of, short_names
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

FORM = "SYSTEM N % fewer bits than ANCHOR [in METRIC]"
SENT = "what was sent"  # as the origin of an anchor's numbers
_CLAIM = re.compile(
    r"(?P<test>\S.*?)\s+(?P<percent>\d+(?:\.\d+)?)\s*%\s+(?P<way>fewer|less|more)\s+bits\s+than\s+"
    r"(?P<anchor>\S.*?)(?:\s+in\s+(?P<metric>\S+))?\s*"
)
# supported: the whole interval; undecided: the interval has both; without an interval, "as stated"
# and "not as stated" say what the curves of means give
Survival = Literal[
    "supported", "undecided", "contradicted", "as stated", "not as stated", "refused"
]


class Claim(NamedTuple):
    """A statement on the BD-rate of a system against an anchor."""

    text: str
    test: str
    anchor: str
    percent: float  # BD-rate, negative for fewer bits
    slack: float  # half a unit of the last digit that was stated, percent
    metric: str  # name in the registry


class Judged(NamedTuple):
    """A claim beside the BD-rate of what was sent."""

    claim: Claim
    survival: Survival
    rate: Delta | None = None  # percent
    interval: Interval | None = None  # 95 %, over images
    images: int = 0
    anchor_of: str = SENT  # where the anchor comes from
    reason: str = ""  # why there is no number
    label: str = ""  # of the system among the rows that were sent; empty: a curve
    anchor: str = ""  # label of the anchor among the rows that were sent; empty: of elsewhere
    test_of: str = SENT  # where the system's numbers come from


class Evidence(NamedTuple):
    """Rows, curves and places that a claim is judged by."""

    rows: Sequence[Row]  # sent ones, with the values measured here where there are some
    curves: Sequence[NamedCurve]
    results: Path  # for anchors that were not sent
    dataset: str


def parse_claim(text: str) -> Claim:
    """Read a claim in the form `FORM`; METRIC is psnr unless it is stated.

    Raises `UsageError` for another form, `UnknownName` for another metric.

    >>> parse_claim("me 10 % fewer bits than vtm")[1:4], parse_claim("a 1.5% more bits than b")[3:]
    (('me', 'vtm', -10.0), (1.5, 0.05, 'psnr'))
    """
    match = _CLAIM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--claim {text!r} is not of the form '{FORM}'")
    number, metric = match["percent"], metric_called(match["metric"] or "psnr")
    if metric not in METRICS:
        raise unknown_metric(metric, METRICS, "metric of single images")
    sign = 1 if match["way"] == "more" else -1
    slack = 0.5 * 10.0 ** -len(number.partition(".")[2])
    return Claim(text, match["test"], match["anchor"], sign * float(number), slack, metric)


def judge(claim: Claim, evidence: Evidence) -> Judged:
    """Compare the system with the anchor, by rows of images where both have them, else by means."""
    test = name_among(claim.test, labels_of(evidence.rows))
    anchor, anchor_rows, origin = _anchor_rows(claim.anchor, evidence)
    rate: Delta
    done = Judged(claim, "refused", anchor=anchor if origin == SENT else "")
    if (test and test == anchor) or claim.test.lower() == claim.anchor.lower():
        return done._replace(reason="both names are of one system", label=test)
    if test and anchor:
        summary = summary_of([*_of_label(test, evidence.rows), *anchor_rows], (claim.metric,))
        compared = compare(summary, Metric.named(claim.metric), anchor)
        comparison = next((row for row in compared if row.label == test), None)
        done = done._replace(label=test, anchor_of=origin, images=summary.images)
        if comparison is None:
            return done._replace(reason="its rows are of another coding protocol")
        if not summary.images:
            return done._replace(reason="their rows have no image in common")
        rate, interval = comparison.rate, comparison.rate_interval
    else:
        mine, asked = _of_label(test, evidence.rows), (evidence, claim.metric)
        try:
            first, where = _mean_curve(claim.anchor, anchor_rows, *asked)
            second, test_of = _mean_curve(claim.test, mine, *asked, lone_but=claim.anchor)
        except UsageError as why_not:
            return done._replace(reason=str(why_not), label=test)
        done = done._replace(label=test, anchor_of=where or origin, test_of=test_of or SENT)
        rate, interval = bd_rate(first, second), None
    if rate.value is None:
        return done._replace(reason=rate.why)
    return done._replace(survival=_survival(claim, rate, interval), rate=rate, interval=interval)


def _survival(claim: Claim, rate: Delta, interval: Interval | None) -> Survival:
    """Compare a BD-rate with the stated one, which is rounded.

    >>> claim = parse_claim("a 10 % fewer bits than b")
    >>> [_survival(claim, Delta(-11.0, 1.0), Interval(-12.0, high)) for high in (-9.6, -9.0)]
    ['supported', 'undecided']
    >>> _survival(claim, Delta(-5.0, 1.0), Interval(-9.0, -1.0))
    'contradicted'
    """
    most = claim.percent + claim.slack
    if interval is None:
        return "as stated" if rate.number <= most else "not as stated"
    if interval.high <= most:
        return "supported"
    return "undecided" if interval.low <= most else "contradicted"


def _of_label(label: str, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if label_of_row(row) == label]


def summary_of(rows: Sequence[Row], metrics: Sequence[str]) -> Summary:
    """Return the means of rows over the images that all points have."""
    return summarise(table_of(rows), protocols(metrics), common=True)


def labels_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return the label of each codec variant by every name that it is known by, in small letters.

    The name of a codec alone stands for its only variant.
    """
    specs = dict.fromkeys((row["codec"], row["variant"]) for row in rows)
    names: dict[str, str] = {}
    shown = short_names([*dict.fromkeys(label_of(*pair) for pair in specs)])
    for codec, variant in specs:
        spec, label = CodecSpec.of(codec, variant), label_of(codec, variant)
        only = codec if sum(other == codec for other, _ in specs) == 1 else ""
        own = dict(spec.options).get("name", "")
        for name in (label, shown[label], spec.text, facts_of(spec).title, own, only):
            names.setdefault(name.lower(), label)
    names.pop("", None)
    return names


def name_among(asked: str, names: Mapping[str, str]) -> str:
    """Return the label of a name of `labels_of`; empty for none."""
    return names.get(asked.strip().lower(), "")


def _anchor_rows(asked: str, evidence: Evidence) -> tuple[str, list[Row], str]:
    """Return the anchor's label, rows and origin: of what was sent, else of the results here."""
    folder = stores_below(evidence.results).get(evidence.dataset.partition(":")[0])
    stored = Store(folder).table().rows(named=True) if folder else []
    for rows, origin in ((evidence.rows, SENT), (stored, f"{evidence.results}")):
        if label := name_among(asked, labels_of(rows)):
            return label, _of_label(label, rows), origin
    return "", [], ""


def _mean_curve(
    name: str, rows: Sequence[Row], evidence: Evidence, metric_name: str, lone_but: str = ""
) -> tuple[Curve, str]:
    """Return a curve of means and its origin: rows (empty), a sent file, published points.

    lone_but: a single curve of a file is meant, whatever its name, but this one. Raises
    `UsageError` for none, for published points of several variants, and for rows of other images
    than the dataset's, which means are over.
    """
    metric = Metric.named(metric_name)
    if rows:
        summary, whole = summary_of(rows, [metric_name]), profile(evidence.dataset).published_images
        if whole and summary.images != whole:
            over = f"{name}'s rows are over {summary.images} of {counted(whole, 'image')}"
            raise UsageError(f"{over}, which the means of the other curve are over")
        return mean_curve(summary.points, metric), ""
    columns = (metric.column, metric.published)
    named = [curve for curve in evidence.curves if curve.name.lower() == name.lower()]
    lone = evidence.curves if lone_but and len(evidence.curves) == 1 else ()
    for curve in named or (of for of in lone if of.name.lower() != lone_but.lower()):
        for series in filter(None, map(curve.series.get, columns)):
            return curve_of(*series, metric), SENT if named else f"{SENT}: {curve.name}"
    points = [
        point
        for point in select(read_points(evidence.results), [name])
        if point.metric in columns and point.dataset == evidence.dataset and point.kind == "point"
    ]
    variants = dict.fromkeys(f"{point.slug}:{point.variant}" for point in points)
    if len(variants) != 1:
        known = f"several curves: name one of {', '.join(variants)}" if variants else "no curve"
        raise UsageError(f"{name} has {known} with {metric.label} on {evidence.dataset}")
    curve_points = [p.bpp for p in points], [p.value for p in points]
    return curve_of(*curve_points, metric), points[0].reference
