"""Experiments: codecs, datasets and metrics of a report, a figure or a table; lists of rates."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from benchmark import option as options
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.option import COMPARED, DRAWING, opt, option, shared_option
from benchmark.spec import requested_names
from benchmark.system.text import number_in

Rates = Annotated[
    tuple[str, ...], opt(COMPARED, "Rates at which to compare, in bpp.", value_form="listed")
]
PUBLISHED = opt(
    COMPARED,
    "Comma-separated published systems to add, such as hific (`bench published list` names them), "
    "'all', or a csv file with your own points.",
)
IMAGES = opt(COMPARED, "Compare only these images, such as kodim0*,kodim23.", value_form="listed")


@dataclass(frozen=True, slots=True)
class Experiment(Rule):
    """Codecs, datasets, metrics and anchor to compare, as comma-separated lists."""

    results: Path = shared_option(Path("results"), options.RESULTS)
    dataset: str = shared_option("", options.DATASETS)
    codecs: str = shared_option("all", options.SHOWN_CODECS)
    bundled: str = shared_option("", options.BUNDLED)
    published: str = shared_option("", PUBLISHED)
    metrics: str = shared_option("", options.METRICS)
    anchor: str = shared_option("", options.ANCHOR)
    images: tuple[str, ...] = shared_option((), IMAGES)
    mix_protocols: bool = option(
        False, DRAWING, "Also draw published points measured by other rules, marked §."
    )
    allow_few: bool = shared_option(False, options.ALLOW_FEW)
    verified_only: bool = shared_option(False, options.VERIFIED_ONLY)

    @property
    def rule(self) -> Rule:
        """The rule of the experiment's BD-rates."""
        return Rule(
            **{rule_field.name: getattr(self, rule_field.name) for rule_field in fields(Rule)}
        )

    @property
    def named_codecs(self) -> list[str]:
        """The codecs requested by name; empty for "all"."""
        return requested_names(self.codecs)


def parse_rates(texts: Iterable[str]) -> tuple[float, ...]:
    """Parse rates in bpp; raise `UsageError` for any other text."""
    texts = [*texts]
    rates = tuple(map(number_in, texts))
    if any(not 0 < rate < 100 for rate in rates):
        raise UsageError(f"--bpp {','.join(texts)} is not a list of rates: write 0.1,0.3")
    return rates
