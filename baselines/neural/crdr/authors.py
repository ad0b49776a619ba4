"""Import of a checkpoint of CRDR's authors: its tensors by the names used here.

Their files are {"comp_model": state dict} or the state dict alone, keys possibly prefixed with
"module.". The prior's tensors are spelt as in CompressAI 1.2.4 (`_matrix0`) or 1.2.8
(`matrices.0`). Every key must find a place and every parameter must be filled, since a file read in
part gives a network that runs and is wrong.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.neural.architecture import ARCHITECTURES, CrdrSizes
from baselines.neural.card import Card
from baselines.neural.checkpoint import make_checkpoint, read_state_dict
from baselines.neural.crdr.model import CRDRNetwork
from benchmark.codec import Pixels
from benchmark.errors import Unavailable

COMMIT = "github.com/iwa-shi/CRDR"
LISTED = 4  # keys named in an error
OLD_SPELLING = re.compile(r"entropy_model_z\._(matrix|bias|factor)(\d)")
NEW_SPELLING = {"matrix": "matrices", "bias": "biases", "factor": "factors"}
# Derived entries that CompressAI keeps beside the parameters: tables and bounds.
DERIVED = re.compile(
    r"entropy_model_[yz]\.(_offset|_quantized_cdf|_cdf_length|scale_table|scale_bound|target"
    r"|(likelihood_lower_bound|lower_bound_scale)\.bound)"
)
# Our names of modules -> the authors'.
THEIRS = {
    "analysis": "encoder",
    "synthesis": "decoder",
    "residual": "lrp",
    "gain": "weight",
    "trunk": "trunk_block",
    "gate": "attention_block",
}
PLACES = {"reduce": 0, "mix": 1, "expand": 2}  # of the convolutions of a bottleneck


FULL = ARCHITECTURES["crdr"].sizes["full"]


def import_authors(path: Path, sizes: CrdrSizes = FULL) -> dict[str, Tensor]:
    """Return the complete float32 state dict of `CRDRNetwork(sizes)`; raises `Unavailable`."""
    theirs = _canonical(path, read_state_dict(path, "comp_model", "state_dict"))
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in CRDRNetwork(sizes).state_dict().items()}
    keys = {name: key_of(name, sizes) for name in shapes}
    wanted = set(keys.values())
    _refuse(path, "has no place here for", theirs.keys() - wanted)
    _refuse(path, "lacks", wanted - theirs.keys())
    misfits = {
        f"{key} {tuple(theirs[key].shape)}"
        for name, key in keys.items()
        if _lengths(_turned(name, theirs[key]).shape) != _lengths(shapes[name])
        or not theirs[key].is_floating_point()
    }
    _refuse(path, "has tensors of other shapes than the network's:", misfits)
    infinite = {key for key in wanted if not bool(theirs[key].isfinite().all())}
    _refuse(path, "has values that are not finite in", infinite)
    return {
        name: _turned(name, theirs[key]).reshape(shapes[name]).to(torch.float32).contiguous()
        for name, key in keys.items()
    }


def import_checkpoint(
    source: Path,
    target: Path,
    images: Sequence[Pixels],
    *,
    steps: int,
    training_data: str,
    sizes: CrdrSizes = FULL,
) -> Card:
    """Make a checkpoint of `crdr.pth.tar`, its tables for `images`; raises `Unavailable`."""
    with torch.device("meta"):
        network = CRDRNetwork(sizes)
    network.load_state_dict(import_authors(source, sizes), assign=True)
    command = f"bench checkpoint import {source.name} --steps {steps}"
    card = Card("crdr", sizes, training_data, steps, command, COMMIT)
    return make_checkpoint(target, network, card, images)


def _refuse(path: Path, what: str, keys: Set[str]) -> None:
    if keys:
        more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
        raise Unavailable(f"{path} {what} {', '.join(sorted(keys)[:LISTED])}{more}")


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


def key_of(name: str, sizes: CrdrSizes) -> str:
    """Return the authors' key of the parameter `name` of `CRDRNetwork(sizes)`."""
    part, *steps, kind = name.split(".")
    side = THEIRS.get(part, part)
    match [part, *(int(step) if step.isdigit() else step for step in steps)]:
        case ["prior", *_]:
            place = ".".join(["entropy_model_z", *steps])
        case ["hyper_analysis", int(i)]:
            place = f"hyperencoder.conv{1 + i // 2}"
        case ["hyper_synthesis", stack, int(i)]:
            place = f"hyperdecoder.{'hd_mu' if stack == 'mean' else 'hd_std'}.conv{1 + i // 2}"
        case ["context", str(stack), i, j]:
            place = f"context_model.{THEIRS.get(stack, stack)}_slice_transforms.{i}.model.{j}"
        case [_, "attentions", i]:
            place, kind = f"{side}.interp_ca_list.{i}", THEIRS.get(kind, kind)
        case [_, "embedding", _, i]:
            place = f"{side}.mlp.{i}"
        case [_, "layers", int(i), *inside]:
            place = ".".join([side, list(_layer_names(part, sizes))[i], *_in_layer(inside)])
    return f"{place}.{kind}"


def _in_layer(steps: list[Any]) -> list[str]:
    match steps:
        case ["gate", _]:  # the 1 x 1 convolution after the attention's bottlenecks
            return ["conv"]
        case [str(branch), i, step]:
            return [THEIRS[branch], str(i), f"c{1 + PLACES[step]}"]
        case [i, "project", j]:
            return [f"block{i}", f"proj_{1 + j}"]
        case [i, step]:
            return [f"block{i}", "conv", str(2 * PLACES[step])]
    return []


def _layer_names(part: str, sizes: CrdrSizes) -> Iterator[str]:
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


def is_turned(name: str) -> bool:
    """Return whether the parameter `name` is of a transposed convolution of the authors."""
    return name.startswith("hyper_synthesis.") and name.endswith(".4.weight")


def _turned(name: str, tensor: Tensor) -> Tensor:
    """Return the kernel of a convolution where the authors have a transposed convolution."""
    turned = is_turned(name) and tensor.ndim == 4
    return tensor.transpose(0, 1).flip(2, 3) if turned else tensor


def _lengths(shape: torch.Size) -> list[int]:
    return [length for length in shape if length != 1]
