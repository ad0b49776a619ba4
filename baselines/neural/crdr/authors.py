"""Import checkpoints of CRDR's authors: give their tensors the names of this project.

The authors' files are {"comp_model": state dict} or a state dict; keys may begin with "module.".
Tensors of the prior are named as in CompressAI 1.2.4 (`_matrix0`) or 1.2.8 (`matrices.0`). All keys
must be known, and all parameters present: a partly read file would give a wrong network.
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

REPOSITORY = "github.com/iwa-shi/CRDR"
MAX_LISTED = 4  # maximum number of keys in an error message
OLD_SPELLING = re.compile(r"entropy_model_z\._(matrix|bias|factor)(\d)")
NEW_SPELLING = {"matrix": "matrices", "bias": "biases", "factor": "factors"}
# Keys of tables and bounds that CompressAI derives from parameters
DERIVED_NAMES = re.compile(
    r"entropy_model_[yz]\.(_offset|_quantized_cdf|_cdf_length|scale_table|scale_bound|target"
    r"|(likelihood_lower_bound|lower_bound_scale)\.bound)"
)
# Module names: ours -> those of the authors
AUTHOR_NAMES = {
    "analysis": "encoder",
    "synthesis": "decoder",
    "residual": "lrp",
    "gain": "weight",
    "trunk": "trunk_block",
    "gate": "attention_block",
}
CONVOLUTION_INDICES = {"reduce": 0, "mix": 1, "expand": 2}  # within a bottleneck


FULL_SIZES = ARCHITECTURES["crdr"].sizes["full"]


def read_author_weights(path: Path, sizes: CrdrSizes = FULL_SIZES) -> dict[str, Tensor]:
    """Return the complete float32 state dict of `CRDRNetwork(sizes)`; raises `Unavailable`."""
    tensors = _rename_parameters(path, read_state_dict(path, "comp_model", "state_dict"))
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in CRDRNetwork(sizes).state_dict().items()}
    keys = {name: key_of(name, sizes) for name in shapes}
    expected_keys = set(keys.values())
    _refuse_keys(path, "has unknown keys:", tensors.keys() - expected_keys)
    _refuse_keys(path, "lacks the keys", expected_keys - tensors.keys())
    misfits = {
        f"{key} {tuple(tensors[key].shape)}"
        for name, key in keys.items()
        if _drop_unit_dimensions(_match_transpose(name, tensors[key]).shape)
        != _drop_unit_dimensions(shapes[name])
        or not tensors[key].is_floating_point()
    }
    _refuse_keys(path, "has tensors with wrong shapes or types:", misfits)
    not_finite = {key for key in expected_keys if not bool(tensors[key].isfinite().all())}
    _refuse_keys(path, "has values that are not finite in", not_finite)
    return {
        name: _match_transpose(name, tensors[key])
        .reshape(shapes[name])
        .to(torch.float32)
        .contiguous()
        for name, key in keys.items()
    }


def import_checkpoint(
    source: Path,
    target: Path,
    images: Sequence[Pixels],
    *,
    steps: int,
    training_data: str,
    sizes: CrdrSizes = FULL_SIZES,
) -> Card:
    """Make a checkpoint from `crdr.pth.tar`, with tables from `images`; raises `Unavailable`."""
    with torch.device("meta"):
        network = CRDRNetwork(sizes)
    network.load_state_dict(read_author_weights(source, sizes), assign=True)
    command = f"bench checkpoint import {source.name} --steps {steps}"
    card = Card("crdr", sizes, training_data, steps, command, REPOSITORY)
    return make_checkpoint(target, network, card, images)


def _refuse_keys(path: Path, problem: str, keys: Set[str]) -> None:
    if keys:
        note = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
        raise Unavailable(f"{path} {problem} {', '.join(sorted(keys)[:MAX_LISTED])}{note}")


def _rename_parameters(path: Path, author_tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # keeps only parameters, without the prefix "module." and with CompressAI's newer names
    parameters: dict[str, Tensor] = {}
    repeated_names: set[str] = set()
    for key, tensor in author_tensors.items():
        name = OLD_SPELLING.sub(
            lambda match: f"entropy_model_z.{NEW_SPELLING[match[1]]}.{match[2]}",
            key.removeprefix("module."),
            count=1,
        )
        if not DERIVED_NAMES.fullmatch(name):
            if name in parameters:
                repeated_names.add(name)
            parameters[name] = tensor
    _refuse_keys(path, "has, under two names,", repeated_names)
    return parameters


def key_of(name: str, sizes: CrdrSizes) -> str:
    """Return the authors' key of the parameter `name` of `CRDRNetwork(sizes)`."""
    part, *steps, kind = name.split(".")
    author_part = AUTHOR_NAMES.get(part, part)
    match [part, *(int(step) if step.isdigit() else step for step in steps)]:
        case ["prior", *_]:
            path = ".".join(["entropy_model_z", *steps])
        case ["hyper_analysis", int(i)]:
            path = f"hyperencoder.conv{1 + i // 2}"
        case ["hyper_synthesis", stack, int(i)]:
            path = f"hyperdecoder.{'hd_mu' if stack == 'mean' else 'hd_std'}.conv{1 + i // 2}"
        case ["context", str(stack), i, j]:
            path = f"context_model.{AUTHOR_NAMES.get(stack, stack)}_slice_transforms.{i}.model.{j}"
        case [_, "attentions", i]:
            path, kind = f"{author_part}.interp_ca_list.{i}", AUTHOR_NAMES.get(kind, kind)
        case [_, "embedding", _, i]:
            path = f"{author_part}.mlp.{i}"
        case [_, "layers", int(i), *layer_steps]:
            path = ".".join(
                [author_part, list(_layer_names(part, sizes))[i], *_layer_path(layer_steps)]
            )
    return f"{path}.{kind}"


def _layer_path(steps: list[Any]) -> list[str]:
    match steps:
        case ["gate", _]:  # the 1 x 1 convolution after the attention's bottlenecks
            return ["conv"]
        case [str(branch), i, step]:
            return [AUTHOR_NAMES[branch], str(i), f"c{1 + CONVOLUTION_INDICES[step]}"]
        case [i, "project", j]:
            return [f"block{i}", f"proj_{1 + j}"]
        case [i, step]:
            return [f"block{i}", "conv", str(2 * CONVOLUTION_INDICES[step])]
    return []


def _layer_names(part: str, sizes: CrdrSizes) -> Iterator[str]:
    # yields the authors' attribute names of a transform's layers, from input to output
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


def is_transposed_by_authors(name: str) -> bool:
    """Return whether the parameter belongs to a transposed convolution in the authors' network."""
    return name.startswith("hyper_synthesis.") and name.endswith(".4.weight")


def _match_transpose(name: str, tensor: Tensor) -> Tensor:
    is_transposed = is_transposed_by_authors(name) and tensor.ndim == 4
    return tensor.transpose(0, 1).flip(2, 3) if is_transposed else tensor


def _drop_unit_dimensions(shape: torch.Size) -> list[int]:
    return [length for length in shape if length != 1]
