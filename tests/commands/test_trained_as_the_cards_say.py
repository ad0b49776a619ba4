"""What the pages say of the bundled checkpoints' training, from their cards and the recipes."""

import re
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest

from baselines.neural.architecture import load_architecture
from baselines.neural.card import Card, load_card
from baselines.neural.costs import costs
from baselines.neural.training.objective import MSE_WEIGHT
from baselines.neural.training.recipe import load_recipe
from benchmark.rows.systems import training
from tools.field_table import FIELD as TABLE
from tools.field_table import cards_of, effort

ROOT = Path(__file__).parents[2]
CARDS = {path.stem: load_card(path) for path in (ROOT / "baselines/checkpoints").glob("*.json")}
MICRO, MINI = CARDS["ours-micro"], CARDS["ours"]
FIELD = {  # the suite `field`, and the hyperpriors
    name: card
    for name, card in CARDS.items()
    if re.fullmatch(r"(hyperprior|charm|elic|hific|multirealism)-\d|ivr", name)
}
FIELD_METHODS = ("charm", "elic", "ivr", "hific", "multirealism")
SIZES = ("tiny", "micro", "small", "full")
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


def size(architecture: str, preset: str) -> str:
    """Return the parameters and the work per pixel of a preset, as the tables have them."""
    parts = costs(architecture, load_architecture(architecture).sizes[preset]).values()
    millions = sum(part.parameters for part in parts) / 1e6
    return f"{millions:.2f} M, {sum(part.macs_per_pixel for part in parts) / 1e3:,.1f}"


def sentences() -> dict[str, list[str]]:
    """Return what pages have to say, by page."""
    [(side, crops)] = seen(MICRO).items()
    fifths = sum(seen(card)[side] for name, card in FIELD.items() if "hyperprior" not in name)
    all_photographs, others = photographs(MICRO), photographs(CARDS["ivr"])
    (micro, pixel), (mini, mini_pixel) = cost("ours-micro"), cost("ours")
    wide, narrow = CARDS["elic-4"].config.latent, CARDS["elic-1"].config.latent
    larger = max(seen(MINI))
    assert MINI.crops == sum(seen(MINI).values())
    assert round(2 * seen(MINI)[larger] / MINI.crops) == 1, "half of them"
    published = load_recipe("paper").crops_before(3)
    entropy = [
        sum(costs(card.architecture, card.config)[part].macs_per_pixel for part in parts) / 1e3
        for card in (card for name, card in CARDS.items() if name.startswith("pqmim"))
        for parts in [costs(card.architecture, card.config).keys() - {"analysis", "synthesis"}]
    ]
    transformers = [each / pixel for each in (min(entropy), max(entropy))]
    [windows] = {seen(card)[256] for name, card in CARDS.items() if name.startswith("pqmim")}
    return {
        "README.md": [f"bundled checkpoint of {mini:.1f} million parameters"],
        "docs/experiments/field.md": [
            f"with {100 * crops / published:.1f} % of the crops of CRDR's own training",
            f"The loss, {MSE_WEIGHT:g} MSE of values in [0, 1]",
            "transformers cost {:.1f} to {:.1f} times other networks".format(*transformers),
            f"`mini`, which saw {NUMBERS[round(MINI.crops / crops)]} times its crops, half of them "
            f"of {larger} px",
            f"All crops for each network ({crops:,})",
            f"Crops of {side} px: {crops:,} for a network of all rates, a fifth for each of one",
            f"Work: {pixel:.1f} kMAC per pixel within 5 %",
            f"than `elic-1` to `-3` ({wide} channels, not {narrow})",
            f"saw all {all_photographs:,} photographs, others {others:,}",
            f"saw {windows:,} crops of 256 px besides",
            f"The suite sees {NUMBERS[fifths // crops]} times the crops of `ours`",
            f"`ours` has {size('crdr', 'small').replace(', ', ' and ')} as `small`",
            *(f"| {size(name, 'full')} | {size(name, 'small')} |" for name in FIELD_METHODS),
            *(f"`{name}` {size('dirac', name).removeprefix('0')}" for name in SIZES),
        ],
        "docs/experiments/ours.md": [
            f"{1e6 * micro:,.0f} parameters, {pixel:.1f} kMAC per pixel, "
            f"{all_photographs:,} photographs, crops of {side} px, "
            f"batches of {crops // MICRO.steps}.",
            f"{mini:.2f} M parameters, {mini_pixel:.1f} kMAC per pixel",
        ],
    }


@pytest.mark.parametrize("contender", TABLE, ids=lambda contender: contender.label)
def test_a_codecs_class_says_of_work_and_training_what_the_cards_say(contender):
    cards, receiver = cards_of(contender)
    kmac, trained = training(contender.label)
    declared = trained.petamacs, trained.optimiser, trained.steps
    assert declared == tuple(effort([*cards, *receiver]))
    works = [
        sum(part.macs_per_pixel for part in costs(card.architecture, card.config).values()) / 1e3
        for card in cards
    ]
    steps = [
        contender.steps * part.macs_per_pixel / 1e3
        for card in receiver
        for part in costs(card.architecture, card.config).values()
    ]
    assert min(works) - 0.1 < kmac - sum(steps) < max(works) + 0.1


FIELD_PAGE, OURS_PAGE = "docs/experiments/field.md", "docs/experiments/ours.md"


@pytest.mark.parametrize("page", ["README.md", FIELD_PAGE, OURS_PAGE])
def test_a_page_says_of_crops_work_and_photographs_what_the_cards_say(page):
    text = " ".join((ROOT / page).read_text().split())
    assert [wanted for wanted in sentences()[page] if wanted not in text] == []


def test_what_is_said_of_all_networks_of_the_field_is_so():
    """The sentences of docs/experiments/field.md under "What is equal" and "What is not"."""
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
        assert precisions.pop(name) == ["tf32", "float32"]
    older = {f"hyperprior-{level}" for level in range(1, 5)}  # cards, without precision
    for name, precision in precisions.items():
        assert precision == ([] if name in older else ["bfloat16", "float32"]), name
    whole = {name for name, card in FIELD.items() if photographs(card) == photographs(MICRO)}
    assert whole == older
    assert not CARDS["elic-4"].config.attention
    assert CARDS["elic-1"].config.attention


def test_what_is_said_of_receivers_recipes_and_empty_latents_is_so():
    dirac, hfd = (CARDS[f"{name}-elic"].config for name in ("dirac", "hfd"))
    own = {"domain": "residual", "noise_scale": 1.0, "sampler": "ddim"}
    assert {**asdict(hfd), **own} == asdict(dirac)
    assert size("dirac", "full") == size("hfd", "full")
    night = load_recipe("night")
    of_realism = sum(stage.crops for stage in night.stages if stage.objective == "realism")
    assert round(10 * of_realism / night.crops_before(len(night.stages))) == 1, "the last tenth"
    cpu = {name for name, card in CARDS.items() if card.device == "cpu"}
    on_gpu = {"dirac-elic", "elic-4", "ivr", "ours"}
    assert CARDS.keys() - cpu == on_gpu, "two CPU cores, and minutes on a GPU"
    published = {stage.crop_px for stage in load_recipe("paper").stages}
    assert published == {2 * side for side in seen(MICRO)}
