"""A check of new rows against a reference: what may be compared, how it changed, the verdict.

    >>> from pathlib import Path
    >>> from benchmark.compare.check.check import check
    >>> from benchmark.compare.check.row_sets import read_rows
    >>> def passes(reference: Path, new: Path) -> bool:
    ...     return check(read_rows(reference), read_rows(new)).exit_code == 0

Rows that cannot be compared are a verdict too, so that nothing passes for lack of a comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from benchmark.compare.check.compare import AtSetting, at_equal_settings, changes, time_changes
from benchmark.compare.check.pairing import NotComparable, RowSet, VariantPair, pair_up
from benchmark.compare.check.request import CheckRequest, parse_margins
from benchmark.compare.check.verdict import EXIT_CODES, Finding, Verdict, judge, overall
from benchmark.metrics.distribution_metric import has_influence
from benchmark.registry import DISTRIBUTION_METRICS, metric_class, metric_named
from benchmark.rows.codecs import Side, caveats

CheckVerdict = Verdict | Literal["not comparable"]

USUAL = ("psnr", "ms_ssim", "lpips")
NOT_COMPARABLE = 4
LISTS = ("subjects", "findings", "timing", "notes")


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
    options: CheckRequest
    subjects: tuple[ComparedCodec, ...] = ()
    findings: tuple[Finding, ...] = ()
    timing: tuple[Finding, ...] = ()
    at_settings: tuple[AtSetting, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of `bench check`: 0 passed, 1 regressed, 3 undecided, 4 no verdict."""
        return NOT_COMPARABLE if self.verdict == "not comparable" else EXIT_CODES[self.verdict]

    @property
    def judged(self) -> tuple[Finding, ...]:
        """The findings that the verdict is over."""
        return (*self.findings, *(self.timing if self.options.fail_on_timing else ()))

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
            "at_equal_settings": _flat(self.at_settings),
            **{name: _flat(getattr(self, name)) for name in LISTS},
        }


def check(reference: RowSet, new: RowSet, options: CheckRequest = CheckRequest()) -> Check:  # noqa: B008
    """Compare new rows with a reference, image by image, and judge the changes."""
    asked = options.metrics or judged_by_default()
    choice = (options.codec, options.reference_codec, options.common, options.allow_few)
    try:
        pairs, notes = pair_up(reference, new, asked, *choice)
    except NotComparable as why:
        return Check(new.name, reference.name, "not comparable", str(why), options)
    compared, times, at_settings, judged = [], [], [], set()
    for pair in pairs:
        values_of = pair.reference.summary.values_of
        # The reference has values of these; new rows without them are a finding: nothing measured.
        measured = tuple(name for name in asked if values_of(metric_named(name).column))
        names = options.metrics or measured
        judged |= {*names}
        compared += [changes(pair, name) for name in names]
        times += time_changes(pair)
        at_settings += at_equal_settings(pair, measured)
    absent = [name for name in asked if name not in {*judged, *DISTRIBUTION_METRICS}]
    if absent:
        notes = (*notes, f"not judged: the reference has no {', '.join(absent)}")
    margins = parse_margins(options.margin)
    findings, timing = (judge(of, margins, options.confidence) for of in (compared, times))
    verdict = overall([*findings, *(timing if options.fail_on_timing else [])])
    subjects = tuple(_compared_codec(pair, reference.name, new.name) for pair in pairs)
    lists = subjects, tuple(findings), tuple(timing), tuple(at_settings), notes
    return Check(new.name, reference.name, verdict, "", options, *lists)


def judged_by_default() -> tuple[str, ...]:
    """Return the metrics that are judged unless others are asked for.

    A distribution metric without influences cannot be judged, and is left to who names it.
    """
    of_sets = (name for name in DISTRIBUTION_METRICS if has_influence(metric_class(name)))
    return (*USUAL, *of_sets)


def _compared_codec(pair: VariantPair, reference: str, new: str) -> ComparedCodec:
    before, after = pair.reference, pair.test
    key = ["image_sha256", "setting_name", "setting_value", "stream_sha256"]
    identical = before.rows.select(key).join(after.rows.select(key), key, join_type="inner")
    sides = []
    for side, rows in ((after, new), (before, reference)):
        edition = side.summary.points[0].edition
        name = f"{side.label} of {rows}" if after.label == before.label else side.label
        sides.append(Side(name, edition.facts, edition.caveats))
    return ComparedCodec(
        after.label,
        after.version,
        before.label,
        before.version,
        len(pair.images),
        tuple(map(str, pair.settings)),
        identical.num_rows,
        pair.label,
        len(pair.equal),
        after.summary.protocols,
        caveats(*sides),
    )


def _flat(value: Any) -> Any:
    """Return records as dicts and tuples as lists, to any depth."""
    if hasattr(value, "_asdict"):
        return {name: _flat(field) for name, field in value._asdict().items()}
    return [*map(_flat, value)] if isinstance(value, tuple) else value
