"""Small networks of CompressAI's zoo with drawn weights, and their state dicts as files."""

from pathlib import Path

import torch

from baselines.compressai.codec import prepare_import
from benchmark.spec import CodecSpec, parse_codec

CHANNELS = {True: (8,), False: (8, 12)}  # by "is one of Cheng's": narrow, so that tests are quick
LATENT_DEVIATION = 3.0


def small_network(model: str, deviation: float = LATENT_DEVIATION) -> torch.nn.Module:
    with prepare_import():
        from compressai.registry import MODELS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = MODELS[model](*CHANNELS["cheng" in model]).eval()
        probe = network.g_a(torch.rand(1, 3, 64, 64)).detach()
    last = [layer for layer in network.g_a if isinstance(layer, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight.mul_(deviation / probe.std())
        last.bias.mul_(deviation / probe.std())
    network.update(force=True)
    return network


def save(network: torch.nn.Module, path: str | Path) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


def write_hyperprior(folder: Path) -> CodecSpec:
    path = save(small_network("bmshj2018-hyperprior"), folder / "small.pth")
    return parse_codec(f"hyperprior:checkpoint={path}")
