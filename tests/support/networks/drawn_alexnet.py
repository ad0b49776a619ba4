"""AlexNet's weights, drawn, in place of the published ones that a test may not have."""

import hashlib
import math

import torch

from baselines.neural import perceptual

NUMBERS = (0, 3, 6, 8, 10)
NAMES = [f"features.{n}.{part}" for n in NUMBERS for part in ("weight", "bias")]
SHAPES = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))


def drawn_alexnet():
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for number, (outputs, inputs, kernel) in zip(NUMBERS, SHAPES, strict=True):
        shape = (outputs, inputs, kernel, kernel)
        spread = math.sqrt(2 / (inputs * kernel**2))
        tensors[f"features.{number}.weight"] = torch.randn(shape, generator=generator) * spread
        tensors[f"features.{number}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    return tensors


def use_alexnet(tensors, folder, monkeypatch):
    """Have `Perceptual` find and accept these weights, in a file of the folder."""
    torch.save(tensors, folder / "alexnet_features.pth")
    monkeypatch.setenv("BENCH_WEIGHTS", str(folder))
    content = b"".join(tensors[name].numpy().tobytes() for name in NAMES)
    alexnet = perceptual.ALEXNET._replace(sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(perceptual, "ALEXNET", alexnet)
