"""Columns of a paper's table at a rate or quality: the records of `bench rank` by system."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from benchmark.answer import OTHER_RULE, Column
from benchmark.compare.rank import RATE, Budget, RankedCodec, Target, rank_at
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition
from benchmark.show.absences import absent_lines
from benchmark.show.bd_rates import short_name
from benchmark.show.paper.experiment_curves import ExperimentCurves
from benchmark.show.ranks import (
    ValueColumn,
    is_searched,
    mark_notes,
    rank_absences,
    rank_published,
    value_columns,
)

RANK_FIELDS = (
    "at",
    "rank",
    "codec",
    "bundled",
    "origin",
    "images_better",
)  # not written to the csv


class TargetValue(NamedTuple):
    """A cell of the table: a system's value in a column."""

    text: str  # value with marks
    interval: str  # printed after the text if there is room; may be empty
    score: float  # lower is better
    is_comparable: bool  # False: measured by another rule than the column's other values


class TargetBlock(NamedTuple):
    """The systems of a table at a target on a dataset."""

    result: ExperimentCurves
    target: Target
    metrics: Sequence[Metric]  # metrics with columns
    codecs: Mapping[str, RankedCodec]  # by names of the table's rows

    @property
    def title(self) -> str:
        """The title above the block's columns."""
        target_text = f"{self.target.value:g} bpp"
        if self.target.name != RATE:
            label = short_name(Metric.named(self.target.name), self.metrics)
            target_text = f"{label} {self.target.value:g}"
        return f"At {target_text} on {self.result.title}"

    def columns(self) -> list[Column]:
        """Return the columns that have values, with the title before each name."""
        anchor = self.result.anchor_edition
        anchor_headings = [
            f"{name} (%)" for name, codec in self.codecs.items() if codec.edition == anchor
        ]
        metrics = [metric for metric in self.metrics if metric.name != self.target.name]
        names = {metric.column: short_name(metric, self.metrics) for metric in metrics}
        columns = value_columns(metrics, self.target.name != RATE, "".join(anchor_headings))
        return [
            Column(
                f"{self.title}, {names.get(column.key, column.name)}",
                partial(self._find_value, column),
                target_text,
            )
            for column in columns
            if any(codec.record[column.key] is not None for codec in self.codecs.values())
        ]

    def _find_value(self, column: ValueColumn, row: Any) -> TargetValue | None:
        record = self.codecs[row.name].record if row.name in self.codecs else {}
        if (value := record.get(column.key)) is None:
            return None
        higher_is_better = any(
            m.column == column.key and m.better == "higher" for m in self.metrics
        )
        is_comparable = not record.get(f"{column.key}_other_rule")
        score = -value if higher_is_better else value
        return TargetValue(column.text(record) or "", column.interval(record), score, is_comparable)

    def fields(self, name: str) -> dict[str, Any]:
        """Return a system's fields for the csv."""
        fields = dict.fromkeys(key for codec in self.codecs.values() for key in codec.record)
        record = self.codecs[name].record if name in self.codecs else {}
        key = f"{self.result.dataset} {self.target}"
        return {f"{key} {field}": record.get(field) for field in fields if field not in RANK_FIELDS}


def target_block(
    result: ExperimentCurves,
    target: Target,
    metrics: Sequence[Metric],
    budget: Budget,
    names: Mapping[Edition, str],
) -> TargetBlock:
    """Return the systems of a table at a target on a dataset. names: row names by edition."""
    summary, ranked_codecs = result.summary, list[RankedCodec]()
    if summary and result.stored:
        tolerance, anchor = float(is_searched(result.stored, target)), result.anchor_edition
        ranked_codecs = rank_at(
            summary, target, metrics, budget, anchor=anchor, tolerance=tolerance
        )
    curves = [curve for curve in chain(*result.panels) if not curve.measured]
    ranked_codecs += rank_published(curves, summary, target, metrics, budget, ranked_codecs)
    names_by_spec = {(edition.spec, edition.measured): name for edition, name in names.items()}
    named_codecs = (
        (names_by_spec.get((codec.edition.spec, codec.edition.measured)), codec)
        for codec in ranked_codecs
    )
    codecs_by_name = {name: codec for name, codec in named_codecs if name}
    for name, codec in codecs_by_name.items():
        codec.record["codec"] = name.removesuffix(OTHER_RULE)
    return TargetBlock(result, target, metrics, codecs_by_name)


def block_notes(blocks: Sequence[TargetBlock]) -> list[str]:
    """Return the sentences below a table on its columns at targets."""
    ranked_codecs = [codec for block in blocks for codec in block.codecs.values()]
    notes = mark_notes(ranked_codecs, [*dict.fromkeys(chain(*(block.metrics for block in blocks)))])
    for block in blocks:
        systems, result = [*block.codecs.values()], block.result
        images = {codec.record["images"] for codec in systems if codec.record["rank"]}
        if result.summary and images and images != {result.summary.images}:
            image_counts = f"{max(images)} of {result.summary.images} images"
            notes.append(f"{block.title}: means over {image_counts}.")
        prefix = (
            f"{result.title}: "
            if len({other_block.result.dataset for other_block in blocks}) > 1
            else ""
        )
        lines = absent_lines([*rank_absences(block.target, systems, block.metrics, result.stored)])
        notes += [f"{prefix}{line}" for line in lines]
    return notes


def target_text(value: TargetValue) -> str:
    """Return the text of a value, with marks."""
    return value.text


def target_text_with_interval(value: TargetValue) -> str:
    """Return the text of a value, with marks and interval."""
    return f"{value.text} {value.interval}".rstrip()
