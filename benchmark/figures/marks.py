"""Marks at the names in a figure: caveats, foreign protocols, metrics in a training loss; notes."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmark.analysis.systems import trained_on
from benchmark.figures.captions import grouped, letters, listed, marked
from benchmark.figures.table import TRAINED
from benchmark.published.curves import Panel, SystemCurve


class Marks(NamedTuple):
    """Marks of the curves of a figure, and the sentences that explain them below it."""

    panels: Sequence[Panel]
    by_caveat: dict[str, str]  # "*" by caveat
    by_protocol: dict[str, str]  # letter by protocol id
    trained: dict[str, list[str]]  # names by label of the metric in their loss

    @classmethod
    def of(cls, panels: Sequence[Panel]) -> "Marks":
        """Return the marks of all curves in these panels."""
        caveats = dict.fromkeys(c for one in panels for curve in one.curves for c in curve.caveats)
        return cls(
            panels,
            {caveat: "*" * (place + 1) for place, caveat in enumerate(caveats)},
            letters(panels),
            trained_names(panels),
        )

    def name(self, curve: SystemCurve) -> str:
        """Return the name of a curve with its marks."""
        short = curve.name.removesuffix("".join(f", {one}" for one in curve.caveats))
        if len(self.panels) == 1 and in_loss(curve, self.panels[0]):
            short += TRAINED
        short += " ".join(self.by_caveat[one] for one in curve.caveats)
        return marked(short, curve.name, self.panels, self.by_protocol)

    def of_axis(self, panel: Panel) -> str:
        """Return the mark of a metric's axis, where it does not stand at the curves' names."""
        return f" {TRAINED}" if len(self.panels) > 1 and panel.measure.label in self.trained else ""

    @property
    def notes(self) -> list[str]:
        """Sentences on these marks."""
        said = [f"{mark} {caveat}" for caveat, mark in self.by_caveat.items()]
        if self.trained and len(self.panels) == 1:
            said.append(f"{TRAINED} {next(iter(self.trained))} is in the training loss")
        elif self.trained:
            who = [f"{metric} of {listed(names)}" for metric, names in self.trained.items()]
            said.append(f"{TRAINED} in the training loss: {', '.join(who)}")
        return ["; ".join(said) + "."] if said else []


def in_loss(curve: SystemCurve, panel: Panel) -> bool:
    """Return whether a panel's metric is in the training loss of a curve's codec."""
    return panel.measure.column in trained_on(curve.system.label)


def trained_names(panels: Sequence[Panel]) -> dict[str, list[str]]:
    """Return the names of codecs by the label of the metric that is in their training loss."""
    return grouped(
        (one.measure.label, _without_options(curve.system.name))
        for one in panels
        for curve in one.curves
        if in_loss(curve, one)
    )


def _without_options(name: str) -> str:
    """Return the name of a codec alone.

    >>> _without_options("ours beta=0"), _without_options("hyperprior:weights=matched")
    ('ours', 'hyperprior')
    """
    return " ".join(
        part.partition(":")[0] for part in name.split() if "=" not in part or ":" in part
    )


def training_sentences(panels: Sequence[Panel]) -> list[str]:
    """Return the sentence of a caption on metrics in training losses; none without any."""
    found = [f"{metric} of {listed(names)}" for metric, names in trained_names(panels).items()]
    return [f"{TRAINED} In the training loss: {'; '.join(found)}."] if found else []
