"""A request for a check: every choice of `bench check` with its default and help, and margins."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmark.errors import UnknownName, UsageError
from benchmark.option import ALLOW_FEW, COMPARED, MANNER, ORIGIN, TARGET, option, shared
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, is_brought, metric_called
from benchmark.system.text import number_in


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """Choices of a check; how missing cells are measured is a `Request`."""

    codec: str = option(
        "", COMPARED, "The codec to check: ours, jpeg:optimize=1.", completes="codecs"
    )
    checkpoint: Path | None = option(
        None, COMPARED, "The weights to check, for a codec that takes a checkpoint."
    )
    against: str = option(
        "", COMPARED, "The reference: results/kodak, a results folder, a baseline, or accepted."
    )
    reference_codec: str = option(
        "", COMPARED, "The reference's codec, if it is not --codec.", completes="codecs"
    )
    dataset: str = option(
        "",
        COMPARED,
        "A dataset, or folder of images; default: the reference's.",
        completes="dataset",
    )
    metrics: tuple[str, ...] = option(
        (),
        COMPARED,
        "Comma-separated; default: psnr,ms_ssim,lpips, of sets.",
        many="listed",
        completes="metrics",
    )
    margin: str = option(
        "", MANNER, "Changes that still count as equal: bd_rate=1%,lpips=1%,time=25%."
    )
    confidence: float = option(
        0.95, MANNER, "Confidence of each kind of claim, over all metrics.", least=0.5, most=0.9999
    )
    require: tuple[str, ...] = option(
        (),
        MANNER,
        "Also fail unless 'ssimulacra2 at least 70 at 0.5 bpp' or 'encode at most 40 ms' "
        "(repeatable).",
        many="repeated",
    )
    common: bool = option(False, COMPARED, "Compare only the images and settings that both have.")
    fail_on_timing: bool = option(False, MANNER, "Let seconds decide the verdict as well.")
    allow_few: bool = shared(False, ALLOW_FEW)
    markdown: Path | None = option(
        None, TARGET, "Write the verdict to this markdown file, for a pull request.", refuses="file"
    )
    junit: Path | None = option(
        None, TARGET, "Write the verdict to this JUnit XML file.", refuses="file"
    )
    json_file: Path | None = option(
        None, TARGET, "Write the verdict to this JSON file.", refuses="file"
    )
    baselines: Path = option(
        Path("results"), ORIGIN, "The results folder that holds the baselines."
    )

    @classmethod
    def of(cls, metrics: str = "", margin: str = "", **options: Any) -> Self:
        """Return a request of values as the command line has them.

        Raises `UnknownName` and `UsageError` for metrics and margins that there are not.
        """
        from benchmark.compare.check.requirement import parse_requirements
        from benchmark.rows.schema import metric_names

        parse_margins(margin)
        required = tuple(options.pop("require", None) or ())
        parse_requirements(required)
        names = metric_names(metrics) if metrics else ()
        return cls(metrics=names, margin=margin, require=required, **options)


class Margin(NamedTuple):
    """The greatest change of a mean that still counts as equal."""

    value: float
    percent: bool


PERCENT = {"bd_rate": 1.0, "bd_metric": 1.0, "time": 25.0}  # the defaults


def parse_margins(text: str) -> dict[str, Margin]:
    """Return margins by key, the defaults where the text has none; raise `UsageError`.

    Keys are `bd_rate` (metrics judged by rate), `bd_metric` (by their own value), `time`, or one
    metric by name, which takes precedence. Percent is of the reference's; a plain number is in the
    metric's units.

    >>> parse_margins("bd_rate=2%,lpips_alex=0.002")["lpips"]
    Margin(value=0.002, percent=False)
    >>> parse_margins("")["bd_rate"]
    Margin(value=1.0, percent=True)
    """
    margins = {key: Margin(value, percent=True) for key, value in PERCENT.items()}
    known = (*PERCENT, *METRICS, *DISTRIBUTION_METRICS)
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, amount = part.partition("=")
        if not equals:
            raise UsageError(f"--margin {part!r} is not of the form metric=1% or metric=0.01")
        key = key if key in PERCENT else metric_called(key.strip())
        if key not in known and not is_brought(key):
            raise UnknownName("margin", key, known)
        percent = amount.endswith("%")
        value = number_in(amount.removesuffix("%"))
        if not (0 < value < math.inf):
            raise UsageError(f"--margin {part!r}: a margin is a positive number, or percent")
        if not percent and key in PERCENT:
            raise UsageError(f"--margin {part!r}: {key} is in percent; write {key}={amount}%")
        margins[key] = Margin(value, percent)
    return margins
