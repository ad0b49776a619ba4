"""Experiments: the subject of a report, a figure or a table, and the rates that it names."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from benchmark import option as options
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.option import COMPARED, DRAWING, opt, option, shared
from benchmark.spec import named_in
from benchmark.system.text import number_in

Rates = Annotated[tuple[str, ...], opt(COMPARED, "Rates to compare at, in bpp.", many="listed")]
PUBLISHED = opt(
    COMPARED,
    "Published systems to draw too: hific,multi-realism:beta=2.56; or 'all' "
    "(`bench published list`); or a file with your points, mine.csv.",
)
IMAGES = opt(COMPARED, "Only these images: kodim0*,kodim23.", many="listed")


@dataclass(frozen=True, slots=True)
class Experiment(Rule):
    """Codecs, datasets, metrics and anchor of a question, as comma-separated lists."""

    results: Path = shared(Path("results"), options.RESULTS)
    dataset: str = shared("", options.DATASETS)
    codecs: str = shared("all", options.EXPERIMENT)
    bundled: str = shared("", options.BUNDLED)
    published: str = shared("", PUBLISHED)
    metrics: str = shared("", options.METRICS)
    anchor: str = shared("", options.ANCHOR)
    images: tuple[str, ...] = shared((), IMAGES)
    mix_protocols: bool = option(
        False, DRAWING, "Also draw published points measured by other rules, marked §."
    )
    allow_few: bool = shared(False, options.ALLOW_FEW)
    verified_only: bool = shared(False, options.VERIFIED_ONLY)

    @property
    def rule(self) -> Rule:
        """The rule of its BD-rates."""
        return Rule(
            **{rule_field.name: getattr(self, rule_field.name) for rule_field in fields(Rule)}
        )

    @property
    def named(self) -> list[str]:
        """The codecs requested by name; empty for "all"."""
        return named_in(self.codecs)


def parse_rates(texts: Iterable[str]) -> tuple[float, ...]:
    """Parse rates in bpp; raise `UsageError` for any other text."""
    texts = [*texts]
    result = tuple(map(number_in, texts))
    if any(not 0 < rate < 100 for rate in result):
        raise UsageError(f"--bpp {','.join(texts)} is not a list of rates above 0")
    return result
