"""Judgement of a claim, "ours 10 % fewer bits than vtm", on the measured values."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.answer import NOTHING
from benchmark.compare.bd import Record, compare
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, protocols
from benchmark.registry import METRICS, metric_called, unknown_metric
from benchmark.review.decode import BROKEN, SIZE_DECLARED
from benchmark.review.questions import Question, Reviewed, Verdict
from benchmark.review.sent import label_of_row
from benchmark.rows.edition import Edition, labels_of, titles
from benchmark.rows.means import summarise
from benchmark.rows.packs.pack import Row
from benchmark.rows.schema import is_declared
from benchmark.rows.shard import table_of
from benchmark.rows.store import Store, stores_below
from benchmark.rows.summary import Summary
from benchmark.show.table import Table
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

FORM = "SYSTEM N % fewer bits than ANCHOR [in METRIC]"
SENT = "what was sent"  # as the origin of an anchor's numbers
_CLAIM = re.compile(
    r"(?P<test>\S.*?)\s+(?P<percent>\d+(?:\.\d+)?)\s*%\s+(?P<way>fewer|less|more)\s+bits\s+than\s+"
    r"(?P<anchor>\S.*?)(?:\s+in\s+(?P<metric>\S+))?\s*"
)


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
    rule: Rule
    verdict: Verdict = "unknown"
    words: str = "there is no number"
    reason: str = ""  # why not
    comparison: Record | None = None  # None without a BD-rate
    images: int = 0
    anchor_of: str = SENT  # where the anchor comes from
    labels: tuple[str, ...] = ()  # of the system, and of the anchor if it was sent


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


def judge(claim: Claim, rows: Sequence[Row], results: Path, dataset: str, rule: Rule) -> Judged:
    """Compare the system with the anchor over the images that both have.

    rows: of what was sent, with the values measured here. results: of an anchor that was not sent.
    """
    test, (anchor, anchor_rows, origin) = name_among(claim.test, rows), ("", rows, SENT)
    folder = stores_below(results).get(dataset.partition(":")[0])
    stored = Store(folder).table().rows(named=True) if folder else []
    for known, place in ((rows, SENT), (stored, f"{results}")):
        if not anchor and (name := name_among(claim.anchor, known)):
            anchor, anchor_rows, origin = name, known, place
    labels = test, anchor if origin == SENT else ""
    done = Judged(claim, rule, anchor_of=origin, labels=labels)
    for name, label in ((claim.test, test), (claim.anchor, anchor)):
        if not label:
            hint = "`bench bd` compares curves of files and papers"
            return done._replace(reason=f"no rows of {name} on {dataset}: {hint}")
    if test == anchor:
        return done._replace(reason="both names are of one system")
    both = [row for row in rows if label_of_row(row) == test]
    both += [row for row in anchor_rows if label_of_row(row) == anchor]
    summary = summary_of(both, (claim.metric,))
    editions = {label: edition for edition, label in labels_of(summary.editions).items()}
    done = done._replace(images=summary.images)
    if anchor not in editions or test not in editions:
        return done._replace(reason="its rows are of another coding protocol")
    metric = Metric.named(claim.metric)
    compared = compare(summary, [metric], editions[anchor], rule)
    comparison = compared[editions[test], metric.column]
    if not summary.images:
        return done._replace(reason="their rows have no image in common")
    if comparison["bd_rate_percent"] is None:
        return done._replace(reason=comparison["reason"])
    verdict, words = _survival(claim, comparison)
    return done._replace(verdict=verdict, words=words, comparison=comparison)


def _survival(claim: Claim, comparison: Record) -> tuple[Verdict, str]:
    """Compare a BD-rate with the stated one, which is rounded.

    >>> claim = parse_claim("a 10 % fewer bits than b")
    >>> names = [f"bd_rate_{end}percent" for end in ("low_", "", "high_")]
    >>> ends = (-12.0, -11.0, -9.6), (-12.0, -11.0, -9.0), (-9.0, -5.0, -1.0)
    >>> [_survival(claim, dict(zip(names, values)))[0] for values in ends]
    ['yes', 'partly', 'no']
    """
    most = claim.percent + claim.slack
    low, high = comparison["bd_rate_low_percent"], comparison["bd_rate_high_percent"]
    if low is None and comparison["bd_rate_percent"] <= most:
        return "unknown", "one image says so, of which there is no interval"
    if low is None:
        return "no", "one image says less than what is claimed"
    if high <= most:
        return "yes", "the whole interval is at least what is claimed"
    if low <= most:
        return "partly", "the interval has what is claimed and less: the images do not decide"
    return "no", "the whole interval is less than what is claimed"


def summary_of(rows: Sequence[Row], metrics: Sequence[str]) -> Summary:
    """Return the means of rows over the images that all points have."""
    return summarise(table_of(rows), protocols(metrics), common=True)


def name_among(asked: str, rows: Sequence[Row]) -> str:
    """Return the label of a codec variant by any name that it is known by; empty for none.

    The name of a codec alone stands for its only variant.
    """
    specs = dict.fromkeys(map(CodecSpec.of_row, rows))
    names: dict[str, str] = {}
    editions = [*map(Edition.of, specs)]
    labels = labels_of(editions)
    for edition, shown in titles(editions).items():
        spec, label = edition.spec, labels[edition]
        only = spec.name if sum(of.name == spec.name for of in specs) == 1 else ""
        own = edition.options.get("name", "")
        for name in (label, shown, spec.text, edition.facts.title, own, only):
            names.setdefault(name.lower(), label)
    return names.get(asked.strip().lower(), "")


def answer(judged: Judged, of: Reviewed) -> Question:
    """Say whether a claim survives the interval of its BD-rate."""
    claim, comparison = judged.claim, judged.comparison
    aside = {row["dataset"] for row in of.rows} - {row["dataset"] for row in of.rows_of_dataset}
    mine = [it for it in of.streams if it.row["dataset"] not in aside]
    streams = [it for it in mine if label_of_row(it.row) in judged.labels]
    broken = sum(it.state in BROKEN for it in streams)  # in no mean
    as_sent = sum(not it.values for it in streams) - broken
    verdict, words = judged.verdict, judged.words
    if claim.percent > 0:
        words = words.replace("less", "more").replace("at least", "at most")
    digits = max(0, round(-math.log10(2 * claim.slack)))
    form, claimed = f"+z.{digits + 1}f", f"{claim.percent:+z.{digits}f} %"
    value = ends = overlap = NOTHING
    sentence = f"{words}: {judged.reason}"
    if comparison:
        value = f"{comparison['bd_rate_percent']:{form}} %"
        low, high = comparison["bd_rate_low_percent"], comparison["bd_rate_high_percent"]
        ends = NOTHING if low is None else f"[{low:{form}}, {high:{form}}]"
        overlap = f"{100 * comparison['bd_rate_overlap']:.0f} %"
        if comparison["doubtful"] and verdict == "yes":
            verdict = "partly"
            words += f", but the curves share only {overlap} of their range"
        interval = "" if low is None else f" {ends}"
        sentence = f"{words}: BD-rate {value}{interval}{judged.rule.words}, claimed {claimed}"
    if comparison and as_sent:
        sentence += f"; of {counted(as_sent, 'row')} the values are as sent, not measured here"
    declared = sum(is_declared(row) and label_of_row(row) in judged.labels for row in of.rows)
    if comparison and declared:
        sentence += f"; of {counted(declared, 'row')} {SIZE_DECLARED}"
    if comparison and broken:
        sentence += f"; without {counted(broken, 'stream')} that did not decode"
    if verdict == "yes" and (as_sent or broken or declared):
        verdict = "unknown"
    cells = {
        "system": claim.test, "anchor": claim.anchor, "metric": Metric.named(claim.metric).label,
        "anchor's numbers from": judged.anchor_of, "claimed": claimed, "BD-rate": value,
        "95 % interval": ends, "overlap": overlap, "images": str(judged.images or NOTHING),
    }  # fmt: skip
    table = Table(tuple(cells), (tuple(cells.values()),), 4)
    return Question("claim", f"Is it so: “{claim.text}”?", verdict, sentence, {"claim": table})
