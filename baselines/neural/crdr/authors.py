"""Import of a checkpoint of CRDR's authors: its sizes, and its tensors by the names used here.

The authors' files come from their training code: {"comp_model": state dict}, or the state dict
alone, keys possibly prefixed with "module.". The factorised prior's tensors have two spellings,
that of CompressAI 1.2.4 (`_matrix0`), with which the authors trained, and that of 1.2.8
(`matrices.0`). Every key must find a place and every parameter must be filled, since a file read in
part gives a network that runs and is wrong.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines.neural.checkpoint.card import Card
from baselines.neural.checkpoint.checkpoint import make_checkpoint
from baselines.neural.crdr.architecture import Sizes
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


def import_authors(path: Path) -> tuple[Sizes, dict[str, Tensor]]:
    """Return the sizes and the complete float32 state dict of `CRDRNetwork(sizes)`.

    Raises `Unavailable` for a file that is no such checkpoint or lacks a part of it.
    """
    theirs = _canonical(path, _read(path))
    try:
        sizes = _sizes(theirs)
    except (KeyError, ValueError, IndexError) as error:
        raise Unavailable(
            f"{path} is no CRDR checkpoint with rate control, realism control and "
            f"autoregressive context: {_said(error)}"
        ) from error
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in CRDRNetwork(sizes).state_dict().items()}
    places = {name: _place(name, sizes) for name in shapes}
    wanted = {place.key for place in places.values()}
    _refuse(path, "has no place here for", {key for key in theirs if key not in wanted})
    _refuse(path, "lacks", wanted - theirs.keys())
    misfits = {
        f"{place.key} {tuple(theirs[place.key].shape)}"
        for name, place in places.items()
        if not _fits(theirs[place.key], shapes[name], place.flipped)
    }
    _refuse(path, "has tensors that do not fit the others:", misfits)
    broken = {key for key in wanted if not bool(theirs[key].isfinite().all())}
    _refuse(path, "has values that are not finite in", broken)
    return sizes, {
        name: _fitted(theirs[place.key], shapes[name], place.flipped)
        for name, place in places.items()
    }


def import_checkpoint(
    source: Path,
    target: Path,
    images: Sequence[Pixels],
    *,
    steps: int = PUBLISHED_STEPS,
    training_data: str = PUBLISHED_DATA,
    half: bool = False,
) -> Card:
    """Make a checkpoint of the authors' `crdr.pth.tar`; raises `Unavailable` for other files.

    `images` are photographs whose activations say how fine the integers of the entropy path can be.
    """
    sizes, state = import_authors(source)
    with torch.device("meta"):
        network = CRDRNetwork(sizes)
    network.load_state_dict(state, assign=True)
    command = f"bench checkpoint import {source.name} --steps {steps}"
    card = Card("crdr", sizes, training_data, steps, command, COMMIT)
    return make_checkpoint(target, network, card, images, half=half)


def _refuse(path: Path, what: str, keys: set[str]) -> None:
    if keys:
        more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
        raise Unavailable(f"{path} {what} {', '.join(sorted(keys)[:LISTED])}{more}")


def _said(error: Exception) -> str:
    return f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)


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
    found: dict[str, Tensor] = {}
    twice: set[str] = set()
    for key, tensor in loaded.items():
        name = OLD_SPELLING.sub(_respelt, key.removeprefix("module."), count=1)
        if not DERIVED.fullmatch(name):
            if name in found:
                twice.add(name)
            found[name] = tensor
    _refuse(path, "holds, in two spellings, twice", twice)
    return found


def _respelt(match: re.Match[str]) -> str:
    return f"entropy_model_z.{NEW_SPELLING[match[1]]}.{match[2]}"


def _sizes(theirs: Mapping[str, Tensor]) -> Sizes:
    """Infer the sizes from shapes of tensors; raises `KeyError` or `ValueError` if it cannot."""

    def shape(key: str) -> Any:
        return theirs[f"{key}.weight"].shape

    def count(key: str) -> int:
        return next(i for i in range(len(theirs) + 1) if f"{key.format(i)}.weight" not in theirs)

    stacks = "context_model.{}_slice_transforms.{}.model.{}"
    slices = count(stacks.format("mean", "{}", 0))
    widths = tuple(shape(stacks.format("mean", i, 4))[0] for i in range(slices))
    support = shape("hyperdecoder.hd_mu.conv3")[1]
    known = {shape(stacks.format("mean", i, 0))[1] - support for i in range(slices)}
    informed = next((k for k in range(slices, -1, -1) if sum(widths[:k]) in known), 0)
    context = [shape(stacks.format("mean", 0, 2 * i)) for i in range(3)]
    return Sizes(
        encoder=tuple(shape(f"encoder.conv{i}")[0] for i in (1, 2, 3)),
        decoder=tuple(shape(f"decoder.conv{i}")[1] for i in (1, 2, 3)),
        latent=shape("encoder.conv4")[0],
        hyper_latent=shape("hyperencoder.conv3")[0],
        blocks=count("encoder.block1.block{}.conv.0"),
        attention="encoder.attn2.conv.weight" in theirs,
        outer_kernel=shape("encoder.conv1")[2],
        inner_kernel=shape("encoder.conv2")[2],
        hyper_encoder=(shape("hyperencoder.conv1")[0], shape("hyperencoder.conv2")[0]),
        hyper_decoder=(shape("hyperdecoder.hd_mu.conv1")[1], shape("hyperdecoder.hd_mu.conv2")[1]),
        hyper_kernel=shape("hyperencoder.conv2")[2],
        support=support,
        slices=widths,
        support_slices=informed,
        context=(context[0][0], context[1][0]),
        context_kernels=(context[0][2], context[1][2], context[2][2]),
        condition=shape("decoder.mlp.0")[0],
        rate_levels=shape("encoder.interp_ca_list.0")[0],
    )


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
    same = [length for length in axes if length != 1] == [one for one in shape if one != 1]
    return same and tensor.is_floating_point() and not (flipped and tensor.ndim != 4)


def _fitted(tensor: Tensor, shape: torch.Size, flipped: bool) -> Tensor:
    """Return the tensor in float32, a flipped one as the equivalent convolution's kernel."""
    kernel = tensor.transpose(0, 1).flip(2, 3) if flipped else tensor
    return kernel.reshape(shape).to(torch.float32).contiguous()
