"""Families: variants of a codec that are joined into one thing, and therefore are of one build.

A trade-off, a realism sweep and a surface join the variants of a codec (realism weights, say). They
are of one build (`rows.editions.Build`): one program or weight file, one revision of its adapter.
Of several builds the one with the most variants is taken, the newest of these; variants of other
builds, and settings without the metrics, are left out and named.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmark.analysis.comparable import short_version
from benchmark.analysis.rate_distortion import why_not
from benchmark.analysis.summarise import Edition, Point, Summary
from benchmark.metrics.measure import Measure
from benchmark.rows.editions import Build

SIZE, EFFORT = "size", "effort"  # options that name another network of a codec, another encoder
RECORDED = "recorded (a pack, or bundled rows)"


class Family(NamedTuple):
    """Points of variants of one build that have the same metrics, over the same images."""

    points: dict[str, list[Point]]  # by label of the variant's edition, lowest rate first
    left_out: tuple[str, ...]  # sentences on variants and settings that are not among them

    @property
    def described(self) -> str:
        """The labels of the variants, and their versions without details."""
        named = dict.fromkeys(build_words(points[0].edition) for points in self.points.values())
        return f"{', '.join(self.points)} ({' and '.join(named)})"

    def within(self, summary: Summary) -> Summary:
        """Return the summary with these points alone."""
        points = tuple(point for points in self.points.values() for point in points)
        return replace(summary, points=points, replaced=())


def one_build(
    summary: Summary,
    belongs: Callable[[Edition], bool],
    measures: Sequence[Measure],
    build: str = "",
) -> Family:
    """Return the variants that belong together of one build, and what is left out.

    belongs: whether an edition is of the family. build: how the fingerprint of the build to take
    begins; empty to choose. Bundled points that newer ones replace elsewhere may be part of it.
    """
    points = [p for p in (*summary.points, *summary.replaced) if belongs(p.edition)]
    complete: dict[Build, dict[str, list[Point]]] = {}
    for point in points:
        if point.edition.build.fingerprint.startswith(build) and not _lacks(
            point, measures, summary
        ):
            of_build = complete.setdefault(point.edition.build, {})
            of_build.setdefault(point.label, []).append(point)
    chosen = max(complete.values(), key=_worth, default={})
    return Family(chosen, tuple(_left_out(points, chosen, measures, summary)))


def origin(points: Sequence[Point]) -> str:
    """Return how points came about, for the caption of a figure that draws them: all versions."""
    editions = {point.label: point.edition for point in points}
    versions = dict.fromkeys(", ".join([one.version, *one.caveats]) for one in editions.values())
    told = "; ".join(versions)
    recorded = [label for label, one in editions.items() if one.recorded]
    if not recorded:
        return f"measured here with {told}"
    if len(recorded) == len(editions):
        return f"{RECORDED} with {told}"
    return f"measured here with {told}, of which {', '.join(recorded)} {RECORDED}"


def mixed_builds(summary: Summary) -> dict[str, str]:
    """Return words on the build of each variant of the codecs whose variants are of several.

    By label, of newest editions. Variants that name one version are not mixed: some codecs have
    weights for each variant. Nor are those that name networks of different sizes.
    """
    of_codec: dict[tuple[str, str], dict[str, Edition]] = {}
    for edition in (point.edition for point in summary.points):
        if not edition.age:
            of_codec.setdefault((edition.codec, size_of(edition)), {})[edition.label] = edition
    found: dict[str, str] = {}
    for editions in of_codec.values():
        words = {label: build_words(edition) for label, edition in editions.items()}
        if len({one.build for one in editions.values()}) > 1 and len(set(words.values())) > 1:
            found |= words
    return found


def size_of(edition: Edition) -> str:
    """Return the size of network that a variant names; empty for the codec's default."""
    return edition.options.get(SIZE, "")


def is_default(edition: Edition) -> bool:
    """Return whether a variant is of its codec's default network and default encoder."""
    return not {SIZE, EFFORT} & edition.options.keys()


def mixed_sentences(summary: Summary) -> list[str]:
    """Return a sentence on the builds of codecs whose variants are of several, for notes."""
    by_words: dict[str, list[str]] = {}
    for label, words in mixed_builds(summary).items():
        by_words.setdefault(words, []).append(label)
    told = "; ".join(f"{', '.join(labels)}: {words}" for words, labels in by_words.items())
    return [f"Variants of several builds, never joined: {told}."] * bool(told)


def build_words(edition: Edition) -> str:
    """Return a short version of an edition's build, and whether its rows are bundled."""
    return short_version(edition.version) + ", bundled" * edition.bundled


def _worth(variants: dict[str, list[Point]]) -> tuple[int, bool, str]:
    """Return a sort key of builds: by variants, then rows measured here before bundled, by run."""
    editions = [points[0].edition for points in variants.values()]
    here = [one for one in editions if not one.bundled]
    return len(variants), bool(here), max(one.run for one in here or editions)


def _lacks(point: Point, measures: Sequence[Measure], summary: Summary) -> str | None:
    """Return why a point cannot be compared in these metrics, or None."""
    reasons = (why_not(point, measure, summary) for measure in measures)
    return next((why for why in reasons if why is not None), None)


def _left_out(
    points: Sequence[Point],
    chosen: dict[str, list[Point]],
    measures: Sequence[Measure],
    summary: Summary,
) -> list[str]:
    """Return sentences on the points that are not chosen, without replaced ones of other builds."""
    of_chosen = {points[0].edition.build: points[0].edition for points in chosen.values()}
    joined = " and ".join(map(build_words, of_chosen.values()))
    covered = {(p.edition.variant, p.setting) for of_label in chosen.values() for p in of_label}
    found: dict[tuple[str, str], list[str]] = {}
    for point in points:
        why = _lacks(point, measures, summary)
        if point.edition.build in of_chosen or not of_chosen:
            if why is None or (point.edition.variant, point.setting) in covered:
                continue
        elif point.edition.age:
            continue
        elif why is None:
            why = f"of another build ({build_words(point.edition)}) than the others ({joined})"
        found.setdefault((point.label, why), []).append(str(point.setting))
    return [
        f"left out: {label} {', '.join(settings)}: {why}"
        for (label, why), settings in found.items()
    ]
