"""Variants of a codec that a trade-off or a realism sweep joins: all of one build.

Of several builds the one with the most variants is taken, the newest of these;
variants of other builds, and settings without the metrics, are left out and named.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmark.answer import Absent
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import EFFORT, OWN, SIZE, Build, Edition, labels_of
from benchmark.rows.summary import Point, Summary, why_not
from benchmark.spec import NAME, CodecSpec


class Family(NamedTuple):
    """Points of variants of one build that have the same metrics, over the same images."""

    points: dict[Edition, list[Point]]  # lowest rate first
    absent: tuple[Absent, ...]  # variants and settings that are not among them

    @property
    def left_out(self) -> tuple[str, ...]:
        """Sentences on what is absent."""
        return tuple(f"left out: {what}: {why}" for what, why, _ in self.absent)

    @property
    def described(self) -> str:
        """The labels of the variants, and their versions without details."""
        versions = dict.fromkeys(edition.build_words for edition in self.points)
        return f"{', '.join(labels_of(self.points).values())} ({' and '.join(versions)})"

    def within(self, summary: Summary) -> Summary:
        """Return the summary with these points alone."""
        points = tuple(point for points in self.points.values() for point in points)
        return replace(summary, points=points, replaced=())


def one_build(
    summary: Summary,
    belongs: Callable[[Edition], bool],
    metrics: Sequence[Metric],
    build: str = "",
) -> Family:
    """Return the variants that belong together of one build, and what is left out.

    belongs: whether an edition is of the family. build: how the fingerprint of the build to take
    begins; empty to choose. Points that are not shown elsewhere may be part of it.
    """
    points = [p for p in (*summary.points, *summary.replaced) if belongs(p.edition)]
    complete: dict[Build, dict[CodecSpec, list[Point]]] = {}
    for point in points:  # those that are shown first
        of = point.edition.build
        if of[0].startswith(build) and _lacks(point, metrics, summary) is None:
            alike = complete.setdefault(of, {}).setdefault(point.edition.spec, [])
            if not alike or alike[0].edition == point.edition:
                alike.append(point)
    best = max(complete.values(), key=_worth, default={})
    chosen = {points[0].edition: points for points in best.values()}
    return Family(chosen, tuple(_left_out(points, chosen, metrics, summary)))


def is_default(edition: Edition) -> bool:
    """Return whether a variant is of its codec's default network and default encoder."""
    return not {SIZE, EFFORT} & edition.options.keys()


def beta_of(edition: Edition) -> float | None:
    """Return the realism weight of our codec's variant; None for other codecs."""
    beta = edition.options.get("beta", "")
    return float(beta) if edition.spec.name == OWN and beta else None


def betas(summary: Summary, metrics: Sequence[Metric]) -> Family:
    """Return our codec's variants of one build that have these metrics (`one_build`).

    They are of its default checkpoint, or of the one with most betas.
    """
    best = _of_one_checkpoint(summary)
    return one_build(summary, lambda edition: edition.spec in best, metrics)


def _of_one_checkpoint(summary: Summary) -> set[CodecSpec]:
    """Return the variants of our codec with a beta and the same other options."""
    by_rest: dict[frozenset[tuple[str, str]], set[CodecSpec]] = {}
    for edition in summary.editions:
        if beta_of(edition) is not None:
            options = edition.options.items()
            rest = frozenset(pair for pair in options if pair[0] not in ("beta", NAME))
            by_rest.setdefault(rest, set()).add(edition.spec)
    return by_rest.get(frozenset()) or max(by_rest.values(), key=len, default=set())


def _worth(variants: dict[CodecSpec, list[Point]]) -> tuple[int, bool, str]:
    """Return a sort key of builds: by variants, then rows measured here before bundled, by run."""
    editions = [points[0].edition for points in variants.values()]
    here = [edition for edition in editions if not edition.bundled]
    return len(variants), bool(here), max(edition.ran.run for edition in here or editions)


def _lacks(point: Point, metrics: Sequence[Metric], summary: Summary) -> str | None:
    reasons = (why_not(point, metric, summary) for metric in metrics)
    return next((why for why in reasons if why is not None), None)


def _left_out(
    points: Sequence[Point],
    chosen: dict[Edition, list[Point]],
    metrics: Sequence[Metric],
    summary: Summary,
) -> list[Absent]:
    of_chosen = {edition.build: edition for edition in chosen}
    shown, labels = {*summary.editions}, summary.labels
    joined = " and ".join(of.build_words for of in of_chosen.values())
    settings: dict[tuple[str, str], list[str]] = {}
    for point in points:
        why = _lacks(point, metrics, summary)
        edition = point.edition
        if of_chosen and edition.build not in of_chosen:
            if edition not in shown:
                continue
            why = why or f"of another build ({edition.build_words}) than the others ({joined})"
        if why is not None:
            settings.setdefault((labels[point.edition], why), []).append(str(point.setting))
    return [Absent(f"{label} {', '.join(of)}", why) for (label, why), of in settings.items()]
