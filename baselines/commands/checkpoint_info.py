"""`bench checkpoint info`: what a checkpoint is, by its card, and whether its file is whole."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands import options

if TYPE_CHECKING:
    from baselines.neural.checkpoint.card import Card
    from baselines.neural.cost import Cost


def info(
    file: Annotated[Path, typer.Argument(help="A checkpoint: elic-3.safetensors.")],
    as_json: options.AsJson = False,
) -> None:
    """Print what a checkpoint is: its network and training, the size and work of each part.

    A file that is not the one of its card is refused.

    Examples:
      bench checkpoint info elic-3.safetensors
      bench checkpoint info ours.safetensors --json
    """
    from baselines.neural.architecture import load_architecture
    from baselines.neural.checkpoint.card import verified_card
    from baselines.neural.cost import costs

    card = verified_card(file)
    parts = costs(card.architecture, card.config)
    if as_json:
        config = load_architecture(card.architecture).config_to_json(card.config)
        print(json.dumps(_record(card, config, parts), indent=1))
        return
    print(f"{file}: checkpoint {card.sha256[:8]} of {card.architecture}, {card.training}")
    for line in (*_facts(card), *_lines(parts)):
        print(line)


def _facts(card: "Card") -> list[str]:
    """Return what the card says of the training and of the network, a line each."""
    by_precision = [f"{steps:,} in {name}" for name, steps in card.precision_steps.items()]
    facts = {
        "crops seen": f"{card.crops:,}" if card.crops else "unknown",
        "steps": ", ".join(by_precision),
        "with deterministic kernels alone": f"{card.deterministic_steps:,} steps"
        if card.deterministic_steps
        else "",
        "measured": ", ".join(f"{name} {value:.4g}" for name, value in card.measured.items()),
        "shown beside its name": card.shown_caveat,
        "command": card.command,
        "commit": card.commit,
    }
    return [f"{name}: {text}" for name, text in facts.items() if text]


def _lines(parts: "Mapping[str, Cost]") -> Iterator[str]:
    """Yield a table of the parts of a network, and of all of them together."""
    parameters = sum(one.parameters for one in parts.values())
    macs = sum(one.macs_per_pixel for one in parts.values())
    width = max(map(len, (*parts, "together")))
    yield f"{'part':{width}}  parameters  multiply-accumulates per pixel"
    counted = [(name, one.parameters, one.macs_per_pixel) for name, one in parts.items()]
    for name, size, work in (*counted, ("together", parameters, macs)):
        yield f"{name:{width}}  {size:10,}  {work:30,.1f}"


def _record(card: "Card", config: Any, parts: "Mapping[str, Cost]") -> dict[str, Any]:
    return {
        "architecture": card.architecture,
        "config": config,
        "sha256": card.sha256,
        "training_data": card.training_data,
        "steps": card.steps,
        "crops": card.crops or None,
        "precision_steps": dict(card.precision_steps),
        "deterministic_steps": card.deterministic_steps,
        "measured": dict(card.measured),
        "caveat": card.shown_caveat,
        "command": card.command,
        "commit": card.commit,
        "parts": {name: one._asdict() for name, one in parts.items()},
    }
