"""Frechet features per second: `inception256` beside pytorch-fid's own forward pass.

Both have the same drawn weights, since speed does not depend on them, and the same patches of
256 x 256 pixels, which begin as bytes in the processor's memory and end as features there.
pytorch-fid takes 50 at a time in float32, as its command does. Ours takes `PATCHES_PER_BATCH`, on a
GPU in float64, so that its features are the CPU's to 1e-5.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.metrics import feature_spaces
from benchmark.metrics.feature_spaces import Inception256, cut_patches
from benchmark.system.imports import import_torchvision
from tools.gpu.conditions import Conditions
from tools.gpu.part import Cell, Found, failures, measured, table

TITLE = "Frechet features per second"
CLAIM = "No target: patches of 256 px per second, and the largest difference of features."
SECONDS, SMALL_SECONDS = 10.0, 0.0
PEER_BATCH = 50
SIDE_PX, ROOM_PX = 256, 1024  # of a patch, and of the drawn image that they are cut from


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for our features and one for pytorch-fid's, on each device."""
    for device in conditions.devices:
        for name in ("ours", "pytorch-fid"):
            yield Cell(f"{name}/{device}", partial(timed, conditions, name, device))


def timed(conditions: Conditions, name: str, device: str) -> dict[str, Any]:
    """Compute the features of the same image again and again, for some seconds."""
    pixels = drawn_image(SIDE_PX if conditions.small else ROOM_PX)
    features = _features(conditions, name, device)
    found = features(pixels)  # warms up
    least = SMALL_SECONDS if conditions.small else SECONDS
    conditions.synchronise(device)
    started, rounds = perf_counter(), 0
    while not rounds or perf_counter() - started < least:
        features(pixels)
        rounds += 1
    conditions.synchronise(device)
    seconds = perf_counter() - started
    expected = _features(conditions, "pytorch-fid", "cpu")(pixels[:SIDE_PX, :SIDE_PX])
    difference = np.abs(found[: len(expected)] - expected).max() / np.abs(expected).max()
    return {"per_second": rounds * len(found) / seconds, "relative": float(difference)}


def drawn_image(side_px: int) -> NDArray[np.uint8]:
    """Return smooth noise, uint8 (side, side, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (side_px // 16, side_px // 16, 3), np.uint8)
    return coarse.repeat(16, 0).repeat(16, 1)


def _features(
    conditions: Conditions, name: str, device: str
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return a function from an image to the features of its patches, float32 (patches, 2048)."""
    folder = conditions.out / "weights" / "inception"
    state = _drawn_state(folder / feature_spaces.INCEPTION_FILE)
    if name == "ours":
        digest = hashlib.sha256((folder / feature_spaces.INCEPTION_FILE).read_bytes()).hexdigest()
        with (
            patch.dict(os.environ, {"BENCH_WEIGHTS": str(folder)}),
            patch.object(feature_spaces, "INCEPTION_SHA256", digest),
        ):
            return Inception256(device).features
    module = _peer_module()
    with patch.object(module, "load_state_dict_from_url", lambda *_, **__: state):
        network = module.InceptionV3().eval().to(device)

    def features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        patches = torch.from_numpy(np.stack(cut_patches(pixels, SIDE_PX))).permute(0, 3, 1, 2)
        with torch.inference_mode():
            batches = (one.float().div(255).to(device) for one in patches.split(PEER_BATCH))
            found = [network(one)[0].flatten(1).cpu() for one in batches]
        joined: NDArray[np.float32] = torch.cat(found).numpy()
        return joined

    return features


@cache
def _drawn_state(path: Path) -> dict[str, torch.Tensor]:
    """Return weights of the shapes of pytorch-fid's network, kept at `path`."""
    if not path.exists():
        module = _peer_module()
        torchvision = import_torchvision()
        without = patch.object(torchvision.models.Inception3, "load_state_dict", lambda *_: None)
        unloaded = patch.object(module, "load_state_dict_from_url", lambda *_, **__: {})
        torch.manual_seed(0)
        with without, unloaded:
            state = module.fid_inception_v3().state_dict()
        for tensor in state.values():
            if tensor.dim() == 4:
                torch.nn.init.normal_(tensor, std=(2 / tensor[0].numel()) ** 0.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return loaded


def _peer_module() -> Any:
    import_torchvision()
    from pytorch_fid import inception as module

    return module


def section(found: Found) -> list[str]:
    """Return a table with a row for each implementation and device."""
    lines = [
        (*key.split("/"), f"{row['per_second']:.0f}", f"{row['relative']:.1e}")
        for key, row in measured(found).items()
    ]
    header = ("features", "device", "patches per second", "difference from pytorch-fid on the CPU")
    return [*table(header, lines), *failures(found)]
