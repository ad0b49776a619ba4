"""Bundled networks: golden streams, hyper-latents that carry bits, declared work and training."""

from base64 import b64decode
from pathlib import Path

import msgspec
import pytest
import torch

from baselines.neural.card import card_path, load_card
from baselines.neural.costs import macs_per_pixel
from baselines.neural.network import make_images
from baselines.neural.network_codec import BUNDLED, load_picture_codec
from baselines.neural.training.photographs import read_photograph
from benchmark.datasets.kodak import open_sample
from benchmark.facts import facts_of
from benchmark.metrics.psnr import psnr
from benchmark.spec import parse_codec
from tools.field_table import FIELD, effort, load_cards
from tools.golden import Case, cases, open_crop

GOLDEN = msgspec.json.decode(Path(__file__).with_name("golden_streams.json").read_bytes())
ROUNDING_DB = 0.01  # sums in the synthesis have another order on another processor


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_a_golden_stream_decodes_to_its_picture(case: Case) -> None:
    golden = GOLDEN[case.name]
    decoded = case.codec.decode(b64decode(golden["stream"]))
    assert psnr(open_crop(), decoded) == pytest.approx(golden["psnr_db"], abs=ROUNDING_DB)


def test_every_bundled_network_has_a_golden_stream() -> None:
    files = [path for path in BUNDLED.glob("*.xz") if path.name != "ours-3aecb589.safetensors.xz"]
    networks = {name for name in GOLDEN if "exact=1" not in name and name != "ours:beta=0 q=1"}
    assert len(networks) == len(files)


WITHOUT_HYPER_LATENT = {"dirac", "hfd", "pqmim"}
EMPTY = {"multirealism-3", "multirealism-4"}
MIN_BPP = 1e-4  # a twentieth of the minimum of the other networks
NETWORKS = [
    path
    for path in sorted(BUNDLED.glob("*.safetensors.xz"))
    if load_card(path).architecture not in WITHOUT_HYPER_LATENT
]


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: card_path(path).stem)
def test_a_hyper_latent_carries_bits(path: Path) -> None:
    network = load_picture_codec(path, load_card(path).sha256, "cpu")._network  # loaded once
    crop = read_photograph(open_sample().images[0].path)[128:384, 128:384]
    controls = network.controls_at(torch.tensor([0.0]), torch.tensor([0.0]))
    with torch.no_grad():
        estimate = network(make_images(crop, torch.device("cpu")), controls, noisy=False)
    assert (float(estimate.z_bits) / 256**2 < MIN_BPP) == (card_path(path).stem in EMPTY)


@pytest.mark.parametrize("contender", FIELD, ids=lambda contender: contender.label)
def test_a_codecs_class_says_of_work_and_training_what_the_cards_say(contender):
    cards, receiver = load_cards(contender)
    facts = facts_of(parse_codec(contender.label))
    declared = facts.training.petamacs, facts.training.optimiser, facts.training.steps
    assert declared == tuple(effort([*cards, *receiver]))
    works, steps = (
        [macs_per_pixel(card.architecture, card.config) / 1e3 for card in some]
        for some in (cards, receiver)
    )
    assert min(works) - 0.1 < facts.kmac - contender.steps * sum(steps) < max(works) + 0.1
