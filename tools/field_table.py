"""Print the table "one trainer, one budget" from the bundled checkpoints and their rows on Kodak.

python -m tools.field_table
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import benchmark
from baselines.neural.card import Card, load_card
from baselines.neural.costs import Cost, costs
from benchmark.compare.rate_quality import bd_rate
from benchmark.compare.rule import USUAL_RULE
from benchmark.metrics.metric import Metric
from benchmark.published.curves import published_curves
from benchmark.published.registry import read_points
from tools.all_crops import HYPERPRIOR, all_crops_bd_rates
from tools.results_table import KODAK, bd_rates

ROOT = Path(__file__).parents[1]
CHECKPOINTS = ROOT / "baselines" / "checkpoints"
METRICS = ("psnr", "lpips_squeeze", "fd_squeeze")  # of the columns of BD-rates
HEADINGS = (
    "networks x parameters (M)", "kMAC per pixel", "crops seen",
    "training (10^15 MAC)", "PSNR (%)", "PSNR, all crops each (%)", "PSNR, published (%)",
    "LPIPS (%)", "FD (%)",
)  # fmt: skip
HEAD = "Kodak, 24 images"
LPIPS = "lpips_squeeze"
SAMPLERS = {  # codec -> name and number of steps, for lines of a table
    "elic": ("ELIC", ""),
    "dirac:steps=100": ("DIRAC, from .5", "100"),
    "hfd": ("HFD, from .3", "20"),
}
# Label -> system and variant of a published PSNR curve; the anchor is first.
PUBLISHED_VARIANTS = {
    HYPERPRIOR: ("Hyperprior", "CompressAI mse"), "charm": ("Charm", ""), "elic": ("ELIC", "mse"),
    "ivr": ("IVR", "without U-Net"), "ours:beta=0:size=micro": ("CRDR", "beta=0"),
    "ours:beta=3.84:size=micro": ("CRDR", "beta=3.84"),
}  # fmt: skip
ELIC = "elic-*.safetensors"


class Method(NamedTuple):
    """A method of the table, with the bundled checkpoints of its networks."""

    label: str  # in the rows
    name: str  # in the table
    checkpoints: str  # glob
    receiver: str = ""  # checkpoint of the network that a decoder also runs, as a sampler
    steps: int = 0  # how often it runs that network for each image


FIELD = (
    Method(HYPERPRIOR, "hyperprior (Ballé 2018)", "hyperprior-[1-4].safetensors"),
    Method("charm", "Charm (Minnen 2020)", "charm-*.safetensors"),
    Method("elic", "ELIC (He 2022)", ELIC),
    Method("ivr", "IVR (Sun 2021)", "ivr.safetensors"),
    Method("ours:beta=0:size=micro", "**`ours:size=micro`, beta 0** ‡", "ours-micro.safetensors"),
    Method("hific", "HiFiC (Mentzer 2020)", "hific-*.safetensors"),
    Method("multirealism:beta=0", "Multi-Realism, beta 0", "multirealism-*.safetensors"),
    Method("multirealism:beta=2.56", "Multi-Realism, beta 2.56", "multirealism-*.safetensors"),
    Method("dirac:steps=1", "DIRAC (Ghouse 2023), 1 step", ELIC, "dirac-elic.safetensors", 1),
    Method("dirac:steps=100", "DIRAC, 100 steps", ELIC, "dirac-elic.safetensors", 100),
    Method("hfd", "HFD (Hoogeboom 2023), 20 steps", ELIC, "hfd-elic.safetensors", 20),
    Method("pqmim", "PQ-MIM (El-Nouby 2023)", "pqmim-[1-4].safetensors"),
    Method("pqmim:perceptual=1", "PQ-MIM, perceptual", "pqmim-perceptual-*.safetensors"),
    Method(
        "ours:beta=3.84:size=micro", "**`ours:size=micro`, beta 3.84** ‡", "ours-micro.safetensors"
    ),
    Method("ours:beta=0", "larger, and not of this budget: `ours`, beta 0", "ours.safetensors"),
)


def lines(kodak: Path) -> Iterator[str]:
    """Yield the lines of the table: each method's networks, work, training and BD-rates."""
    # methods without rows or checkpoints are left out
    rows = benchmark.load(kodak, details=True)
    labels = rows["codec"]
    field_rows = rows[labels.isin([method.label for method in FIELD])]
    psnr, *other_deltas = [bd_rates(field_rows, HYPERPRIOR, metric) for metric in METRICS]
    all_crops, published_deltas = all_crops_bd_rates(rows, labels), _published_deltas()
    yield f"| {HEAD} | {' | '.join(HEADINGS)} |"
    yield f"|---|{'--:|' * len(HEADINGS)}"
    for method in FIELD:
        cards, receiver = load_cards(method)
        has_rows = method.label in set(labels)
        if cards and has_rows and len(receiver) == bool(method.receiver):
            cells = [
                *_training(cards, receiver, method.steps),
                psnr[method.label],
                all_crops.get(method.label, "–"),
                published_deltas.get(method.label, "–"),
                *(delta[method.label] for delta in other_deltas),
            ]
            yield f"| {method.name} | {' | '.join(cells)} |"


def sentences(kodak: Path) -> Iterator[str]:
    """Yield sentences about Multi-Realism and HiFiC, and table lines about DIRAC and HFD."""
    rows = benchmark.load(kodak, details=True)
    theirs, ours = "multirealism:beta=2.56", "ours:beta=3.84:size=micro"
    compared_rows = rows[rows["codec"].isin([theirs, ours])]
    psnr, lpips = (bd_rates(compared_rows, theirs, metric)[ours] for metric in METRICS[:2])
    yield f"has {_percent(psnr)} in PSNR and {_percent(lpips)} in LPIPS."
    means = benchmark.summary(rows).sort_values(["codec", "bpp"])
    points = {codec: means[means["codec"] == codec] for codec in ("hific", *SAMPLERS)}
    hific, elic = points["hific"], rows[rows["codec"] == "elic"]
    elic_rankings = [
        benchmark.rank(elic, f"bpp={rate:.17g}", metrics=LPIPS, budget="set")
        for rate in hific["bpp"]
    ]
    gains = [
        100 * (1 - value / ranking[LPIPS].iloc[0])
        for value, ranking in zip(hific[LPIPS], elic_rankings, strict=True)
    ]
    yield f"HiFiC has {_join(hific['bpp'], 3)} bpp and {_join(hific['psnr_db'], 2)} dB."
    yield f"Its LPIPS is lower than ELIC's at this rate by {_join(gains, 1)} % (mean curves)."
    for codec, (name, steps) in SAMPLERS.items():
        psnr, lpips = (_join(points[codec][c], n) for c, n in (("psnr_db", 2), (LPIPS, 3)))
        yield f"| {name} | {steps} | {psnr} | {lpips} |".replace("|  |", "| |")


def _percent(rate: str) -> str:
    return rate.replace(" [", " % [")


def _join(values: Iterable[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}".removeprefix("0") for value in values)


def _published_deltas() -> dict[str, str]:
    metric = Metric.named("psnr")
    points = read_points(KODAK.parent)
    curves = {
        curve.edition.facts.published[0]: curve.rates
        for curve in published_curves(points, "kodak", metric)
    }
    anchor, *_ = PUBLISHED_VARIANTS.values()
    deltas = {
        label: bd_rate(curves[anchor], curves[name], USUAL_RULE)
        for label, name in PUBLISHED_VARIANTS.items()
        if name != anchor
    }
    return {
        HYPERPRIOR: "0",
        **{k: f"{delta.value:+z.1f}" for k, delta in deltas.items() if delta.value is not None},
    }


def load_cards(method: Method) -> tuple[list[Card], list[Card]]:
    """Load the cards of a method's networks, and the card of its receiver, if it has one."""
    networks = [load_card(path) for path in sorted(CHECKPOINTS.glob(f"{method.checkpoints}.xz"))]
    return networks, [load_card(CHECKPOINTS / method.receiver)] if method.receiver else []


def _training(cards: Sequence[Card], receiver: Sequence[Card], steps: int) -> list[str]:
    # returns cells: networks x parameters, kMAC per pixel, crops, multiply-accumulates in 10^15
    works = [costs(card.architecture, card.config) for card in cards]
    kmac = _range([_macs(work) for work in works])
    (crops,) = {_crops(card) for card in cards}
    size = f"{len(cards)} x {_range(list(map(_millions, works)), 2)}"
    crops_text = _times(len(cards), f"{crops:,}")
    for card in receiver:
        parts = costs(card.architecture, card.config)
        size, crops_text = f"{size} + {_millions(parts):.2f}", f"{crops_text} + {card.crops:,}"
        kmac = f"{kmac} + {_times(steps, f'{_macs(parts):.1f}')}"
    work, *_ = effort([*cards, *receiver])
    work_text = "–" if work is None else f"{work:.2f}"
    return [size, kmac, crops_text, work_text]


def _macs(parts: Mapping[str, Cost]) -> float:
    # returns thousands of multiply-accumulates per pixel
    return sum(part.macs_per_pixel for part in parts.values()) / 1e3


def _range(values: Sequence[float], digits: int = 1) -> str:
    ends = dict.fromkeys(f"{value:.{digits}f}" for value in (min(values), max(values)))
    return " to ".join(ends)


def _times(count: int, text: str) -> str:
    return f"{count} x {text}" if count > 1 else text


def _millions(parts: Mapping[str, Cost]) -> float:
    return sum(part.parameters for part in parts.values()) / 1e6


def _crops(card: Card) -> int:
    # early cards state the number only in a text: "716800 crops of 128 px"
    return card.crops or sum(count for count, _ in _parse_crops(card))


def _parse_crops(card: Card) -> list[tuple[int, int]]:
    # returns (number of crops, their side in px) for each size of crops
    matches = re.findall(r"(\d+) crops of (\d+) px", card.training_data)
    return [(int(count), int(side)) for count, side in matches]


def effort(cards: Sequence[Card]) -> tuple[float | None, str, str]:
    """Return the multiply-accumulates of training in 10^15, the optimisers, and the steps."""
    # three forward passes per crop, without discriminators and LPIPS; None if crops differ in size
    sides = {side for card in cards for _, side in _parse_crops(card)}
    optimisers = ", ".join(dict.fromkeys(card.optimiser for card in cards))
    steps = " + ".join(f"{count:,}" for count in sorted({card.steps or 0 for card in cards}))
    if len(sides) > 1:
        return None, optimisers, steps
    macs = sum(_crops(card) * 1e3 * _macs(costs(card.architecture, card.config)) for card in cards)
    return round(3 * macs * sides.pop() ** 2 / 1e15, 2), optimisers, steps


if __name__ == "__main__":
    print("\n".join([*lines(KODAK), "", *sentences(KODAK)]))
