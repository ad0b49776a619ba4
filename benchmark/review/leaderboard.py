"""A leaderboard: verified rows, ranked; others below; each with its cost and origin."""

import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.compare.bd import Comparison, compare
from benchmark.facts import facts_of
from benchmark.measure.cells import now_utc
from benchmark.metrics.metric import Metric
from benchmark.registry import METRICS, metric_named
from benchmark.review.claim import summary_of
from benchmark.review.streams import Row, Sent, label_of_row
from benchmark.review.submission import Audit, Statement, Submission
from benchmark.rows.codecs import new_run_id, run_record
from benchmark.rows.packs.pack import Pack
from benchmark.rows.schema import metric_columns
from benchmark.rows.store import Store, stores_below
from benchmark.rows.summary import TIMED, Summary
from benchmark.rows.systems import short_names
from benchmark.show.table import escape_latex
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key

CLASSES = ((10.0, "to 10 kMAC/px"), (100.0, "to 100 kMAC/px"), (1000.0, "to 1,000 kMAC/px"))
WORK = ("parameters", "encode_kmac", "decode_kmac")  # of `Facts.work`, of rows, of statements
LARGEST, PROGRAM, UNDECLARED = "above 1,000 kMAC/px", "program", "not declared"
NOT_VERIFIED = "no fresh process has decoded its rows again (bench run --verify does)"
NO_STREAMS = "its streams were not sent"


class Origin(NamedTuple):
    """Origin of an entry's rows: what their authors state, the audit, the pack."""

    statement: Statement = Statement()
    audit: Audit | None = None  # None: rows of the results folder, verified there or not
    pack: Pack | None = None
    name: str = ""  # of the submission; empty: the results folder
    below: str = ""  # why it is not ranked


class Cost(NamedTuple):
    """Cost of a codec variant: declared on its class, in its rows or by its authors; measured."""

    parameters: float | None
    encode_kmac: float | None  # thousand multiply-accumulates per pixel
    decode_kmac: float | None
    memory_bytes: float | None
    seconds: float | None  # measured here, to decode a megapixel
    kind: str  # class of cost, by `decode_kmac`


class Entry(NamedTuple):
    """A codec variant on a dataset."""

    dataset: str
    label: str
    audited: bool
    rates: Mapping[str, Comparison | None]  # against the anchor, by metric column; None: the anchor
    points: int
    images: int
    cost: Cost
    origin: Origin
    row: Row  # the latest, with version, call, machine and protocols

    @property
    def name(self) -> str:
        """Title of the system, with the submission that it is of."""
        return named(self.label, self.origin.name)

    @property
    def why(self) -> str:
        """Reason why it is not verified, or has no BD-rate; empty where it is ranked."""
        if not self.audited:
            return self.origin.below
        reasons = [c.rate.why for c in self.rates.values() if c and c.rate.value is None]
        return "; ".join(dict.fromkeys(reasons[:1]))


class Rows(NamedTuple):
    """Rows of a dataset and where they come from, by name of the entry."""

    rows: dict[str, list[Row]]
    origins: dict[str, Origin]


class Sorted(NamedTuple):
    """Sources of a leaderboard by dataset: declared rows, and origins of what was audited."""

    declared: dict[str, Rows]
    standing: dict[str, dict[str, Origin]]  # by label


class _Source(NamedTuple):
    """Rows of one system in one submission, or in the results."""

    sent: Sequence[Sent]
    origin: Origin
    audited: bool

    def worth(self) -> tuple[int, str, str]:
        """Return its number of cells, the time of its latest row (not to come), and its name."""
        cells = {of.row["cell"] for of in self.sent}
        times = (str(of.row.get("finished_utc") or "") for of in self.sent)
        latest = max((time for time in times if time <= now_utc()), default="")
        return len(cells), latest, self.origin.name


def sort_out(results: Path, known: Sequence[Submission], audited: Path) -> Sorted:
    """Write audited rows with their streams to the empty folder `audited`; return the others.

    Rows of the results are audited if an independent decode verified them; those of a submission by
    its audit, with the values that it reproduced and no others. Of one system only one audited
    source is written, whole: that of most cells, then the newest. The others are below it.
    """
    done = Sorted(defaultdict(lambda: Rows({}, {})), defaultdict(dict))
    packs = {submission.name: submission.pack.sha256 for submission in known if submission.pack}
    run = new_run_id(audited)
    accepted: dict[str, list[Sent]] = defaultdict(list)
    sources: dict[tuple[str, str], list[_Source]] = defaultdict(list)
    for dataset, folder in stores_below(results).items():
        for (label, verified), sent in _own_rows(Store(folder)).items():
            sources[dataset, label].append(_Source(sent, Origin(below=NOT_VERIFIED), verified))
    for submission in known:
        by_label = by_key(((of.dataset, label_of_row(of.row)), of) for of in submission.sent)
        for (dataset, label), sent in by_label.items():
            audit = submission.audits.get(label)
            whole = audit is not None and audit.audited and all(of.read for of in sent)
            why = audit.reason if audit else NO_STREAMS
            origin = Origin(submission.statement, audit, submission.pack, submission.name, why)
            marks = {"run": run, "attested": True}
            rows = [
                of._replace(row=_reproduced(of.row, audit) | marks) if audit and whole else of
                for of in sent
            ]
            sources[dataset, label].append(_Source(rows, origin, whole))
    for (dataset, label), of_label in sources.items():
        whole_ones = (each for each in of_label if each.audited)
        best = max(whole_ones, key=_Source.worth, default=None)
        if best is not None:
            accepted[dataset] += best.sent
            done.standing[dataset][label] = best.origin
        cells = {of.row["cell"] for of in best.sent} if best else set()
        for each in of_label:
            left = [of.row for of in each.sent if each.origin.name or of.row["cell"] not in cells]
            if each is best or not left:
                continue
            origin, below = each.origin, done.declared[dataset]
            if each.audited and best:
                here = best.origin.name or "the results here"
                what = "larger" if best.worth()[0] > each.worth()[0] else "newer"
                origin = origin._replace(below=f"a {what} verified one stands: of {here}")
            name = named(label, origin.name)
            below.rows.setdefault(name, []).extend(left)
            below.origins[name] = origin
    for dataset, kept in accepted.items():
        store = Store(audited / dataset)
        store.keep(*(of.read() or b"" for of in kept if of.read))
        store.begin(run, run_record(sys.argv[1:], submissions=packs))
        store.append([of.row for of in kept])
    return done


def _own_rows(own: Store) -> dict[tuple[str, bool], list[Sent]]:
    """Return the rows of results by label and whether an independent decode verified them."""
    rows: dict[tuple[str, bool], list[Sent]] = defaultdict(list)
    for row in own.table().rows(named=True):
        if row["status"] == "ok":
            kept = own.has_stream(row["stream_sha256"])
            read = partial(own.stream, row["stream_sha256"]) if kept else None
            rows[label_of_row(row), bool(row["attested"] and kept)].append(Sent(row, read))
    return rows


def named(label: str, submission: str) -> str:
    """Return the title of a system, with the submission that it is of, if any.

    >>> named("jpeg:optimize=1", "mine")
    'JPEG (optimised) (mine)'
    """
    title = short_names([label])[label]
    return f"{title} ({submission})" if submission else title


def _reproduced(row: Row, audit: Audit) -> Row:
    """Return a row without the values that the audit did not reproduce."""
    row = dict(row)
    for kind in map(metric_named, METRICS):
        if kind.column not in audit.columns:
            value, _, why = metric_columns(kind.column)
            row |= {value: None, why: "not reproduced by the audit"}
    return row


def audited_entries(
    dataset: str,
    summary: Summary,
    metrics: Sequence[Metric],
    anchor: str,
    origins: Mapping[str, Origin],
    rows: Iterable[Row],
) -> list[Entry]:
    """Return the entries of audited rows, best first by the first metric, without number last."""
    by_label = by_key((label_of_row(row), row) for row in rows)
    compared = {metric.column: compare(summary, metric, anchor) for metric in metrics}
    entries = []
    for label in summary.labels:
        rates = {c: next((r for r in of if r.label == label), None) for c, of in compared.items()}
        points = [point for point in summary.points if point.label == label]
        timed = [mean.value for p in points if (mean := p.means[TIMED[1]]).value is not None]
        origin, last = origins.get(label, Origin()), by_label[label][-1]
        cost = cost_of(last, origin, timed[0] if timed else None)
        images = max(point.images for point in points)
        entries.append(Entry(dataset, label, True, rates, len(points), images, cost, origin, last))
    return sorted(entries, key=rank_value)


def rank_value(entry: Entry) -> float:
    """Return the BD-rate by the first metric, 0 for the anchor, infinity without a number."""
    comparison = next(iter(entry.rates.values()), None)
    if comparison is None:
        return 0.0
    return math.inf if comparison.rate.value is None else comparison.rate.value


def declared_entries(
    dataset: str,
    declared: Rows,
    metrics: Sequence[Metric],
    anchor: str,
    anchor_rows: Sequence[Row],
) -> list[Entry]:
    """Return the entries of declared rows, each compared with the anchor over common images."""
    entries = []
    names = [name for name in METRICS if metric_named(name).column in {m.column for m in metrics}]
    for name, rows in declared.rows.items():
        if not rows:
            continue
        label = label_of_row(rows[-1])
        rates: dict[str, Comparison | None] = {}
        summary = summary_of([*rows, *(anchor_rows if label != anchor else ())], names)
        for metric in metrics if label != anchor else ():
            compared = compare(summary, metric, anchor)
            rates |= {result.column: result for result in compared if result.label == label}
        origin = declared.origins.get(name, Origin())
        points = len({(row["setting_name"], row["setting_value"]) for row in rows})
        images, cost = len({row["image_sha256"] for row in rows}), cost_of(rows[-1], origin, None)
        entries.append(Entry(dataset, label, False, rates, points, images, cost, origin, rows[-1]))
    return sorted(entries, key=rank_value)


def cost_of(row: Row, origin: Origin, seconds: float | None) -> Cost:
    """Return the cost of a codec variant: as its class, else its row, else its authors have it."""
    facts, stated = facts_of(CodecSpec.of_row(row)), origin.statement
    declared = (
        getattr(facts.work, name) or row.get(name) or getattr(stated, name) for name in WORK
    )
    parameters, encode, kmac = declared
    kind = next((name for most, name in CLASSES if kmac and kmac <= most), LARGEST)
    kind = PROGRAM if facts.kind == "standard" else kind if kmac else UNDECLARED
    measured = origin.audit.seconds if origin.audit else seconds
    return Cost(parameters, encode, kmac, stated.memory_bytes, measured, kind)


def citation(entry: Entry, publisher: str) -> tuple[str, dict[str, Any]]:
    """Return the entry as BibTeX and as the metadata that DataCite asks of a DOI."""
    stated, pack = entry.origin.statement, entry.origin.pack
    dated = re.match(r"\d{4}", str(entry.row.get("finished_utc")))
    year = stated.year or (int(dated[0]) if dated else datetime.now(UTC).year)
    authors = list(stated.authors) or [publisher]
    title = f"{stated.title or entry.name}: rates and distortions on {entry.dataset}"
    version = f"sha256:{pack.sha256}" if pack else str(entry.row["run"])
    state = "verified" if entry.audited else "not verified"
    words = {
        "title": title, "author": " and ".join(authors), "year": str(year), "publisher": publisher,
        "version": version, "note": f"{state}; {entry.row['coding_protocol']}",
    }  # fmt: skip
    words |= {name: text for name, text in (("doi", stated.doi), ("url", stated.url)) if text}
    parts = filter(None, (entry.label, entry.origin.name, entry.dataset, str(year)))
    key = "".join(c for c in "-".join(parts) if c.isalnum() or c in "-_")
    plain = ("doi", "url")
    lines = [f"  {k} = {{{v if k in plain else escape_latex(v)}}}" for k, v in words.items()]
    related = {"relatedIdentifier": stated.doi, "relatedIdentifierType": "DOI",
               "relationType": "IsSupplementTo"}  # fmt: skip
    datacite = {
        "creators": [{"name": name} for name in authors],
        "titles": [{"title": title}],
        "publisher": publisher,
        "publicationYear": year,
        "types": {"resourceTypeGeneral": "Dataset"},
        "version": version,
        "relatedIdentifiers": [related] if stated.doi else [],
    }
    return "@misc{" + ",\n".join([key, *lines]) + "\n}", datacite
