"""Experiments: what a report, a figure or a table is about, and the rates that it names."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from benchmark import option as known
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.option import COMPARED, DRAWING, opt, option, shared
from benchmark.spec import named_in
from benchmark.system.text import number_in

Rates = Annotated[tuple[str, ...], opt(COMPARED, "Rates to compare at, in bpp.", many="listed")]
PUBLISHED = opt(
    COMPARED,
    "Published systems to draw beside them: hific,multi-realism:beta=2.56; or 'all' "
    "(`bench published list`); or a file with your own points, mine.csv.",
)
IMAGES = opt(COMPARED, "Only these images: kodim0*,kodim23.", many="listed")


@dataclass(frozen=True, slots=True)
class Experiment(Rule):
    """Codecs, datasets, metrics and anchor of a question about stored rows and published points.

    Texts are comma-separated lists, as the command line has them.
    """

    results: Path = shared(Path("results"), known.RESULTS)
    dataset: str = shared("", known.DATASETS)
    codecs: str = shared("all", known.EXPERIMENT)
    bundled: str = shared("", known.BUNDLED)
    published: str = shared("", PUBLISHED)
    metrics: str = shared("", known.METRICS)
    anchor: str = shared("", known.ANCHOR)
    images: tuple[str, ...] = shared((), IMAGES)
    mix_protocols: bool = option(
        False, DRAWING, "Also draw published points of other rules, marked § and named."
    )
    allow_few: bool = shared(False, known.ALLOW_FEW)
    verified_only: bool = shared(False, known.VERIFIED_ONLY)

    @property
    def rule(self) -> Rule:
        """The rule of its BD-rates."""
        return Rule(**{each.name: getattr(self, each.name) for each in fields(Rule)})

    @property
    def named(self) -> list[str]:
        """The codecs that were named; none for "all"."""
        return named_in(self.codecs)


def rates_in(texts: Iterable[str]) -> tuple[float, ...]:
    """Return rates in bpp; raise `UsageError` for a text that is none.

    >>> rates_in(["0.1", ".2"])
    (0.1, 0.2)
    """
    texts = [*texts]
    result = tuple(map(number_in, texts))
    if any(not 0 < rate < 100 for rate in result):
        raise UsageError(f"--bpp {','.join(texts)} is no list of rates above 0")
    return result
