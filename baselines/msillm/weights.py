"""Weight files of MS-ILLM, and networks of the package neuralcompression made from them.

The package is installed alone (`INSTALL`): coding needs none of its requirements, of which several
cannot be met beside this project's.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from baselines.compressai.weights import NetworkSource, importable, present, read_weights
from benchmark.errors import Reason, Unavailable
from benchmark.system.digest import file_sha256, require_recorded
from benchmark.system.weights import PublishedFile

RELEASE = "0.3.1"
INSTALL = f"pip install --no-deps neuralcompression=={RELEASE}"
ADDRESS = "https://dl.fbaipublicfiles.com/NeuralCompression/2023-muckley-msillm"
# Rates that qualities 1 to 6 were trained for, in bits per pixel, as file names have them.
TARGETS = {1: "0.035", 2: "0.07", 3: "0.14", 4: "0.3", 5: "0.45", 6: "0.9"}
STEMS = {"published": "msillm", "no-gan": "noganms"}  # first part of file names, by `weights`
WEIGHTS = (*STEMS, "random")  # what the option may be
RANDOM_SEED = 0
COUNTER = "neuralcompression.functional._count_flops"  # the one module that imports fvcore
KEPT_NETWORKS = len(TARGETS)  # 0.7 GB each: all qualities of a run, since each image asks for all


def require_package() -> None:
    """Raise `Unavailable` unless the known release of neuralcompression is installed."""
    if find_spec("neuralcompression") is None:
        raise Unavailable(
            f"msillm needs the Python package neuralcompression: run `{INSTALL}`",
            Reason("package", "neuralcompression", INSTALL),
        )
    if (result := version("neuralcompression")) != RELEASE:
        raise Unavailable(
            f"msillm is defined by neuralcompression {RELEASE}, here is {result}: run `{INSTALL}`"
        )


def published_files(weights: str) -> list[PublishedFile]:
    """Return the published files of `weights`, a key of `STEMS`, by rising quality.

    The authors publish no digests of them, and neither file names nor torch.hub entries have any:
    `bench fetch` records the sha256 of what it got.
    """
    names = [_file_name(weights, quality) for quality in TARGETS]
    return [PublishedFile(f"{ADDRESS}/{name}", name, sha256="") for name in names]


def find_sources(weights: str, device: str) -> dict[int, NetworkSource]:
    """Return the origins of networks by quality, lowest first; `weights` is one of `WEIGHTS`.

    Raises `Unavailable` where no file is here, or a file is not that of its recorded sha256.
    """
    if weights == "random":
        return {q: NetworkSource("msillm", q, "random", None, "", device) for q in TARGETS}
    command = "bench fetch msillm" + ("" if weights == "published" else f":weights={weights}")
    names = {quality: _file_name(weights, quality) for quality in TARGETS}
    result: dict[int, NetworkSource] = {}
    for quality, path in present(names, command).items():
        require_recorded(path, f"delete both and run `{command}`")
        digest = file_sha256(path)
        result[quality] = NetworkSource("msillm", quality, weights, path, digest, device)
    return result


@lru_cache(KEPT_NETWORKS)
def network(source: NetworkSource) -> Any:
    """Return a `HiFiCAutoencoder` ready to code, kept for the process; its weights are only read.

    On a GPU, encoder and generator are there, and all that decides the entropy coder's tables stays
    on the CPU, as the package's own evaluation has it.
    """
    import torch

    with _importable():
        from neuralcompression.models import HiFiCAutoencoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED + source.quality)
        made = HiFiCAutoencoder()
    if source.path is not None:
        state = read_weights(source.path)
        try:
            made.load_state_dict(state)
        except (RuntimeError, KeyError, AttributeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise Unavailable(f"{source.path} holds no MS-ILLM: {reason}") from error
    made.eval().requires_grad_(False)
    made.to(source.device)
    made.update_tensor_devices("compress")  # makes the tables, unless the file has them
    return made


def _file_name(weights: str, quality: int) -> str:
    """Return the name under which a network is published.

    >>> _file_name("no-gan", 1)
    'noganms_target_0.035bpp.ckpt'
    """
    return f"{STEMS[weights]}_target_{TARGETS[quality]}bpp.ckpt"


@contextmanager
def _importable() -> Iterator[None]:
    """Prepare the import of neuralcompression where fvcore, which it counts with, is absent."""
    with importable():
        if find_spec("fvcore") is None and COUNTER not in sys.modules:
            stand_in = ModuleType(COUNTER)
            stand_in.count_flops = None  # type: ignore[attr-defined]
            sys.modules[COUNTER] = stand_in
        yield
