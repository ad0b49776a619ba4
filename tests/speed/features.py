"""Measure the milliseconds per patch of FID's features beside pytorch-fid's own forward pass.

    python tests/speed/features.py [--patches 50] [--batch 50] [--threads 1] [--repeat 3]

Both have the same drawn weights and the same patches, cut from one photograph. pytorch-fid takes
50 at a time unless told otherwise, we always PATCHES_PER_BATCH. Every round runs both after each
other, so that what else the machine does meets both; wall clock and the process's own time, median
of the rounds, and the ratios of the medians. The largest difference is relative to the largest
feature.
"""
# ruff: noqa: E402 - the pools have to be pinned before numpy and torch are imported

import argparse
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

for pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{pool}_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image

from benchmark.metrics import feature_spaces
from benchmark.metrics.feature_spaces import Inception256
from benchmark.system.imports import import_torchvision
from benchmark.system.machine import package_folder


class Took(NamedTuple):
    """Seconds of a call, and what it returned."""

    wall: float
    process: float
    result: Any


def drawn_state(module: Any, torchvision: Any) -> dict[str, torch.Tensor]:
    """Numbers of the shapes that pytorch-fid's network has."""
    load = torchvision.models.Inception3.load_state_dict
    module.load_state_dict_from_url = lambda *_, **__: {}
    torchvision.models.Inception3.load_state_dict = lambda *_: None
    state: dict[str, torch.Tensor] = module.fid_inception_v3().state_dict()
    torchvision.models.Inception3.load_state_dict = load
    for tensor in state.values():
        if tensor.dim() == 4:
            torch.nn.init.normal_(tensor, std=(2 / tensor[0].numel()) ** 0.5)
    module.load_state_dict_from_url = lambda *_, **__: state
    return state


def timed(call: Callable[[], Any]) -> Took:
    wall, process = perf_counter(), process_time()
    result = call()
    return Took(perf_counter() - wall, process_time() - process, result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=50)
    parser.add_argument("--batch", type=int, default=50, help="patches at a time for pytorch-fid")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torchvision = import_torchvision()
    from pytorch_fid import inception as module

    with Image.open(package_folder("skimage") / "data/coffee.png") as image:
        coffee = np.asarray(image.convert("RGB"))
    generator = np.random.default_rng(0)
    corners = generator.integers(0, (144, 344), (options.patches, 2))
    patches = [coffee[row : row + 256, column : column + 256] for row, column in corners]
    feature_spaces.cut_patches = lambda *_: patches  # the whole set, as if it were one image's
    theirs_in = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous().float() / 255

    state = drawn_state(module, torchvision)
    peer = module.InceptionV3().eval()
    with TemporaryDirectory() as folder:
        path = Path(folder) / feature_spaces.INCEPTION_FILE
        torch.save(state, path)
        feature_spaces.INCEPTION_SHA256 = hashlib.sha256(path.read_bytes()).hexdigest()
        os.environ["BENCH_WEIGHTS"] = folder
        space = Inception256()

    def theirs() -> Any:
        with torch.inference_mode():
            found = [peer(batch)[0].flatten(1) for batch in theirs_in.split(options.batch)]
            return torch.cat(found).numpy()

    rounds = [(timed(lambda: space.features(coffee)), timed(theirs)) for _ in range(options.repeat)]
    ours_out, theirs_out = (one.result for one in rounds[0])
    difference = np.abs(ours_out - theirs_out).max() / np.abs(theirs_out).max()
    print(f"{options.patches} patches, {options.threads} threads, median of {options.repeat}")
    print(
        f"                                    ours | pytorch-fid, {options.batch} at a time | ratio"
    )
    for clock in ("wall", "process"):
        ours, other = (median(getattr(one[side], clock) for one in rounds) for side in (0, 1))
        milliseconds = (f"{1e3 * one / options.patches:14.1f}" for one in (ours, other))
        print(f"ms a patch, {clock:14}", *milliseconds, f"{ours / other:14.2f}", sep=" | ")
    print(f"largest difference: {difference:.1e}")


if __name__ == "__main__":
    main()
