"""Compare Inception's features with pytorch-fid's: both at their best batch, on one thread.

    python tests/speed/inception.py [--patches 50] [--rounds 3]

Weights are random; processor time, medians of the rounds of each batch, the least of the batches.
Exit code 1 where the target is missed.
"""
# ruff: noqa: E402 - the pools have to be pinned before torch is imported

import os
from statistics import median
from unittest.mock import patch

for pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{pool}_NUM_THREADS"] = "1"

import torch
from harness import options, run, timed, verdict
from pytorch_fid import inception

from benchmark.metrics import feature_spaces
from benchmark.metrics.feature_spaces import Inception256

BATCHES = (4, 8, 16, 50)


def main() -> None:
    """Print milliseconds a patch of each batch, then whether the target is met."""
    chosen = options(__doc__, patches=50, rounds=3)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    drawn: dict[str, torch.Tensor] = {}

    def keep(network: torch.nn.Module, *_: object, **__: object) -> None:
        drawn.update(network.state_dict())

    with (
        patch.object(inception, "load_state_dict_from_url", lambda *_, **__: None),
        patch.object(torch.nn.Module, "load_state_dict", keep),
    ):
        peer = inception.InceptionV3().eval()
    with (
        patch.object(Inception256, "require", staticmethod(lambda: None)),
        patch.object(feature_spaces, "load_pinned", lambda *_: drawn),
    ):
        ours = Inception256()
    least = {}
    for name, network in {"ours": ours.vectors, "pytorch-fid": peer}.items():
        for batch in (size for size in BATCHES if size <= chosen.patches):
            patches = torch.rand(batch, 3, 256, 256)
            with torch.inference_mode():
                times = [timed(lambda p=patches, n=network: n(p)).cpu for _ in range(chosen.rounds)]
            took = 1000 * median(times) / batch
            print(f"{name:12} {batch:3} a batch: {took:7.1f} ms a patch")
            least[name] = min(took, least.get(name, took))
    verdict("Inception, ours / peer", least["ours"] / least["pytorch-fid"], 0.4)


if __name__ == "__main__":
    run(main)
