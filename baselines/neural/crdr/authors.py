"""Import of a checkpoint of CRDR's authors: its tensors by the names used here.

The authors' files come from their training code: {"comp_model": state dict}, or the state dict
alone, keys possibly prefixed with "module.". The factorised prior's tensors have two spellings,
that of CompressAI 1.2.4 (`_matrix0`), with which the authors trained, and that of 1.2.8
(`matrices.0`). Every key must find a place and every parameter must be filled, since a file read in
part gives a network that runs and is wrong.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines.neural.checkpoint.card import Card
from baselines.neural.checkpoint.checkpoint import make_checkpoint
from baselines.neural.crdr.architecture import FULL, Sizes
from baselines.neural.crdr.model import CRDRNetwork
from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.foreign_files import load_tensors

COMMIT = "github.com/iwa-shi/CRDR"
PUBLISHED_STEPS = 5_000_000
PUBLISHED_DATA = "Open Images V6, about 1.1 million"
LISTED = 4  # keys named in an error
CONTAINERS = ("comp_model", "state_dict")
OLD_SPELLING = re.compile(r"entropy_model_z\._(matrix|bias|factor)(\d)")
NEW_SPELLING = {"matrix": "matrices", "bias": "biases", "factor": "factors"}
# Derived entries that CompressAI keeps beside the parameters: tables and bounds.
DERIVED = re.compile(
    r"entropy_model_[yz]\.(_offset|_quantized_cdf|_cdf_length|scale_table|scale_bound|target"
    r"|(likelihood_lower_bound|lower_bound_scale)\.bound)"
)


class _AuthorsTensor(NamedTuple):
    """Tensor of the authors' file that holds a parameter."""

    key: str
    flipped: bool = False  # there a transposed convolution of stride 1, here a convolution


def import_authors(path: Path, sizes: Sizes = FULL) -> dict[str, Tensor]:
    """Return the complete float32 state dict of `CRDRNetwork(sizes)`.

    Raises `Unavailable` for a file that is no such checkpoint or lacks a part of it.
    """
    theirs = _canonical(path, _read(path))
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in CRDRNetwork(sizes).state_dict().items()}
    places = {name: _place(name, sizes) for name in shapes}
    wanted = {place.key for place in places.values()}
    _refuse(path, "has no place here for", theirs.keys() - wanted)
    _refuse(path, "lacks", wanted - theirs.keys())
    misfits = {
        f"{place.key} {tuple(theirs[place.key].shape)}"
        for name, place in places.items()
        if not _fits(theirs[place.key], shapes[name], place.flipped)
    }
    _refuse(path, "has tensors of other shapes than the network's:", misfits)
    _refuse(
        path,
        "has values that are not finite in",
        {key for key in wanted if not bool(theirs[key].isfinite().all())},
    )
    return {
        name: _fitted(theirs[place.key], shapes[name], place.flipped)
        for name, place in places.items()
    }


def import_checkpoint(
    source: Path,
    target: Path,
    images: Sequence[Pixels],
    *,
    sizes: Sizes = FULL,
    steps: int = PUBLISHED_STEPS,
    training_data: str = PUBLISHED_DATA,
    half: bool = False,
) -> Card:
    """Make a checkpoint of the authors' `crdr.pth.tar`; raises `Unavailable` for other files.

    `images` are photographs whose activations say how fine the integers of the entropy path can be.
    """
    with torch.device("meta"):
        network = CRDRNetwork(sizes)
    network.load_state_dict(import_authors(source, sizes), assign=True)
    command = f"bench checkpoint import {source.name} --steps {steps}"
    card = Card("crdr", sizes, training_data, steps, command, COMMIT)
    return make_checkpoint(target, network, card, images, half=half)


def _refuse(path: Path, what: str, keys: Set[str]) -> None:
    if keys:
        more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
        raise Unavailable(f"{path} {what} {', '.join(sorted(keys)[:LISTED])}{more}")


def _read(path: Path) -> Mapping[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch did not write
            loaded = load_tensors(path)
    except Unavailable:
        raise
    except FileNotFoundError:
        raise Unavailable(f"no checkpoint {path}") from None
    except Exception as error:  # an unpickler may raise anything
        raise Unavailable(
            f"{path} cannot be read as weights: it is damaged, or holds more than tensors"
        ) from error
    for container in CONTAINERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(container), dict):
            loaded = loaded[container]
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise Unavailable(f"{path} holds no state dict")
    if sum(value.nbytes for value in loaded.values()) > path.stat().st_size:
        raise Unavailable(f"{path} holds tensors larger than the file")  # one number, repeated
    return loaded


def _canonical(path: Path, loaded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters alone, without the prefix, in the newer spelling."""
    parameters: dict[str, Tensor] = {}
    twice: set[str] = set()
    for key, tensor in loaded.items():
        name = OLD_SPELLING.sub(
            lambda match: f"entropy_model_z.{NEW_SPELLING[match[1]]}.{match[2]}",
            key.removeprefix("module."),
            count=1,
        )
        if not DERIVED.fullmatch(name):
            if name in parameters:
                twice.add(name)
            parameters[name] = tensor
    _refuse(path, "holds, in two spellings, twice", twice)
    return parameters


def _place(name: str, sizes: Sizes) -> _AuthorsTensor:
    """Return the authors' tensor for the parameter `name` of `CRDRNetwork(sizes)`."""
    part, *steps, kind = name.split(".")
    if part in ("analysis", "synthesis"):
        return _AuthorsTensor(".".join(_in_transform(part, steps, kind, sizes)))
    if part == "hyper_analysis":
        return _AuthorsTensor(f"hyperencoder.conv{1 + int(steps[0]) // 2}.{kind}")
    if part == "hyper_synthesis":
        stack = {"mean": "hd_mu", "scale": "hd_std"}[steps[0]]
        last = steps[1] == "4"
        key = f"hyperdecoder.{stack}.conv{1 + int(steps[1]) // 2}.{kind}"
        return _AuthorsTensor(key, flipped=last and kind == "weight")
    if part == "prior":
        return _AuthorsTensor(".".join(["entropy_model_z", *steps, kind]))
    stack = {"residual": "lrp"}.get(steps[0], steps[0])
    return _AuthorsTensor(
        f"context_model.{stack}_slice_transforms.{steps[1]}.model.{steps[2]}.{kind}"
    )


def _layer_names(part: str, sizes: Sizes) -> Iterator[str]:
    """Yield the authors' attribute names of a transform's layers in the order of data flow."""
    if part == "synthesis" and sizes.attention:
        yield "attn1"
    for stage in range(1, 5):
        yield f"conv{stage}"
        blocks = [f"block{stage}"] if stage < 4 and sizes.blocks else []
        if part == "analysis":
            yield from blocks
            if sizes.attention and stage in (2, 4):
                yield f"attn{stage}"
        else:
            if sizes.attention and stage == 2:
                yield "attn2"
            yield from blocks


def _in_transform(part: str, steps: list[str], kind: str, sizes: Sizes) -> list[str]:
    theirs = {"analysis": "encoder", "synthesis": "decoder"}[part]
    if steps[0] == "attentions":
        return [theirs, "interp_ca_list", steps[1], {"gain": "weight"}.get(kind, kind)]
    if steps[0] == "embedding":
        return [theirs, "mlp", steps[2], kind]
    layer = list(_layer_names(part, sizes))[int(steps[1])]
    return [theirs, layer, *_in_layer(layer, steps[2:]), kind]


def _in_layer(layer: str, steps: list[str]) -> list[str]:
    order = ("reduce", "mix", "expand")
    if layer.startswith("conv"):
        return []
    if layer.startswith("block"):
        block = f"block{steps[0]}"
        if steps[1] == "project":
            return [block, f"proj_{1 + int(steps[2])}"]
        return [block, "conv", str(2 * order.index(steps[1]))]
    if len(steps) == 2:  # the 1 x 1 convolution after the attention's bottlenecks
        return ["conv"]
    branch = {"trunk": "trunk_block", "gate": "attention_block"}[steps[0]]
    return [branch, steps[1], f"c{1 + order.index(steps[2])}"]


def _fits(tensor: Tensor, shape: torch.Size, flipped: bool) -> bool:
    """Return whether the shapes agree except for axes of length 1."""
    axes = tuple(tensor.shape)
    if flipped:
        axes = (*axes[1::-1], *axes[2:])
    same = [length for length in axes if length != 1] == [length for length in shape if length != 1]
    return same and tensor.is_floating_point() and not (flipped and tensor.ndim != 4)


def _fitted(tensor: Tensor, shape: torch.Size, flipped: bool) -> Tensor:
    """Return the tensor in float32, a flipped one as the equivalent convolution's kernel."""
    kernel = tensor.transpose(0, 1).flip(2, 3) if flipped else tensor
    return kernel.reshape(shape).to(torch.float32).contiguous()
