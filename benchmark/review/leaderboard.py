"""A leaderboard: audited rows, ranked; declared ones below; each with its cost and origin."""

import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.compare.bd import Comparison, compare
from benchmark.compare.curves import NoDelta
from benchmark.facts import facts_of
from benchmark.metrics.measure import Measure
from benchmark.registry import METRICS, metric_named
from benchmark.review.claim import summary_of
from benchmark.review.streams import Row, label_of_row, spec_of
from benchmark.review.submission import Audit, Statement, Submission
from benchmark.rows.packs.pack import Pack
from benchmark.rows.runs import new_run_id, run_record
from benchmark.rows.schema import metric_columns
from benchmark.rows.store import Store, stores_below
from benchmark.rows.summary import TIMED, Summary
from benchmark.show.table import escape_latex

CLASSES = ((10.0, "to 10 kMAC/px"), (100.0, "to 100 kMAC/px"), (1000.0, "to 1,000 kMAC/px"))
WORK = ("parameters", "encode_kmac", "decode_kmac")  # of `Facts.work`, of rows, of statements
LARGEST, PROGRAM, UNDECLARED = "above 1,000 kMAC/px", "program", "not declared"
NOT_AUDITED = "its streams were not decoded here"


class Origin(NamedTuple):
    """Origin of an entry's rows: what their authors state, the audit, the pack."""

    statement: Statement = Statement()
    audit: Audit | None = None  # None: rows of the results folder, verified there or not
    pack: Pack | None = None


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
    def why(self) -> str:
        """Reason why it is declared, or has no BD-rate; empty where it is ranked."""
        if not self.audited:
            return self.origin.audit.reason if self.origin.audit else NOT_AUDITED
        reasons = [c.rate.reason for c in self.rates.values() if c and isinstance(c.rate, NoDelta)]
        return "; ".join(dict.fromkeys(reasons[:1]))


class Rows(NamedTuple):
    """Rows of a dataset and where they come from, by label."""

    rows: dict[str, list[Row]]
    origins: dict[str, Origin]


def sort_out(results: Path, known: Sequence[Submission], audited: Path) -> dict[str, Rows]:
    """Write audited rows with their streams to the empty folder `audited`; return the others.

    Rows of the results are audited if an independent decode verified them; those of submissions by
    their audit, with the values that it reproduced and no others.
    """
    declared: dict[str, Rows] = defaultdict(lambda: Rows(defaultdict(list), {}))
    accepted: dict[str, list[tuple[Row, bytes | None]]] = defaultdict(list)
    packs = {submission.name: submission.pack.sha256 for submission in known if submission.pack}
    run = new_run_id(audited)
    for dataset, folder in stores_below(results).items():
        own = Store(folder)
        for row in own.table().rows(named=True):
            if row["attested"] and row["status"] == "ok" and own.has_stream(row["stream_sha256"]):
                accepted[dataset].append((row, own.stream(row["stream_sha256"])))
            elif row["status"] == "ok":
                declared[dataset].rows[label_of_row(row)].append(row)
    for submission in known:
        for sent in submission.sent:
            label = label_of_row(sent.row)
            verdict = submission.audits.get(label)
            if verdict and verdict.audited and sent.read:
                row = {**_reproduced(sent.row, verdict), "run": run, "attested": True}
                accepted[sent.dataset].append((row, sent.read()))
            else:
                name = f"{label} ({submission.name})"
                declared[sent.dataset].rows[name].append(sent.row)
                declared[sent.dataset].origins[name] = Origin(
                    submission.statement, verdict, submission.pack
                )
    for dataset, kept in accepted.items():
        cells = {row["cell"] for row, _ in kept}
        below = declared[dataset]
        for label in below.rows.keys() - below.origins:  # here, and in an audited pack as well
            below.rows[label] = [row for row in below.rows[label] if row["cell"] not in cells]
        store = Store(audited / dataset)
        store.keep(*(stream or b"" for _, stream in kept))
        store.begin(run, run_record(sys.argv[1:], submissions=packs))
        store.append([row for row, _ in kept])
    return declared


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
    measures: Sequence[Measure],
    anchor: str,
    known: Sequence[Submission],
    rows: Iterable[Row],
) -> list[Entry]:
    """Return the entries of audited rows, best first by the first measure, without number last."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_label[label_of_row(row)].append(row)
    compared = {measure.column: compare(summary, measure, anchor) for measure in measures}
    origins = {
        label: Origin(submission.statement, audit, submission.pack)
        for submission in known
        for label, audit in submission.audits.items()
        if audit.audited and any(sent.dataset == dataset for sent in submission.sent)
    }
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
    """Return the BD-rate by the first measure, 0 for the anchor, infinity without a number."""
    comparison = next(iter(entry.rates.values()), None)
    if comparison is None:
        return 0.0
    return math.inf if isinstance(comparison.rate, NoDelta) else comparison.rate.value


def declared_entries(
    dataset: str,
    declared: Rows,
    measures: Sequence[Measure],
    anchor: str,
    anchor_rows: Sequence[Row],
) -> list[Entry]:
    """Return the entries of declared rows, each compared with the anchor over common images."""
    entries = []
    names = [name for name in METRICS if metric_named(name).column in {m.column for m in measures}]
    for name, rows in declared.rows.items():
        if not rows:
            continue
        label = label_of_row(rows[-1])
        rates: dict[str, Comparison | None] = {}
        summary = summary_of([*rows, *(anchor_rows if label != anchor else ())], names)
        for measure in measures if label != anchor else ():
            compared = compare(summary, measure, anchor)
            rates |= {result.column: result for result in compared if result.label == label}
        origin = declared.origins.get(name, Origin())
        points = len({(row["setting_name"], row["setting_value"]) for row in rows})
        images, cost = len({row["image_sha256"] for row in rows}), cost_of(rows[-1], origin, None)
        entries.append(Entry(dataset, name, False, rates, points, images, cost, origin, rows[-1]))
    return sorted(entries, key=rank_value)


def cost_of(row: Row, origin: Origin, seconds: float | None) -> Cost:
    """Return the cost of a codec variant: as its class, else its row, else its authors have it."""
    facts, stated = facts_of(spec_of(row)), origin.statement
    declared = (
        getattr(facts.work, name) or row.get(name) or getattr(stated, name) for name in WORK
    )
    parameters, encode, kmac = declared
    kind = next((name for most, name in CLASSES if kmac and kmac <= most), LARGEST)
    kind = PROGRAM if facts.kind == "standard" else kind if kmac else UNDECLARED
    measured = origin.audit.seconds if origin.audit else seconds
    memory = row.get("decode_peak_bytes") or stated.memory_bytes
    return Cost(parameters, encode, kmac, memory, measured, kind)


def citation(entry: Entry, publisher: str) -> tuple[str, dict[str, Any]]:
    """Return the entry as BibTeX and as the metadata that DataCite asks of a DOI."""
    stated, pack = entry.origin.statement, entry.origin.pack
    dated = re.match(r"\d{4}", str(entry.row.get("finished_utc")))
    year = stated.year or (int(dated[0]) if dated else datetime.now(UTC).year)
    authors = list(stated.authors) or [publisher]
    title = f"{stated.title or entry.label}: rates and distortions on {entry.dataset}"
    version = f"sha256:{pack.sha256}" if pack else str(entry.row["run"])
    state = "audited" if entry.audited else "declared, not audited"
    words = {
        "title": title, "author": " and ".join(authors), "year": str(year), "publisher": publisher,
        "version": version, "note": f"{state}; {entry.row['coding_protocol']}",
    }  # fmt: skip
    words |= {name: text for name, text in (("doi", stated.doi), ("url", stated.url)) if text}
    key = "".join(c for c in f"{entry.label}-{entry.dataset}-{year}" if c.isalnum() or c in "-_")
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
