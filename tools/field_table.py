"""Print the table "one trainer, one budget" from the bundled checkpoints and their rows on Kodak.

python -m tools.field_table
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import benchmark
from baselines.neural.checkpoint.card import Card, load_card
from baselines.neural.cost import Cost, costs
from benchmark.compare.curves import Delta, bd_rate
from benchmark.compare.published.curves import published_curves
from benchmark.compare.published.registry import read_points
from benchmark.metrics.measure import Measure
from benchmark.rows.systems import label_of
from tools.all_crops import HYPERPRIOR, all_crops_bd_rates
from tools.results_table import KODAK, bd_rates

ROOT = Path(__file__).parents[1]
CHECKPOINTS = ROOT / "baselines" / "checkpoints"
METRICS = ("psnr", "lpips_squeeze", "fd_squeeze")
HEADS = (
    "networks x parameters (M)", "kMAC per pixel: encoder + decoder + entropy", "crops seen",
    "training: 10^15 multiply-accumulates, optimiser, steps of a network",
    "BD-rate, PSNR (%)", "the same, all crops for each network (%)", "as published (%)",
    "BD-rate, LPIPS (%)", "BD-rate, FD (%)",
    "encode + decode (s)",
)  # fmt: skip
HEAD = "Kodak, 24 images"
# Rows and columns of the README.
SHORT = (
    *("hyperprior (Ballé 2018)", "Charm (Minnen 2020)", "ELIC (He 2022)", "IVR (Sun 2021)"),
    *("**`ours:size=micro`, beta 0** ‡", "Multi-Realism, beta 2.56"),
    *("HFD (Hoogeboom 2023), 20 steps", "**`ours:size=micro`, beta 3.84** ‡"),
)
COLUMNS = (0, 5, 6, 7, 8)
# System and variant of published curves of PSNR, the anchor's first.
PUBLISHED = {
    HYPERPRIOR: ("Hyperprior", "CompressAI mse"), "charm": ("Charm", ""), "elic": ("ELIC", "mse"),
    "ivr": ("IVR", "without U-Net"), "ours:beta=0:size=micro": ("CRDR", "beta=0"),
    "ours:beta=3.84:size=micro": ("CRDR", "beta=3.84"),
}  # fmt: skip
# Parts of networks; the others are the entropy path.
ENCODER, DECODER = ("analysis", "codec.g_a"), ("synthesis", "codec.g_s")
ELIC = "elic-*.safetensors"


class Contender(NamedTuple):
    """A method of the table: its label in the rows, its name, and a checkpoint of each network.

    A receiver that draws behind these networks has one of its own, which runs once for each step.
    """

    label: str
    name: str
    checkpoints: str  # glob
    receiver: str = ""  # file
    steps: int = 0


FIELD = (
    Contender(HYPERPRIOR, "hyperprior (Ballé 2018)", "hyperprior-[1-4].safetensors"),
    Contender("charm", "Charm (Minnen 2020)", "charm-*.safetensors"),
    Contender("elic", "ELIC (He 2022)", ELIC),
    Contender("ivr", "IVR (Sun 2021)", "ivr.safetensors"),
    Contender(
        "ours:beta=0:size=micro", "**`ours:size=micro`, beta 0** ‡", "ours-micro.safetensors"
    ),
    Contender("hific", "HiFiC (Mentzer 2020)", "hific-*.safetensors"),
    Contender("multirealism:beta=0", "Multi-Realism, beta 0", "multirealism-*.safetensors"),
    Contender("multirealism:beta=2.56", "Multi-Realism, beta 2.56", "multirealism-*.safetensors"),
    Contender("dirac:steps=1", "DIRAC (Ghouse 2023), 1 step", ELIC, "dirac-elic.safetensors", 1),
    Contender("dirac:steps=100", "DIRAC, 100 steps", ELIC, "dirac-elic.safetensors", 100),
    Contender("hfd", "HFD (Hoogeboom 2023), 20 steps", ELIC, "hfd-elic.safetensors", 20),
    Contender("pqmim", "PQ-MIM (El-Nouby 2023)", "pqmim-[1-4].safetensors"),
    Contender("pqmim:perceptual=1", "PQ-MIM, perceptual", "pqmim-perceptual-*.safetensors"),
    Contender(
        "ours:beta=3.84:size=micro", "**`ours:size=micro`, beta 3.84** ‡", "ours-micro.safetensors"
    ),
    Contender("ours:beta=0", "larger, and not of this budget: `ours`, beta 0", "ours.safetensors"),
)


def lines(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table: size, work and training of each method, BD-rates and seconds.

    kodak: folder of results with the bundled rows alone. A method without rows or checkpoints is
    left out.
    """
    rows = benchmark.load(kodak)
    labels = pd.Series(map(label_of, rows["codec"], rows["variant"]), rows.index)
    psnr, *others = [bd_rates(rows, HYPERPRIOR, metric) for metric in METRICS]
    all_crops, published = all_crops_bd_rates(rows, labels), _published()
    yield f"| {HEAD} | {' | '.join(HEADS)} |"
    yield f"|---|{'--:|' * len(HEADS)}"
    for contender in FIELD:
        cards, receiver = cards_of(contender)
        mine = rows[labels == contender.label]
        if cards and len(mine) and len(receiver) == bool(contender.receiver):
            cells = [
                *_training(cards, receiver, contender.steps),
                psnr[contender.label],
                all_crops.get(contender.label, "–"),
                published.get(contender.label, "–"),
                *(delta[contender.label] for delta in others),
                _seconds(mine),
            ]
            yield f"| {contender.name} | {' | '.join(cells)} |"


def _published() -> dict[str, str]:
    """Return the BD-rates of published curves on Kodak, against the published hyperprior."""
    measure = Measure.named("psnr")
    points = read_points(KODAK.parent)
    curves = {
        curve.system.published[0]: curve.rates(measure)
        for curve in published_curves(points, "kodak", measure)
    }
    anchor, *_ = PUBLISHED.values()
    deltas = {
        label: bd_rate(curves[anchor], curves[name])
        for label, name in PUBLISHED.items()
        if name != anchor
    }
    return {
        HYPERPRIOR: "0",
        **{k: f"{delta.value:+.1f}" for k, delta in deltas.items() if isinstance(delta, Delta)},
    }


def short_lines(whole: Iterable[str]) -> Iterator[str]:
    """Yield the README's part of the lines: BD-rates of those in `SHORT`."""
    for line in whole:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in (HEAD, "---", *SHORT):
            yield f"| {' | '.join(cells[place] for place in COLUMNS)} |"


def cards_of(contender: Contender) -> tuple[list[Card], list[Card]]:
    """Return the cards of a method's networks, and that of a receiver that draws, if there is."""
    networks = [load_card(path) for path in sorted(CHECKPOINTS.glob(contender.checkpoints))]
    return networks, [load_card(CHECKPOINTS / contender.receiver)] if contender.receiver else []


def _training(cards: Sequence[Card], receiver: Sequence[Card], drawings: int) -> list[str]:
    """Return parameters, multiply-accumulates of the three parts, crops seen, and the effort.

    drawings: steps of a receiver that draws.
    """
    works = [costs(card.architecture, card.config) for card in cards]
    encoder, decoder = (
        _range([_macs(work, names) for work in works]) for names in (ENCODER, DECODER)
    )
    others = [[name for name in work if name not in ENCODER + DECODER] for work in works]
    entropy = _range(list(map(_macs, works, others)))
    (crops,) = {_crops(card) for card in cards}
    size = f"{len(cards)} x {_range(list(map(_millions, works)), 2)}"
    seen = _times(len(cards), f"{crops:,}")
    for card in receiver:
        parts = costs(card.architecture, card.config)
        size, seen = f"{size} + {_millions(parts):.2f}", f"{seen} + {card.crops:,}"
        decoder = f"({decoder} + {_times(drawings, _range([_macs(parts, parts)]))})"
    work, optimiser, steps = effort([*cards, *receiver])
    words = f"{'–' if work is None else f'{work:.2f}'}, {optimiser}, {steps}"
    return [size, f"{encoder} + {decoder} + {entropy}", seen, words]


def _macs(parts: Mapping[str, Cost], names: Iterable[str]) -> float:
    """Return thousands of multiply-accumulates per pixel, of the named parts that there are."""
    return sum(parts[name].macs_per_pixel for name in names if name in parts) / 1e3


def _range(values: Sequence[float], digits: int = 1) -> str:
    """Return the least and the largest value, one where they read alike."""
    ends = dict.fromkeys(f"{value:.{digits}f}" for value in (min(values), max(values)))
    return " to ".join(ends)


def _times(count: int, text: str) -> str:
    return f"{count} x {text}" if count > 1 else text


def _millions(parts: Mapping[str, Cost]) -> float:
    return sum(part.parameters for part in parts.values()) / 1e6


def _crops(card: Card) -> int:
    """Return the crops; an early card has them in words alone: "716800 crops of 128 px"."""
    return card.crops or sum(count for count, _ in _crops_in_words(card))


def _crops_in_words(card: Card) -> list[tuple[int, int]]:
    """Return the crops that a card has in words, with their sides."""
    matches = re.findall(r"(\d+) crops of (\d+) px", card.training_data)
    return [(int(count), int(side)) for count, side in matches]


def effort(cards: Sequence[Card]) -> tuple[float | None, str, str]:
    """Return the 10^15 multiply-accumulates of all steps and both ways, optimiser, and steps.

    Discriminators and LPIPS are not counted; nor is anything where parts of a network see crops of
    several sides.
    """
    sides = {side for card in cards for _, side in _crops_in_words(card)}
    optimisers = ", ".join(dict.fromkeys(card.optimiser for card in cards))
    steps = " + ".join(f"{count:,}" for count in sorted({card.steps or 0 for card in cards}))
    if len(sides) > 1:
        return None, optimisers, steps
    macs = sum(
        _crops(card) * 1e3 * _macs(parts, parts)
        for card in cards
        for parts in [costs(card.architecture, card.config)]
    )
    return round(3 * macs * sides.pop() ** 2 / 1e15, 2), optimisers, steps


def _seconds(rows: pd.DataFrame) -> str:
    """Return the mean seconds to encode and decode an image, of rows measured one at a time."""
    encode, decode = rows.loc[rows["timing"], ["encode_seconds", "decode_seconds"]].mean()
    return "–" if math.isnan(encode + decode) else f"{encode:.2f} + {decode:.2f}"


if __name__ == "__main__":
    print("\n".join(lines(KODAK)))
