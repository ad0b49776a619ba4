"""Variants of a codec that form one trade-off or realism sweep: all have the same build.

The build with the most variants is used; of several, the newest. Variants of other
builds, and settings without the metrics, are left out and listed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmark.answer import Absent
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import EFFORT, PROJECT_CODEC, SIZE, Build, Edition, labels_of
from benchmark.rows.summary import Point, Summary, exclusion_reason
from benchmark.spec import NAME, CodecSpec


class Family(NamedTuple):
    """Points of variants of one build, with the same metrics over the same images."""

    points: dict[Edition, list[Point]]  # lowest rate first
    absences: tuple[Absent, ...]  # other variants and settings, with reasons

    @property
    def absence_notes(self) -> tuple[str, ...]:
        """A sentence for each absence."""
        return tuple(f"left out: {subject}: {reason}" for subject, reason, _ in self.absences)

    @property
    def description(self) -> str:
        """The labels of the variants, and their versions without details."""
        versions = dict.fromkeys(edition.build_text for edition in self.points)
        return f"{', '.join(labels_of(self.points).values())} ({' and '.join(versions)})"

    def restrict(self, summary: Summary) -> Summary:
        """Return the summary reduced to these points."""
        points = tuple(point for points in self.points.values() for point in points)
        return replace(summary, points=points, replaced=())


def one_build(
    summary: Summary,
    is_member: Callable[[Edition], bool],
    metrics: Sequence[Metric],
    build: str = "",
) -> Family:
    """Return the variants of one build, and the points and variants that were left out.

    is_member: tells whether an edition is in the family. build: prefix of the build's fingerprint;
    "": choose a build. Points of replaced editions may be in the family.
    """
    points = [p for p in (*summary.points, *summary.replaced) if is_member(p.edition)]
    points_by_build: dict[Build, dict[CodecSpec, list[Point]]] = {}
    for point in points:  # shown editions come first
        build_key = point.edition.build
        if build_key[0].startswith(build) and _missing_reason(point, metrics, summary) is None:
            variant_points = points_by_build.setdefault(build_key, {}).setdefault(
                point.edition.spec, []
            )
            if not variant_points or variant_points[0].edition == point.edition:
                variant_points.append(point)
    best_points = max(points_by_build.values(), key=_build_rank, default={})
    points_by_edition = {
        variant_points[0].edition: variant_points for variant_points in best_points.values()
    }
    return Family(
        points_by_edition, tuple(_absent_variants(points, points_by_edition, metrics, summary))
    )


def is_default(edition: Edition) -> bool:
    """Return whether a variant uses its codec's default network and encoder."""
    return not {SIZE, EFFORT} & edition.options.keys()


def beta_of(edition: Edition) -> float | None:
    """Return the realism weight of our codec's variant; None for other codecs."""
    beta = edition.options.get("beta", "")
    return float(beta) if edition.spec.name == PROJECT_CODEC and beta else None


def beta_family(summary: Summary, metrics: Sequence[Metric]) -> Family:
    """Return our codec's variants by beta, of one build; other options are default if possible."""
    variants = _beta_variants(summary)
    return one_build(summary, lambda edition: edition.spec in variants, metrics)


def _beta_variants(summary: Summary) -> set[CodecSpec]:
    """Return the variants of our codec with a beta and otherwise the same options."""
    variants_by_options: dict[frozenset[tuple[str, str]], set[CodecSpec]] = {}
    for edition in summary.editions:
        if beta_of(edition) is not None:
            options = edition.options.items()
            other_options = frozenset(item for item in options if item[0] not in ("beta", NAME))
            variants_by_options.setdefault(other_options, set()).add(edition.spec)
    return variants_by_options.get(frozenset()) or max(
        variants_by_options.values(), key=len, default=set()
    )


def _build_rank(variants: dict[CodecSpec, list[Point]]) -> tuple[int, bool, str]:
    """Return a sort key of builds: number of variants, whether measured here, last run."""
    editions = [points[0].edition for points in variants.values()]
    unbundled_editions = [edition for edition in editions if not edition.bundled]
    return (
        len(variants),
        bool(unbundled_editions),
        max(edition.run_facts.run for edition in unbundled_editions or editions),
    )


def _missing_reason(point: Point, metrics: Sequence[Metric], summary: Summary) -> str | None:
    reasons = (exclusion_reason(point, metric, summary) for metric in metrics)
    return next((reason for reason in reasons if reason is not None), None)


def _absent_variants(
    points: Sequence[Point],
    points_by_edition: dict[Edition, list[Point]],
    metrics: Sequence[Metric],
    summary: Summary,
) -> list[Absent]:
    editions_by_build = {edition.build: edition for edition in points_by_edition}
    shown_editions, labels = {*summary.editions}, summary.labels
    joined_builds = " and ".join(edition.build_text for edition in editions_by_build.values())
    settings_by_reason: dict[tuple[str, str], list[str]] = {}
    for point in points:
        reason = _missing_reason(point, metrics, summary)
        edition = point.edition
        if editions_by_build and edition.build not in editions_by_build:
            if edition not in shown_editions:
                continue
            reason = (
                reason
                or f"its build ({edition.build_text}) differs from the others' ({joined_builds})"
            )
        if reason is not None:
            settings_by_reason.setdefault((labels[point.edition], reason), []).append(
                str(point.setting)
            )
    return [
        Absent(f"{label} {', '.join(setting_texts)}", reason)
        for (label, reason), setting_texts in settings_by_reason.items()
    ]
