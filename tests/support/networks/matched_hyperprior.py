"""CompressAI's hyperprior as it is trained here, narrow and drawn: network, file, codec."""

from pathlib import Path

import torch

from baselines.compressai.codec import CompressAI
from baselines.compressai.network import ZooNetwork
from baselines.neural.architecture import ZooSizes
from baselines.neural.card import Card
from baselines.neural.checkpoint import make_checkpoint
from benchmark.codec import Setting

HYPERPRIOR = "bmshj2018-hyperprior"
WIDTHS = (8, 12)
QUALITY = Setting("quality", 1)
DEVIATION = 3.0  # of the latent
CARD = Card(
    "compressai", ZooSizes(HYPERPRIOR, WIDTHS, 0.01), "no photographs", steps=7, crops=56,
    command="bench train", commit="0" * 40, measured={"sample_bpp": 0.5},
)  # fmt: skip


def wrapped(model: str = HYPERPRIOR, seed: int = 1) -> ZooNetwork:
    """Seeded and narrow, with latents that spread and scales that fit them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ZooNetwork(ZooSizes(model, WIDTHS, 0.01))
        stock = network.codec
        with torch.no_grad():
            stock.g_a[6].weight.mul_(DEVIATION / stock.g_a(torch.rand(1, 3, 64, 64)).std())
            stock.g_a[6].bias.zero_()
            last = stock.h_s[4]
            last.weight.mul_(10)
            last.bias[: WIDTHS[1]] = DEVIATION
    return network


def as_images(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1


def save(folder: Path, name: str = "hyperprior-1", seed: int = 1, **options) -> ZooNetwork:
    network = wrapped(seed=seed)
    make_checkpoint(folder / f"{name}.safetensors", network, CARD, [], **options)
    return network


def matched() -> CompressAI:
    return CompressAI(model=HYPERPRIOR, weights="matched")
