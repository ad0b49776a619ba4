"""Two sets of rows in, a check out: what may be compared, how it changed, and the verdict.

    >>> from pathlib import Path
    >>> from benchmark.check.check import check, read_rows
    >>> def passes(reference: Path, new: Path) -> bool:
    ...     return check(read_rows(reference), read_rows(new)).exit_code == 0

What cannot be compared is a verdict too, so that nothing passes for lack of a comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.check.compare import AtSetting, at_equal_settings, changes, time_changes
from benchmark.check.margin import Margin, parse_margins
from benchmark.check.pairing import NotComparable, Pair, RowSet, pair_up
from benchmark.check.verdict import EXIT_CODES, Compared, Finding, Verdict, judge, overall
from benchmark.errors import UsageError
from benchmark.registry import DISTRIBUTION_METRICS, metric_class

Outcome = Verdict | Literal["not comparable"]

USUAL = ("psnr", "ms_ssim", "lpips")
NOT_COMPARABLE = 4


class Wanted(NamedTuple):
    """What a check is to look at, and how strictly."""

    metrics: tuple[str, ...] = ()  # empty: the usual ones, and those of sets, that there are
    margins: Mapping[str, Margin] = parse_margins("")
    confidence: float = 0.95
    codec: str = ""  # name or label to keep; empty for all
    reference_codec: str = ""  # the same of the reference; empty for `codec`
    common: bool = False  # compare the images and settings that both have
    allow_few: bool = False  # distribution metrics of few images
    fail_on_timing: bool = False


class Subject(NamedTuple):
    """A codec variant and what it was held against."""

    label: str
    version: str
    reference_label: str
    reference_version: str
    images: int
    settings: tuple[str, ...]
    identical: int  # cells whose streams have the same bytes on both sides
    protocols: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Check:
    """What came of it."""

    name: str  # of the new rows
    reference: str
    verdict: Outcome
    why: str  # where nothing could be compared
    wanted: Wanted
    subjects: tuple[Subject, ...] = ()
    findings: tuple[Finding, ...] = ()
    timing: tuple[Finding, ...] = ()
    at_settings: tuple[AtSetting, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Of the command: 0 to go on, 1 regressed, 3 undecided, 4 no verdict."""
        return NOT_COMPARABLE if self.verdict == "not comparable" else EXIT_CODES[self.verdict]

    def for_machines(self) -> dict[str, Any]:
        """All of it as json values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "why": self.why,
            "new": self.name,
            "reference": self.reference,
            "confidence": self.wanted.confidence,
            "timing_judged": self.wanted.fail_on_timing,
            "subjects": [subject._asdict() for subject in self.subjects],
            "findings": [_flat(finding) for finding in self.findings],
            "timing": [_flat(finding) for finding in self.timing],
            "at_equal_settings": [one._asdict() for one in self.at_settings],
            "notes": list(self.notes),
        }


def read_rows(folder: Path) -> RowSet:
    """The rows of `results/<dataset>`; `UsageError` where there are none."""
    from benchmark.rows.store import Store

    if not (folder / "per_image").is_dir():
        raise UsageError(f"{folder} holds no rows: name a folder like results/kodak")
    rows = Store(folder).table()
    if not rows.num_rows:
        raise UsageError(f"{folder} holds no rows: measure some with `bench run`")
    return RowSet(str(folder), folder, rows)


def check(reference: RowSet, new: RowSet, wanted: Wanted = Wanted()) -> Check:  # noqa: B008
    """Hold new rows against a reference, image by image."""
    asked = wanted.metrics or (*USUAL, *DISTRIBUTION_METRICS)
    try:
        found = pair_up(
            reference,
            new,
            asked,
            wanted.codec,
            wanted.reference_codec,
            wanted.common,
            wanted.allow_few,
        )
    except NotComparable as why:
        return Check(new.name, reference.name, "not comparable", str(why), wanted)
    compared, absent = [], dict.fromkeys(asked)
    for pair in found.pairs:
        names = wanted.metrics or _measured(pair, asked)
        compared += [Compared(pair.label, changes(pair, name)) for name in names]
        absent = {name: None for name in absent if name not in names}
    findings = judge(compared, wanted.margins, wanted.confidence)
    times = [Compared(p.label, one) for p in found.pairs for one in time_changes(p)]
    timing = judge(times, wanted.margins, wanted.confidence)
    notes = [*found.notes, *_notes(tuple(absent))]
    return Check(
        new.name,
        reference.name,
        overall([*findings, *(timing if wanted.fail_on_timing else [])]),
        "",
        wanted,
        tuple(_subject(pair) for pair in found.pairs),
        tuple(findings),
        tuple(timing),
        tuple(
            one for pair in found.pairs for one in at_equal_settings(pair, _measured(pair, asked))
        ),
        tuple(notes),
    )


def _measured(pair: Pair, names: Sequence[str]) -> tuple[str, ...]:
    """Metrics that the reference has values of: what lacks them now is nothing measured."""
    summary = pair.reference.summary
    return tuple(name for name in names if summary.values_of(metric_class(name).column))


def _notes(absent: Sequence[str]) -> list[str]:
    shown = [name for name in absent if name not in DISTRIBUTION_METRICS]
    return [f"not judged: the reference has no {', '.join(shown)}"] if shown else []


def _subject(pair: Pair) -> Subject:
    streams = [
        dict(
            zip(
                zip(*(side.rows[key].to_pylist() for key in KEY), strict=True),
                side.rows["stream_sha256"].to_pylist(),
                strict=True,
            )
        )
        for side in (pair.reference, pair.test)
    ]
    same = [at for at, sha256 in streams[0].items() if sha256 and streams[1].get(at) == sha256]
    return Subject(
        pair.test.label,
        pair.test.version,
        pair.reference.label,
        pair.reference.version,
        len(pair.images),
        tuple(map(str, pair.settings)),
        len(same),
        pair.test.summary.protocols,
    )


KEY = ("image_sha256", "setting_name", "setting_value")


def _flat(finding: Finding) -> dict[str, Any]:
    return {
        **finding._asdict(),
        "p": None if finding.p is None else finding.p._asdict(),
        "worst": [one._asdict() for one in finding.worst],
        "unknown": [one._asdict() for one in finding.unknown],
        "left_out": [one._asdict() for one in finding.left_out],
    }
