"""Write the weighted mean of checkpoints of which all but the first began with it.

    python -m tools.average_checkpoints START=0.5 RUN=0.25 RUN=0.25 --data PHOTOGRAPHS \\
        --out runs/mean/ours.safetensors

Shares add up to 1. It is exported as runs are with `--quantised`, and validated on the
photographs that training holds out of PHOTOGRAPHS. docs/experiments says what a mean of runs that
trained gains and biases alone is good for; a mean of runs that trained all weights was worse than
each of them.
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
from baselines.neural.training.photographs import held_out, photograph_paths, validation_pictures
from baselines.neural.training.run import CROP_PX, estimates
from benchmark.errors import BenchError, UsageError
from benchmark.system.machine import commit


def mean_network(checkpoints: Sequence[Checkpoint], shares: Sequence[float]) -> Network:
    """Return the network whose parameters are the weighted means, summed in float64.

    Raises `UsageError` for shares whose sum is not 1 and networks of other configurations.
    """
    if len(shares) != len(checkpoints) or not math.isclose(sum(shares), 1):
        raise UsageError(
            f"the shares of {len(checkpoints)} checkpoints add up to {sum(shares):g}, not to 1"
        )
    first = checkpoints[0]
    for checkpoint in checkpoints:
        if checkpoint.card.config != first.card.config:
            raise UsageError(
                f"checkpoint {checkpoint.card.sha256[:8]} has another configuration than "
                f"{first.card.sha256[:8]}: only networks of one configuration have a mean"
            )
    weights = torch.tensor(shares, dtype=torch.float64)
    parts = [dict(checkpoint.network.named_parameters()) for checkpoint in checkpoints]
    with torch.no_grad():
        for name, parameter in first.network.named_parameters():
            values = torch.stack([part[name].double() for part in parts])
            parameter.copy_(torch.tensordot(weights, values, dims=1))
    return first.network


def mean_card(cards: Sequence[Card], shares: Sequence[float], measured: dict[str, float]) -> Card:
    """Return the card of the mean of a checkpoint, the first, and others that began with it."""
    first, *others = cards
    named = [(card.sha256[:8], share) for card, share in zip(cards, shares, strict=True)]
    parts = ", ".join(f"{name} ({share:g})" for name, share in named)
    trained = "; ".join(dict.fromkeys(card.training_data for card in others))
    precisions: Counter[str] = Counter()
    for card in others:
        precisions.update(card.precision_steps)
    arguments = " ".join(f"{name}={share:g}" for name, share in named)
    return Card(
        architecture=first.architecture,
        config=first.config,
        training_data=f"mean of checkpoints {parts}, each but the first trained on {trained}",
        steps=first.steps and first.steps + sum((card.steps or 0) - first.steps for card in others),
        crops=first.crops + sum(card.crops - first.crops for card in others),
        command=f"python -m tools.average_checkpoints {arguments}",
        commit=commit() or "unknown",
        measured=measured,
        precision_steps=precisions,
        caveat=first.caveat,
    )


def file_and_share(text: str) -> tuple[Path, float]:
    """Read FILE=SHARE."""
    path, _, share = text.rpartition("=")
    try:
        return Path(path), float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not of the form FILE=0.25") from None


def average(chosen: argparse.Namespace) -> str:
    """Write the mean of the chosen checkpoints; return a line that names it."""
    shares = [share for _, share in chosen.checkpoints]
    checkpoints = [load_checkpoint(path) for path, _ in chosen.checkpoints]
    network = mean_network(checkpoints, shares)
    paths = photograph_paths([chosen.data])
    pictures = validation_pictures(sorted(held_out(paths)))
    card = checkpoints[0].card
    levels = rate_levels(card.config)
    validation = validate(network, (1.0,) * levels, pictures, Realism.betas)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    made = make_checkpoint(
        chosen.out,
        network,
        mean_card(
            [checkpoint.card for checkpoint in checkpoints],
            shares,
            estimates(point._asdict() for point in validation.points),
        ),
        [pixels[-CROP_PX:, -CROP_PX:] for pixels in pictures],
        quantised=True,
    )
    return f"{chosen.out}: checkpoint {made.sha256[:8]}\n"


def main() -> None:
    """Average, validate, write tensors and card, print the identity."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoints", nargs="+", type=file_and_share, metavar="FILE=SHARE")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    try:
        sys.stdout.write(average(parser.parse_args()))
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
