"""Conditions of measurements on a GPU (device, images, folders, weights), and their helpers."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch
from PIL import Image

from baselines.neural.architecture import load_architecture
from baselines.neural.card import Card
from baselines.neural.checkpoint import make_checkpoint
from baselines.neural.network import make_images
from benchmark.codec import Pixels
from benchmark.datasets.dataset import open_dataset
from benchmark.datasets.image import read_image
from benchmark.errors import Unavailable
from benchmark.metrics import feature_spaces
from benchmark.system.backbone import Backbone, channels_last
from tools.gpu.results import Result

ROOT = Path(__file__).parents[2]
# Name of a backbone -> torchvision's function that builds it.
MODELS = {"AlexNet": "alexnet", "SqueezeNet 1.1": "squeezenet1_1", "VGG-16": "vgg16"}
Cells = Iterator[tuple[str, Callable[[], Result]]]  # (name, measurement)


@dataclass(frozen=True)
class Conditions:
    """Folders, device and size of the measurements."""

    out: Path  # folder of results
    scratch: Path  # folder for all other files
    device: str
    small: bool  # if true, measurements are only tried out, on one crop and tiny networks

    @property
    def dataset(self) -> str:
        """Name of the dataset: Kodak if its images are present, else the bundled sample."""
        try:
            return "sample" if self.small else str(open_dataset("kodak").name)
        except Unavailable:
            return "sample"

    def images(self, count: int) -> list[Pixels]:
        """Return the pixels of the first `count` images; if small, of one crop."""
        paths = [image.path for image in islice(open_dataset(self.dataset).images, count)]
        if self.small:
            return [read_image(paths[0]).pixels[:256, :272].copy()]
        return [read_image(path).pixels for path in paths]

    def pictures(self, count: int) -> Path:
        """Make a folder of `count` pictures: 40 have 2 megapixels, other numbers 256 x 256."""
        height, width = (1224, 1632) if count == 40 and not self.small else (256, 256)
        folder = self.scratch / f"pictures-{count}"
        if folder.exists():
            return folder
        folder.mkdir()
        images = self.images(24)
        for number in range(2 if self.small else count):
            shifted_image = np.roll(images[number % len(images)], 37 * number, (0, 1))
            repeats = -(-height // shifted_image.shape[0]), -(-width // shifted_image.shape[1]), 1
            tiled_image = np.tile(shifted_image, repeats)
            picture = Image.fromarray(tiled_image[:height, :width])
            picture.save(folder / f"{number:03}.png", compress_level=1)
        return folder


@contextmanager
def seeded_weights() -> Iterator[None]:
    """Use random, seeded weights instead of files in metrics; their speed does not change."""

    def load_seeded(backbone: Backbone, _: Path, device: str, dtype: torch.dtype) -> dict[str, Any]:
        import torchvision

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            state = getattr(torchvision.models, MODELS[backbone.name])().state_dict()
        return {name: channels_last(state[name]).to(device, dtype) for name in backbone.tensor_keys}

    inception_patch: Any = {
        "find_fetched": lambda *_: Path(),
        "load_pinned": lambda *_: inception_state(),
    }
    with (
        patch.multiple(Backbone, find=lambda _: Path(), load=load_seeded),
        patch.multiple(feature_spaces, **inception_patch),
    ):
        yield


@cache
def inception_state() -> Any:
    """Return seeded weights of pytorch-fid's Inception whose layers keep a signal's scale."""
    import torchvision
    from pytorch_fid import inception

    with (
        torch.random.fork_rng(devices=[]),
        patch.object(torchvision.models.Inception3, "load_state_dict", lambda *_: None),
        patch.object(inception, "load_state_dict_from_url", lambda *_, **__: {}),
    ):
        torch.manual_seed(0)
        state = inception.fid_inception_v3().state_dict()
        for tensor in (tensor for tensor in state.values() if tensor.dim() == 4):
            torch.nn.init.normal_(tensor, std=(2 / tensor[0].numel()) ** 0.5)
    return state


def make_untrained_codec(conditions: Conditions, size: str) -> str:
    """Make an `ours` checkpoint that is only initialised on two crops; return its codec spec."""
    size = "tiny" if conditions.small else size
    path = conditions.scratch / f"{size}.safetensors"
    codec = f"ours:beta=0:checkpoint={path}"
    if path.exists():
        return codec
    architecture = load_architecture("crdr")
    config = architecture.sizes[size]
    torch.manual_seed(0)
    network: Any = architecture.build(config)
    crops = [pixels[:256, :256].copy() for pixels in conditions.images(2)]
    images = torch.cat([make_images(crop, torch.device("cpu")) for crop in crops])
    network.initialise(images, [0.05] * config.rate_levels)
    card = Card("crdr", config, "two crops", 0, "untrained", "0")
    make_checkpoint(path, network, card, crops)
    return codec


def calls_per_second(step: Callable[[], object], device: str, min_seconds: float) -> float:
    """Measure calls per second for at least `min_seconds`, after one call to warm up."""
    wait: Callable[[], Any] = torch.cuda.synchronize if device == "cuda" else lambda: None
    step()
    wait()
    started, calls = perf_counter(), 0
    while not calls or perf_counter() - started < min_seconds:
        step()
        calls += 1
        if calls % 10 == 0:
            wait()  # otherwise the queue could hold far more than `min_seconds` of work
    wait()
    return calls / (perf_counter() - started)


def run_module(*arguments: object, max_code: int = 0) -> str:
    """Run a Python module; return its stdout. Raises `RuntimeError` above exit code `max_code`."""
    command = [sys.executable, "-m", *map(str, arguments)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if process.returncode > max_code or process.returncode < 0 or not process.stdout:
        message = (process.stderr.strip() or process.stdout.strip()).rpartition("\n")[2]
        raise RuntimeError(
            message or f"{arguments[0]} printed nothing, exit code {process.returncode}"
        )
    return process.stdout


def measure_rows(folder: Path, *arguments: object) -> pl.DataFrame:
    """Run `bench run` with these arguments and results in `folder`; return its rows."""
    run_module("benchmark", "run", *arguments, "--results", folder)
    shards = folder.glob("*/per_image/*.parquet")
    return pl.concat([pl.read_parquet(shard) for shard in shards], how="diagonal")
