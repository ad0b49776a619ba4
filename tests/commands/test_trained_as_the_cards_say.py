"""What the pages say of the bundled checkpoints' training, from the cards of these."""

import re
from functools import cache
from pathlib import Path

import pytest

from baselines.neural.checkpoint.card import Card, load_card
from baselines.neural.cost import costs
from benchmark.analysis.systems import training
from tools.field_table import FIELD as TABLE
from tools.field_table import cards_of, effort

ROOT = Path(__file__).parents[2]
CARDS = {
    path.stem: load_card(path) for path in (ROOT / "baselines/checkpoints").glob("*.safetensors")
}
MICRO, MINI = CARDS["ours-micro"], CARDS["ours"]
FIELD = {  # the suite `field`, and the hyperpriors
    name: card
    for name, card in CARDS.items()
    if re.fullmatch(r"(hyperprior|charm|elic|hific|multirealism)-\d|ivr", name)
}
NUMBERS = ("none", "one", "two", "three", "four", "five")


def seen(card: Card) -> dict[int, int]:
    """Return the crops by their side in pixels, as the words of a card have them."""
    words = re.findall(r"(\d+) crops of (\d+) px", card.training_data)
    return {int(side): int(crops) for crops, side in words}


def photographs(card: Card) -> int:
    return int(card.training_data.split(" ")[0])


@cache
def cost(name: str) -> tuple[float, float]:
    """Return the millions of parameters, and thousand multiply-accumulates of a pixel."""
    parts = costs(CARDS[name].architecture, CARDS[name].config).values()
    return (
        sum(part.parameters for part in parts) / 1e6,
        sum(part.macs_per_pixel for part in parts) / 1e3,
    )


def work(name: str, crops: int = 0) -> float:
    """Return 10^15 multiply-accumulates of forwards and backwards, of all crops or so many."""
    [(side, own)] = seen(CARDS[name]).items()
    return 3e-12 * cost(name)[1] * side**2 * (crops or CARDS[name].crops or own)


def sentences() -> dict[str, list[str]]:
    """Return what pages have to say, by page."""
    [(side, crops)] = seen(MICRO).items()
    fifths = sum(seen(card)[side] for name, card in FIELD.items() if "hyperprior" not in name)
    all_photographs, others = photographs(MICRO), photographs(CARDS["ivr"])
    (micro, pixel), (mini, mini_pixel) = cost("ours-micro"), cost("ours")
    wide, narrow = CARDS["elic-4"].config.latent, CARDS["elic-1"].config.latent
    charms = 4 * work("charm-1", crops)
    [windows] = {seen(card)[256] for name, card in CARDS.items() if name.startswith("pqmim")}
    return {
        "README.md": [f"bundled checkpoint of {mini:.1f} million parameters"],
        "docs/field.md": [
            f"with {NUMBERS[round(work('ours') / work('ours-micro'))]} times its work in training",
            f"equal crops per network ({crops:,})",
            f"four Charm networks with all crops would take {charms:.2f}e15 multiply-accumulates; "
            f"`mini`, with {work('ours'):.2f}e15",
            f"Crops of {side} px: {crops:,} for a network of all rates, a fifth for each of one",
            f"Work: {pixel:.1f} kMAC per pixel within 5 %",
            f"than `elic-1` to `-3` ({wide} channels, not {narrow})",
            f"saw all {all_photographs:,} photographs, others {others:,}",
            f"saw {windows:,} crops of 256 px besides",
        ],
        "docs/training.md": [
            f"The suite sees {NUMBERS[fifths // crops]} times the crops of `ours`"
        ],
        "docs/experiments/ours.md": [
            f"{1e6 * micro:,.0f} parameters, {pixel:.1f} kMAC per pixel, "
            f"{all_photographs:,} photographs, crops of {side} px, "
            f"batches of {crops // MICRO.steps}.",
            f"{mini:.2f} M parameters, {mini_pixel:.1f} kMAC per pixel",
        ],
    }


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.label)
def test_a_codecs_class_says_of_work_and_training_what_the_cards_say(one):
    cards, receiver = cards_of(one)
    kmac, (petamacs, *declared) = training(one.label)
    assert [petamacs, *declared] == [*effort([*cards, *receiver])]
    works = [
        sum(part.macs_per_pixel for part in costs(card.architecture, card.config).values()) / 1e3
        for card in cards
    ]
    steps = [
        one.steps * part.macs_per_pixel / 1e3
        for card in receiver
        for part in costs(card.architecture, card.config).values()
    ]
    assert min(works) - 0.1 < kmac - sum(steps) < max(works) + 0.1


@pytest.mark.parametrize(
    "page", ["README.md", "docs/field.md", "docs/training.md", "docs/experiments/ours.md"]
)
def test_a_page_says_of_crops_work_and_photographs_what_the_cards_say(page):
    text = " ".join((ROOT / page).read_text().split())
    assert [wanted for wanted in sentences()[page] if wanted not in text] == []


def test_what_is_said_of_all_networks_of_the_field_is_so():
    """The sentences of docs/field.md under "What is equal" and "What is not"."""
    [(side, crops)] = seen(MICRO).items()
    assert {seen(card)[side] for card in FIELD.values()} == {crops, crops // 5}
    assert seen(FIELD["ivr"]) == {side: crops}
    pixel = cost("ours-micro")[1]
    for name in {repr(card.config): name for name, card in FIELD.items()}.values():
        assert abs(cost(name)[1] / pixel - 1) < 0.05, name
    assert {card.optimiser for card in [MICRO, *FIELD.values()]} == {"adam"}
    assert {card.seed for card in [MICRO, *FIELD.values()]} == {1}
    on_gpu = {"elic-4", "ivr"}
    assert {name for name, card in FIELD.items() if card.device != "cpu"} == on_gpu
    assert {"soap", "adam"} == {*MINI.optimiser.split(", ")}
    precisions = {name: [*card.precision_steps] for name, card in FIELD.items()}
    for name in on_gpu:
        assert precisions.pop(name) == ["tensorfloat32", "float32"]
    older = {f"hyperprior-{level}" for level in range(1, 5)}  # cards, without precision
    for name, said in precisions.items():
        assert said == ([] if name in older else ["bfloat16", "float32"]), name
    whole = {name for name, card in FIELD.items() if photographs(card) == photographs(MICRO)}
    assert whole == older
    assert not CARDS["elic-4"].config.attention
    assert CARDS["elic-1"].config.attention
