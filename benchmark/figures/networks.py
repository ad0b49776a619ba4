"""Bundled networks in tables and figures: their work, their training, and how they were chosen."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmark.analysis.systems import chosen_on, shared_label, training

if TYPE_CHECKING:
    from benchmark.analysis.summarise import Edition
    from benchmark.published.curves import SystemCurve

HEADERS = (
    *("work (kMAC/px)", "training (10^15 MAC)"),
    *("optimiser", "steps of a network"),
)


def training_cells(edition: "Edition") -> tuple[str, str, str, str]:
    """Return the cells below `HEADERS`; empty for rows of other than bundled networks."""
    kmac, (petamacs, optimiser, steps) = training(edition.label)
    if not (edition.bundled and steps):
        return ("", "", "", "")
    return f"{kmac:.1f}", "" if petamacs is None else f"{petamacs:.2f}", optimiser, steps


def chosen_notes(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences on networks whose realism was chosen by a metric on a dataset.

    >>> chosen_notes(["jpeg", "ours:beta=0:size=micro", "ours:beta=3.84:size=micro"])
    ('Realism chosen on Kodak by LPIPS (SqueezeNet): ours:size=micro.',)
    """
    choices = [(chosen_on(label), label) for label in dict.fromkeys(labels)]
    return tuple(
        f"Realism chosen on {choice[0]} by {choice[1]}: "
        f"{shared_label([label for of, label in choices if of == choice])}."
        for choice in dict.fromkeys(choice for choice, _ in choices)
        if choice
    )


def network_sentences(curves: "Iterable[SystemCurve]") -> list[str]:
    """Return sentences on work and training of the curves' networks, and on how they were chosen.

    Networks are those that are bundled.
    """
    measured = {curve.name: curve.edition for curve in curves if curve.edition}
    names: dict[str, list[str]] = {}
    for name, edition in measured.items():
        if any(cells := training_cells(edition)):
            names.setdefault(", ".join(cell or "–" for cell in cells), []).append(name)
    parts = "; ".join(f"{', '.join(of)}: {cells}" for cells, of in names.items())
    heads = ", ".join(HEADERS)
    sentences = [f"{heads[0].upper()}{heads[1:]}: {parts}."] * bool(parts)
    return [*sentences, *chosen_notes(edition.label for edition in measured.values())]
