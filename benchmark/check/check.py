"""A check of new rows against a reference: what may be compared, how it changed, the verdict.

    >>> from pathlib import Path
    >>> from benchmark.check.check import check
    >>> from benchmark.check.row_sets import read_rows
    >>> def passes(reference: Path, new: Path) -> bool:
    ...     return check(read_rows(reference), read_rows(new)).exit_code == 0

Rows that cannot be compared are a verdict too, so that nothing passes for lack of a comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pyarrow.compute as pc

from benchmark.analysis.builds import build_words
from benchmark.analysis.summarise import Edition
from benchmark.check.compare import AtSetting, at_equal_settings, changes
from benchmark.check.margin import Margin, parse_margins
from benchmark.check.pairing import NotComparable, RowSet, VariantPair, pair_up
from benchmark.check.seconds import time_changes
from benchmark.check.verdict import EXIT_CODES, Finding, LabelledChanges, Verdict, judge, overall
from benchmark.metrics.distribution_metric import has_influence
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.coding_facts import Side, caveats
from benchmark.rows.editions import Build

CheckVerdict = Verdict | Literal["not comparable"]

USUAL = ("psnr", "ms_ssim", "lpips")
NOT_COMPARABLE = 4


class CheckOptions(NamedTuple):
    """Options of a check: metrics, codecs, margins and confidence."""

    metrics: tuple[str, ...] = ()  # empty: `judged_by_default`, where there are values
    margins: Mapping[str, Margin] = parse_margins("")
    confidence: float = 0.95
    codec: str = ""  # name or label of the codec to compare; empty for all
    reference_codec: str = ""  # that of the reference; empty for `codec`
    common: bool = False  # compare the images and settings that both have
    allow_few: bool = False  # distribution metrics of few images
    fail_on_timing: bool = False


class ComparedCodec(NamedTuple):
    """A codec variant and its counterpart in the reference."""

    label: str
    version: str
    reference_label: str
    reference_version: str
    images: int
    settings: tuple[str, ...]
    identical: int  # cells whose streams have the same bytes on both sides
    name: str  # in findings: the label without weights
    equal_images: int  # images with the same pixels and number of bytes at every setting
    protocols: Mapping[str, str]
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A finished check: the verdict and the findings behind it."""

    name: str  # of the new rows
    reference: str
    verdict: CheckVerdict
    why: str  # the reason where nothing could be compared, else empty
    options: CheckOptions
    subjects: tuple[ComparedCodec, ...] = ()
    findings: tuple[Finding, ...] = ()
    timing: tuple[Finding, ...] = ()
    at_settings: tuple[AtSetting, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of `bench check`: 0 passed, 1 regressed, 3 undecided, 4 no verdict."""
        return NOT_COMPARABLE if self.verdict == "not comparable" else EXIT_CODES[self.verdict]

    def for_machines(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "why": self.why,
            "new": self.name,
            "reference": self.reference,
            "confidence": self.options.confidence,
            "timing_judged": self.options.fail_on_timing,
            "subjects": [subject._asdict() for subject in self.subjects],
            "findings": [_flat(finding) for finding in self.findings],
            "timing": [_flat(finding) for finding in self.timing],
            "at_equal_settings": [one._asdict() for one in self.at_settings],
            "notes": list(self.notes),
        }


def check(reference: RowSet, new: RowSet, options: CheckOptions = CheckOptions()) -> Check:  # noqa: B008
    """Compare new rows with a reference, image by image, and judge the changes."""
    asked = options.metrics or judged_by_default()
    try:
        found = pair_up(
            reference,
            new,
            asked,
            options.codec,
            options.reference_codec,
            options.common,
            options.allow_few,
        )
    except NotComparable as why:
        return Check(new.name, reference.name, "not comparable", str(why), options)
    compared, absent = [], dict.fromkeys(asked)
    for pair in found.pairs:
        names = options.metrics or _measured(pair, asked)
        compared += [LabelledChanges(pair.label, changes(pair, name)) for name in names]
        absent = {name: None for name in absent if name not in names}
    findings = judge(compared, options.margins, options.confidence)
    times = [LabelledChanges(p.label, one) for p in found.pairs for one in time_changes(p)]
    timing = judge(times, options.margins, options.confidence)
    names = (reference.name, new.name)
    notes = [*found.notes, *_mixed(found.pairs, names), *_notes(tuple(absent))]
    return Check(
        new.name,
        reference.name,
        overall([*findings, *(timing if options.fail_on_timing else [])]),
        "",
        options,
        tuple(_compared_codec(pair, reference.name, new.name) for pair in found.pairs),
        tuple(findings),
        tuple(timing),
        tuple(
            one for pair in found.pairs for one in at_equal_settings(pair, _measured(pair, asked))
        ),
        tuple(notes),
    )


def judged_by_default() -> tuple[str, ...]:
    """Return the metrics that are judged unless others are asked for.

    A distribution metric without influences cannot be judged, and is left to who names it.
    """
    of_sets = (name for name in DISTRIBUTION_METRICS if has_influence(metric_class(name)))
    return (*USUAL, *of_sets)


def _measured(pair: VariantPair, names: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that the reference has values of.

    New rows without values of them are a finding: nothing measured.
    """
    summary = pair.reference.summary
    return tuple(name for name in names if summary.values_of(metric_class(name).column))


def _mixed(pairs: Sequence[VariantPair], names: tuple[str, str]) -> list[str]:
    """Return a sentence on each codec whose variants are of one build on one side alone."""
    editions: dict[str, list[tuple[Edition, Edition]]] = {}
    for pair in pairs:
        both = (pair.reference.summary.points[0].edition, pair.test.summary.points[0].edition)
        editions.setdefault(both[0].codec, []).append(both)
    found = []
    for codec, variants in editions.items():
        for side in (0, 1):
            by_other: dict[Build, dict[Build, list[Edition]]] = {}
            for both in variants:
                of_build = by_other.setdefault(both[1 - side].build, {})
                of_build.setdefault(both[side].build, []).append(both[side])
            for several in by_other.values():
                told = "; ".join(
                    f"{', '.join(one.label for one in some)}: {build_words(some[0])}"
                    for some in several.values()
                )
                if len(several) > 1:
                    found.append(
                        f"mixed builds: {names[side]} has {codec} of {len(several)} builds "
                        f"({told}), where {names[1 - side]} has one: a verdict on {codec} as a "
                        "whole is on none of them"
                    )
    return found


def _notes(absent: Sequence[str]) -> list[str]:
    shown = [name for name in absent if name not in DISTRIBUTION_METRICS]
    return [f"not judged: the reference has no {', '.join(shown)}"] if shown else []


def _compared_codec(pair: VariantPair, reference: str, new: str) -> ComparedCodec:
    """Describe a pair; reference, new: names of the sets of rows."""
    key = ["image_sha256", "setting_name", "setting_value"]
    before, after = (
        side.rows.select([*key, "stream_sha256"]) for side in (pair.reference, pair.test)
    )
    both = before.join(after, key, right_suffix="_new", join_type="inner")
    same = pc.sum(pc.equal(both["stream_sha256"], both["stream_sha256_new"])).as_py()
    return ComparedCodec(
        pair.test.label,
        pair.test.version,
        pair.reference.label,
        pair.reference.version,
        len(pair.images),
        tuple(map(str, pair.settings)),
        same or 0,
        pair.label,
        len(pair.equal),
        pair.test.summary.protocols,
        caveats(*_sides(pair, reference, new)),
    )


def _sides(pair: VariantPair, reference: str, new: str) -> tuple[Side, Side]:
    """Name both codecs: by label, and by set of rows where the labels are the same."""
    same = pair.test.label == pair.reference.label
    sides = []
    for one, rows in ((pair.test, new), (pair.reference, reference)):
        edition = one.summary.points[0].edition
        name = f"{one.label} of {rows}" if same else one.label
        sides.append(Side(name, edition.facts, edition.caveats))
    return sides[0], sides[1]


def _flat(finding: Finding) -> dict[str, Any]:
    return {
        **finding._asdict(),
        "p": None if finding.p is None else finding.p._asdict(),
        "worst": [one._asdict() for one in finding.worst],
        "unknown": [one._asdict() for one in finding.unknown],
        "left_out": [one._asdict() for one in finding.left_out],
    }
