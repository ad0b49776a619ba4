"""Answers to a reviewer as records: verdict, sentence, rows; and what they are made from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from benchmark.answer import Absent
from benchmark.codec import bits_per_pixel
from benchmark.datasets.dataset import Source
from benchmark.published.curve_file import NamedCurve
from benchmark.published.points import PublishedPoint
from benchmark.registry import METRICS, metric_named
from benchmark.review.again import Again
from benchmark.review.audit.pack_audit import values_sent
from benchmark.review.claim import Judged
from benchmark.review.streams import Row, label_of_row, setting_of
from benchmark.rows.schema import metric_columns
from benchmark.show.table import Table

Verdict = Literal["yes", "partly", "no", "unknown"]
BROKEN = ("failed", "damaged")  # states of streams without a picture
DECODED = ("equal", "rounded", "other", "blind")


class Answer(NamedTuple):
    """A question of a reviewer and its answer; `table` has the rows behind the verdict."""

    name: str  # "bits", "claim", ... for machines
    question: str
    verdict: Verdict
    sentence: str
    table: Table | None = None


class Anchor(msgspec.Struct, frozen=True):
    """A system that a paper on image coding is usually compared with; a line of anchors.csv."""

    kind: Literal["distortion", "realism"]
    system: str
    year: int
    names: str  # as slugs, divided by semicolons
    reference: str


class Reviewed(NamedTuple):
    """Supplement as it came out here, and what it is compared with."""

    again: Sequence[Again]  # of every row with a stream
    declared: Sequence[Row]  # with a stated size: reconstructions, streams that were not sent
    curves: Sequence[NamedCurve]
    claims: Sequence[Judged]
    photographs: Mapping[str, Sequence[Source]]  # by dataset; those that are here
    missing: Mapping[str, str]  # why others are not, by dataset
    metrics: Sequence[str]  # that were computed here
    trained_on: Sequence[str]  # metrics that the author states, for codecs that declare none
    anchors: Sequence[Anchor]
    points: Sequence[PublishedPoint]
    dataset: str
    year: int
    left_out: Sequence[Absent]
    unmeasured: Sequence[Row] = ()  # of `declared`, those whose values are the author's too
    seed: int | None = None  # that drew the pictures encoded again

    @property
    def rows(self) -> list[Row]:
        """Rows that means are over: with the values measured here, else with those sent."""
        rows = [here(stream, self.metrics) for stream in self.again if stream.state not in BROKEN]
        return [*rows, *(row for row in self.declared if row["status"] == "ok")]

    @property
    def rows_of_dataset(self) -> list[Row]:
        """The rows of the dataset, by its name or else by its photographs; all where none is."""
        known = {source.sha256 for source in self.photographs.get(self.dataset, ())}
        own = [row for row in self.rows if row["dataset"] == self.dataset]
        return own or [row for row in self.rows if row["image_sha256"] in known] or self.rows

    @property
    def columns(self) -> set[str]:
        """Metric columns that rows, curves or claims have values of."""
        again = (stream.values or values_sent(stream.row, METRICS) for stream in self.again)
        of_rows = {name for values in again for name in values}
        of_rows |= {name for row in self.declared for name in values_sent(row, METRICS)}
        of_claims = {metric_named(judged.claim.metric).column for judged in self.claims}
        return of_rows | of_claims | {name for curve in self.curves for name in curve.series}


def here(stream: Again, metrics: Iterable[str]) -> Row:
    """Return a row with the bytes that were sent, and the values that were measured here."""
    row = dict(stream.row)
    if stream.num_bytes is not None:
        bpp = bits_per_pixel(stream.num_bytes, row["width_px"] * row["height_px"])
        row |= {"num_bytes": stream.num_bytes, "bpp": bpp}
    for kind in map(metric_named, metrics):
        if kind.column in stream.values:
            value, protocol, reason = metric_columns(kind.column)
            row |= {value: stream.values[kind.column], protocol: kind.protocol, reason: None}
    return row


def verdict_of(wrong: object, unknown: object = False, rounded: object = False) -> Verdict:
    """Return "no" for any contradiction, "partly" for differences of rounding alone."""
    return "no" if wrong else "unknown" if unknown else "partly" if rounded else "yes"


def point_of(row: Row) -> tuple[str, str, str]:
    """Return the dataset, the label and the setting of a row."""
    return str(row["dataset"]), label_of_row(row), setting_of(row)
