"""Judge claims such as "ours 10 % fewer bits than vtm" by measured values."""

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
from benchmark.review.questions import Evidence, Question, Verdict
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
SENT_SOURCE = "what was sent"  # source of the anchor's numbers, as printed
_CLAIM = re.compile(
    r"(?P<test>\S.*?)\s+(?P<percent>\d+(?:\.\d+)?)\s*%\s+(?P<way>fewer|less|more)\s+bits\s+than\s+"
    r"(?P<anchor>\S.*?)(?:\s+in\s+(?P<metric>\S+))?\s*"
)


class Claim(NamedTuple):
    """BD-rate of a system against an anchor, as stated by an author."""

    text: str
    test: str
    anchor: str
    percent: float  # BD-rate, negative for fewer bits
    slack: float  # percent; half a unit of the last stated digit
    metric: str  # name in the registry


class Judgement(NamedTuple):
    """Claim with its measured BD-rate and a verdict."""

    claim: Claim
    rule: Rule
    verdict: Verdict = "unknown"
    words: str = "no BD-rate can be computed"
    reason: str = ""  # why there is no BD-rate
    comparison: Record | None = None  # None without a BD-rate
    images: int = 0
    anchor_source: str = SENT_SOURCE
    labels: tuple[str, ...] = ()  # labels of the system, and of the anchor if it was sent


def parse_claim(text: str) -> Claim:
    """Parse a claim of the form `FORM`; raise `UsageError`, or `UnknownName` for its metric."""
    match = _CLAIM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--claim {text!r} does not have the form '{FORM}'")
    number, metric = match["percent"], metric_called(match["metric"] or "psnr")
    if metric not in METRICS:
        raise unknown_metric(metric, METRICS, "metric of single images")
    sign = 1 if match["way"] == "more" else -1
    slack = 0.5 * 10.0 ** -len(number.partition(".")[2])
    return Claim(text, match["test"], match["anchor"], sign * float(number), slack, metric)


def judge_claim(
    claim: Claim, rows: Sequence[Row], results: Path, dataset: str, rule: Rule
) -> Judgement:
    """Judge a claim over common images, by rows measured here; `results` may have the anchor."""
    test, (anchor, anchor_rows, origin) = find_label(claim.test, rows), ("", rows, SENT_SOURCE)
    folder = stores_below(results).get(dataset.partition(":")[0])
    stored_rows = Store(folder).table().rows(named=True) if folder else []
    for candidate_rows, source in ((rows, SENT_SOURCE), (stored_rows, f"{results}")):
        if not anchor and (name := find_label(claim.anchor, candidate_rows)):
            anchor, anchor_rows, origin = name, candidate_rows, source
    labels = test, anchor if origin == SENT_SOURCE else ""
    judgement = Judgement(claim, rule, anchor_source=origin, labels=labels)
    for name, label in ((claim.test, test), (claim.anchor, anchor)):
        if not label:
            hint = "`bench bd` compares curves from files and papers"
            return judgement._replace(reason=f"no rows of {name} on {dataset}: {hint}")
    if test == anchor:
        return judgement._replace(reason="both names mean the same system")
    compared_rows = [row for row in rows if label_of_row(row) == test]
    compared_rows += [row for row in anchor_rows if label_of_row(row) == anchor]
    summary = summarise_common(compared_rows, (claim.metric,))
    editions = {label: edition for edition, label in labels_of(summary.editions).items()}
    judgement = judgement._replace(images=summary.images)
    if anchor not in editions or test not in editions:
        return judgement._replace(reason="the rows follow different coding protocols")
    metric = Metric.named(claim.metric)
    comparisons = compare(summary, [metric], editions[anchor], rule)
    comparison = comparisons[editions[test], metric.column]
    if not summary.images:
        return judgement._replace(reason="their rows have no image in common")
    if comparison["bd_rate_percent"] is None:
        return judgement._replace(reason=comparison["reason"])
    verdict, words = compare_with_claim(claim, comparison)
    return judgement._replace(verdict=verdict, words=words, comparison=comparison)


def compare_with_claim(claim: Claim, comparison: Record) -> tuple[Verdict, str]:
    """Compare a BD-rate with the stated one, which is rounded; return verdict and sentence."""
    limit = claim.percent + claim.slack
    low, high = comparison["bd_rate_low_percent"], comparison["bd_rate_high_percent"]
    if low is None and comparison["bd_rate_percent"] <= limit:
        return "unknown", "a single image supports the claim, but gives no interval"
    if low is None:
        return "no", "a single image contradicts the claim"
    if high <= limit:
        return "yes", "the whole interval supports the claim"
    if low <= limit:
        return "partly", "part of the interval supports the claim, so more images are needed"
    return "no", "the whole interval contradicts the claim"


def summarise_common(rows: Sequence[Row], metrics: Sequence[str]) -> Summary:
    """Average rows over the images that all points have."""
    return summarise(table_of(rows), protocols(metrics), common=True)


def find_label(text: str, rows: Sequence[Row]) -> str:
    """Return the label of the variant with a label, title, spec or unique name; "" for none."""
    specs = dict.fromkeys(map(CodecSpec.parse_row, rows))
    names: dict[str, str] = {}
    editions = [*map(Edition.create, specs)]
    labels = labels_of(editions)
    for edition, title in titles(editions).items():
        spec, label = edition.spec, labels[edition]
        num_variants = sum(variant.name == spec.name for variant in specs)
        unique_name = spec.name if num_variants == 1 else ""
        declared_name = edition.options.get("name", "")
        for name in (label, title, spec.text, edition.facts.title, declared_name, unique_name):
            names.setdefault(name.lower(), label)
    return names.get(text.strip().lower(), "")


def answer_claim(judgement: Judgement, evidence: Evidence) -> Question:
    """Answer whether the BD-rate's interval supports a claim."""
    claim, comparison = judgement.claim, judgement.comparison
    datasets = {row["dataset"] for row in evidence.rows}
    ignored_datasets = datasets - {row["dataset"] for row in evidence.dataset_rows}
    streams = [
        stream
        for stream in evidence.streams
        if stream.row["dataset"] not in ignored_datasets
        and label_of_row(stream.row) in judgement.labels
    ]
    num_broken = sum(stream.state in BROKEN for stream in streams)  # excluded from means
    num_as_sent = sum(not stream.values for stream in streams) - num_broken
    verdict, words = judgement.verdict, judgement.words
    digits = max(0, round(-math.log10(2 * claim.slack)))
    form, claimed_text = f"+z.{digits + 1}f", f"{claim.percent:+z.{digits}f} %"
    value = ends = overlap = NOTHING
    sentence = f"{words}: {judgement.reason}"
    if comparison:
        value = f"{comparison['bd_rate_percent']:{form}} %"
        low, high = comparison["bd_rate_low_percent"], comparison["bd_rate_high_percent"]
        ends = NOTHING if low is None else f"[{low:{form}}, {high:{form}}]"
        overlap = f"{100 * comparison['bd_rate_overlap']:.0f} %"
        if comparison["doubtful"] and verdict == "yes":
            verdict = "partly"
            words += f", but the curves share only {overlap} of their joint range"
        interval = "" if low is None else f" {ends}"
        sentence = (
            f"{words}: BD-rate {value}{interval}{judgement.rule.words}, claimed {claimed_text}"
        )
    if comparison and num_as_sent:
        sentence += f"; values of {counted(num_as_sent, 'row')} were sent, but not measured here"
    num_declared = sum(
        is_declared(row) and label_of_row(row) in judgement.labels for row in evidence.rows
    )
    if comparison and num_declared:
        sentence += f"; for {counted(num_declared, 'row')}, {SIZE_DECLARED}"
    if comparison and num_broken:
        sentence += f"; without {counted(num_broken, 'stream')} that did not decode"
    if verdict == "yes" and (num_as_sent or num_broken or num_declared):
        verdict = "unknown"
    cells = {
        "system": claim.test, "anchor": claim.anchor, "metric": Metric.named(claim.metric).label,
        "anchor's numbers from": judgement.anchor_source, "claimed": claimed_text, "BD-rate": value,
        "95 % interval": ends, "overlap": overlap, "images": str(judgement.images or NOTHING),
    }  # fmt: skip
    table = Table(tuple(cells), (tuple(cells.values()),), 4)
    question = f"Does the claim hold: “{claim.text}”?"
    return Question("claim", question, verdict, sentence, {"claim": table})
