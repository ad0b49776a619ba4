"""Average a checkpoint (the first argument) and checkpoints that were trained from it.

    python -m tools.average_checkpoints START=0.5 RUN=0.25 RUN=0.25 --data PHOTOGRAPHS \\
        --out runs/mean/ours.safetensors

Shares sum to 1. The mean is exported as by `bench train --quantised`, and validated on those of
the PHOTOGRAPHS that training holds out. Averaging helps if the runs trained only gains and biases
(docs/experiments); the mean of runs that trained all weights was worse than each run.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from baselines.neural.architecture import rate_levels
from baselines.neural.card import Card
from baselines.neural.checkpoint import Checkpoint, load_checkpoint, make_checkpoint
from baselines.neural.network import Network
from baselines.neural.objectives import Realism
from baselines.neural.training.objective import validate
from baselines.neural.training.photographs import (
    choose_validation,
    photograph_paths,
    validation_pictures,
)
from baselines.neural.training.run import CROP_PX, estimates
from benchmark.errors import BenchError, UsageError
from benchmark.system.machine import commit


def mean_network(checkpoints: Sequence[Checkpoint], shares: Sequence[float]) -> Network:
    """Average parameters in float64; raises `UsageError` if shares or configurations do not fit."""
    if len(shares) != len(checkpoints) or not math.isclose(sum(shares), 1):
        raise UsageError(
            f"shares of {len(checkpoints)} checkpoints sum to {sum(shares):g}: they must sum to 1"
        )
    first_checkpoint = checkpoints[0]
    for checkpoint in checkpoints:
        if checkpoint.card.config != first_checkpoint.card.config:
            raise UsageError(
                f"checkpoint {checkpoint.card.sha256[:8]} has a different configuration from "
                f"{first_checkpoint.card.sha256[:8]}: average networks with the same configuration"
            )
    weights = torch.tensor(shares, dtype=torch.float64)
    parameters = [dict(checkpoint.network.named_parameters()) for checkpoint in checkpoints]
    with torch.no_grad():
        for name, parameter in first_checkpoint.network.named_parameters():
            values = torch.stack([tensors[name].double() for tensors in parameters])
            parameter.copy_(torch.tensordot(weights, values, dims=1))
    return first_checkpoint.network


def mean_card(cards: Sequence[Card], shares: Sequence[float], measured: dict[str, float]) -> Card:
    """Make the card of a mean; cards: of the start, then of checkpoints trained from it."""
    first_card, *trained_cards = cards
    identities = [(card.sha256[:8], share) for card, share in zip(cards, shares, strict=True)]
    sources = ", ".join(f"{name} ({share:g})" for name, share in identities)
    data_text = "; ".join(dict.fromkeys(card.training_data for card in trained_cards))
    precisions: Counter[str] = Counter()
    for card in trained_cards:
        precisions.update(card.precision_steps)
    arguments = " ".join(f"{name}={share:g}" for name, share in identities)
    return Card(
        architecture=first_card.architecture,
        config=first_card.config,
        training_data=f"mean of checkpoints {sources}, each but the first trained on {data_text}",
        steps=first_card.steps
        and first_card.steps + sum((card.steps or 0) - first_card.steps for card in trained_cards),
        crops=first_card.crops + sum(card.crops - first_card.crops for card in trained_cards),
        command=f"python -m tools.average_checkpoints {arguments}",
        commit=commit() or "unknown",
        measured=measured,
        precision_steps=precisions,
        caveat=first_card.caveat,
    )


def parse_share(text: str) -> tuple[Path, float]:
    """Parse FILE=SHARE to a path and a number."""
    path, _, share = text.rpartition("=")
    try:
        return Path(path), float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: write a file and its share, FILE=0.25") from None


def average(arguments: argparse.Namespace) -> str:
    """Write the mean of the checkpoints; return a line to print."""
    shares = [share for _, share in arguments.checkpoints]
    checkpoints = [load_checkpoint(path) for path, _ in arguments.checkpoints]
    network = mean_network(checkpoints, shares)
    paths = photograph_paths([arguments.data])
    pictures = validation_pictures(sorted(choose_validation(paths)))
    card = checkpoints[0].card
    levels = rate_levels(card.config)
    validation = validate(network, (1.0,) * levels, pictures, Realism.betas)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    average_card = make_checkpoint(
        arguments.out,
        network,
        mean_card(
            [checkpoint.card for checkpoint in checkpoints],
            shares,
            estimates(point._asdict() for point in validation.points),
        ),
        [pixels[-CROP_PX:, -CROP_PX:] for pixels in pictures],
        quantised=True,
    )
    return f"{arguments.out}: checkpoint {average_card.sha256[:8]}\n"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoints", nargs="+", type=parse_share, metavar="FILE=SHARE")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    try:
        sys.stdout.write(average(parser.parse_args()))
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
