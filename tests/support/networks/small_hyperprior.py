"""A small hyperprior of CompressAI with drawn weights, as its codec finds it in a file."""

from pathlib import Path

import torch

from baselines.compressai.weights import importable
from benchmark.spec import CodecSpec, parse_codec

WIDTHS = (16, 24)


def write_small_hyperprior(folder: Path) -> CodecSpec:
    """Write the weights into `folder`; return the codec that has them."""
    with importable():
        from compressai.models import ScaleHyperprior
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = ScaleHyperprior(*WIDTHS)
    network.update(force=True)
    torch.save(network.state_dict(), folder / "small.pth")
    return parse_codec(f"hyperprior:checkpoint={folder / 'small.pth'}")
