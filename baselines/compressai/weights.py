"""Weight files of CompressAI's models on this disk, and networks made from them."""

import platform
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from baselines.neural.card import has_card, tensors_sha256, verified_card
from baselines.neural.network_codec import (
    find_checkpoint,
    of_one_training,
    released,
    those_here,
)
from benchmark.codec import require_options
from benchmark.errors import BadOption, Unavailable, UnknownName, UsageError
from benchmark.spec import file_list
from benchmark.system.digest import file_sha256
from benchmark.system.machine import package_folder
from benchmark.system.settings import PublishedFile, find_weights

if TYPE_CHECKING:
    from torch import nn

# Numbers of qualities; 1 is the lowest rate. Known here since importing CompressAI takes seconds.
QUALITIES = {
    "bmshj2018-factorized": 8,
    "bmshj2018-factorized-relu": 8,
    "bmshj2018-hyperprior": 8,
    "mbt2018-mean": 8,
    "mbt2018": 8,
    "cheng2020-anchor": 6,
    "cheng2020-attn": 6,
}
METRICS = ("mse", "ms-ssim")
AUTOREGRESSIVE = ("mbt2018", "cheng2020-anchor", "cheng2020-attn")
# Files are named MODEL-QUALITY-HASH or MODEL-ms-ssim-QUALITY-HASH, but for these.
FILE_STEMS = {
    ("bmshj2018-factorized", "mse"): "bmshj2018-factorized-prior",
    ("cheng2020-anchor", "ms-ssim"): "cheng2020_anchor-ms-ssim",
    ("cheng2020-attn", "mse"): "cheng2020_attn-mse",
    ("cheng2020-attn", "ms-ssim"): "cheng2020_attn-ms-ssim",
}
QUALITY_MARK = "{quality}"
CONTAINERS = ("network", "state_dict", "model_state_dict")  # in files of training scripts
# Networks trained by this project: their model, and the first part of their files' names.
MATCHED, STEM = "bmshj2018-hyperprior", "hyperprior"
WEIGHTS = ("published", "matched", "random")  # what the option may be
RANDOM_SEED = 0
KEPT_BYTES = 1 << 30  # of networks in a process: all of four sweeps of bmshj2018-hyperprior


class NetworkSource(NamedTuple):
    """Origin of a network; equal origins give equal networks."""

    model: str
    quality: int
    weights: str  # one of `WEIGHTS`, or "checkpoint"
    path: Path | None  # None for random weights
    sha256: str  # of the file
    device: str


def find_sources(
    model: str, metric: str, weights: str, checkpoint: str, device: str
) -> dict[int, NetworkSource]:
    """Return the origins of networks by quality, lowest first; options as in `CompressAI`.

    Raises `UnknownName` or `BadOption` for wrong options, `Unavailable` for missing files.
    """
    require_known(model, metric)
    require_options("compressai", weights=(weights, WEIGHTS))
    if checkpoint and weights != "published":
        raise BadOption(f"weights={weights} and checkpoint=FILE exclude each other")
    files: Mapping[int, Path | None]
    if weights == "random":
        files = dict.fromkeys(range(1, QUALITIES[model] + 1))
    elif checkpoint:
        if QUALITY_MARK in checkpoint:
            files = those_here(
                range(1, 100), lambda at: find_checkpoint(checkpoint.replace(QUALITY_MARK, str(at)))
            )
        else:
            files = dict(enumerate(map(find_checkpoint, file_list(checkpoint)), start=1))
        for path in filter(has_card, filter(None, files.values())):
            require_model(path, model)
    elif weights == "published":
        files = find_published(model, metric)
    else:
        files = find_matched(model, metric)
    kind = "checkpoint" if checkpoint else weights
    return {
        quality: NetworkSource(
            model, quality, kind, path, tensors_sha256(path) if path else "", device
        )
        for quality, path in files.items()
    }


def require_known(model: str, metric: str) -> None:
    """Raise `UnknownName` for a model or metric that CompressAI's zoo does not have."""
    for kind, name, known in (("model", model, QUALITIES), ("metric", metric, METRICS)):
        if name not in known:
            raise UnknownName(f"compressai {kind}", name, known)


def not_here() -> dict[str, str]:
    """Return why CompressAI cannot be installed on this machine, by its name; empty if it can."""
    system = sys.platform, platform.machine()
    if sys.version_info[:2] < (3, 13) and system == ("linux", "x86_64"):
        return {}
    return {"compressai": "its wheels are for Python 3.11 and 3.12 on Linux, x86-64"}


def published_files(options: Mapping[str, str]) -> list[PublishedFile]:
    """Return the weight files of the adapter's options `model` and `metric`, by quality.

    Of matched weights, those of the release, trained by this project.
    Raises `UsageError` for other options, `UnknownName` for an unknown model or metric, `BadOption`
    for a model without published weights.
    """
    model, metric = options.get("model", ""), options.get("metric", "mse")
    if options.get("weights") == "matched":
        return released(STEM)
    if not model or options.keys() - {"model", "metric"}:
        raise UsageError(
            f"{dict(options)} names no published weights: give a model, and a metric if it is not "
            "mse, as in compressai:model=bmshj2018-hyperprior:metric=mse"
        )
    require_known(model, metric)
    with importable():
        from compressai.zoo.image import model_urls
    urls = model_urls.get(model, {}).get(metric)
    if urls is None:
        raise BadOption(f"CompressAI publishes no weights for {model}, {metric}")
    return [
        PublishedFile(url, name := url.rpartition("/")[2], name.removesuffix(".pth.tar")[-8:])
        for _, url in sorted(urls.items())
    ]


def file_pattern(model: str, metric: str, quality: int) -> str:
    """Return a glob pattern of a published file's name, any digits for its hash.

    >>> file_pattern("mbt2018", "ms-ssim", 2)
    'mbt2018-ms-ssim-2-????????.pth.tar'
    """
    plain = model if metric == "mse" else f"{model}-{metric}"
    return f"{FILE_STEMS.get((model, metric), plain)}-{quality}-????????.pth.tar"


def find_published(model: str, metric: str) -> dict[int, Path]:
    """Return the published files that are present, by quality, checked by the hash in the name.

    Raises `Unavailable` where there is none, or a damaged file.
    """
    command = f"bench fetch compressai:model={model}:metric={metric}"
    qualities = range(1, QUALITIES[model] + 1)
    result = those_here(
        qualities,
        lambda at: find_weights([file_pattern(model, metric, at)], f"run `{command}`", command),
    )
    for path in result.values():
        expected, actual = path.name.removesuffix(".pth.tar")[-8:], file_sha256(path)
        if not actual.startswith(expected):
            raise Unavailable(
                f"{path} is damaged: its sha256 begins with {actual[:8]}; delete it and run "
                f"`{command}`"
            )
    return result


def find_matched(model: str, metric: str) -> dict[int, Path]:
    """Return the networks that this project trained, by quality, checked against their cards.

    Raises `BadOption` for models never trained here, `Unavailable` for missing or damaged files.
    """
    if (model, metric) != (MATCHED, "mse"):
        raise BadOption(f"matched weights are those of {MATCHED} for mse: {model} for {metric}")
    qualities = range(1, QUALITIES[model] + 1)
    try:
        files = of_one_training(qualities, lambda at: find_checkpoint(f"{STEM}-{at}.safetensors"))
    except Unavailable as why:
        raise Unavailable(f"{why}: train them with `bench train --suite matched`") from None
    for path in files.values():
        require_model(path, model)
    return files


def require_model(path: Path, model: str) -> None:
    """Raise `Unavailable` unless a checkpoint is of a model of CompressAI's by its card."""
    card = verified_card(path)
    model_of_card = getattr(card.config, "model", card.architecture)
    if model_of_card != model:
        raise Unavailable(f"{path} holds {model_of_card} by its card, not {model}")


_kept: OrderedDict[Hashable, "nn.Module"] = OrderedDict()


def network(source: NetworkSource) -> "nn.Module":
    """Return the network on its device."""
    return kept(source, lambda: _make(source))


def kept(source: Hashable, make: Callable[[], "nn.Module"]) -> "nn.Module":
    """Return a source's network, which is kept for the process within `KEPT_BYTES`.

    Encoder and decoder share it: its parameters are only read.
    """
    if source in _kept:
        _kept.move_to_end(source)
    else:
        _kept[source] = make()
        while len(_kept) > 1 and sum(map(_num_bytes, _kept.values())) > KEPT_BYTES:
            _kept.popitem(last=False)
    return _kept[source]


def _make(source: NetworkSource) -> "nn.Module":
    with importable():
        from compressai.registry import MODELS
        from compressai.zoo import load_state_dict  # which knows older names
        from compressai.zoo.image import cfgs
    import torch

    architecture = MODELS[source.model]
    published = source.weights == "published"
    made: Any
    if source.path is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            made = architecture(*cfgs[source.model][source.quality])
    elif has_card(source.path):
        from baselines.neural.checkpoint import load_checkpoint

        made = load_checkpoint(source.path).network.codec
    else:
        from baselines.neural.checkpoint import read_state_dict

        state = read_state_dict(source.path, *CONTAINERS)
        try:
            made = architecture.from_state_dict(load_state_dict(state))
        except (KeyError, RuntimeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise Unavailable(f"{source.path} holds no {source.model}: {reason}") from error
    # Published files and those with a card carry the tables that their streams are coded with;
    # those of another state dict may be older than its weights, so they are computed, as
    # CompressAI's own evaluation does it.
    made.update(force=source.path is None or not (published or has_card(source.path)))
    made.eval().requires_grad_(False)
    result: nn.Module = made.to(source.device)
    return result


def _num_bytes(made: "nn.Module") -> int:
    return sum(tensor.nbytes for tensor in (*made.parameters(), *made.buffers()))


@contextmanager
def importable() -> Iterator[None]:
    """Prepare the import of CompressAI, or raise `Unavailable` where it is not installed."""
    package_folder("compressai")
    with warnings.catch_warnings():
        # torch_geometric scripts its functions while it is imported, which torch 2.13 deprecates
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
        yield
