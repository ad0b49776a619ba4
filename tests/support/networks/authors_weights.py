"""Checkpoints in the format of CRDR's authors: their keys and shapes, synthetic values.

Written from the published network, not from the code under test; for the published sizes the keys
and the values are checked against those of the authors' code in ../shared/data/parity. The rule
that makes values out of key names is that of its README.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from baselines.neural.crdr.architecture import Sizes

Shape = tuple[int, ...]
PRIOR = "entropy_model_z"
PLAIN_TO_OLD = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}
DERIVED_SHAPES = {
    f"{PRIOR}._offset": (0,),
    f"{PRIOR}._quantized_cdf": (0,),
    f"{PRIOR}._cdf_length": (0,),
    f"{PRIOR}.target": (3,),
    f"{PRIOR}.likelihood_lower_bound.bound": (1,),
    "entropy_model_y._offset": (0,),
    "entropy_model_y._quantized_cdf": (0,),
    "entropy_model_y._cdf_length": (0,),
    "entropy_model_y.scale_table": (0,),
    "entropy_model_y.scale_bound": (1,),
    "entropy_model_y.likelihood_lower_bound.bound": (1,),
    "entropy_model_y.lower_bound_scale.bound": (1,),
}


def authors_shapes(sizes: Sizes) -> dict[str, Shape]:
    """Every key of the authors' state dict and its shape, parameters first."""
    return dict(_parameters(sizes)) | DERIVED_SHAPES


def authors_state(sizes: Sizes) -> dict[str, Tensor]:
    """That state dict with the values of the parity README; derived entries are zeros."""
    return {
        key: torch.zeros(shape) if key in DERIVED_SHAPES else torch.from_numpy(filled(key, shape))
        for key, shape in authors_shapes(sizes).items()
    }


def old_spelling(key: str) -> str:
    """The key as CompressAI 1.2.4 spells it."""
    first, _, rest = key.partition(".")
    kind, _, index = rest.partition(".")
    return f"{first}.{PLAIN_TO_OLD[kind]}{index}" if kind in PLAIN_TO_OLD else key


def filled(key: str, shape: Shape) -> np.ndarray:
    """The rule's float32 values."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    normal = np.random.default_rng(seed).standard_normal(shape)
    fan_in = math.prod(shape[1:])
    if key.startswith(f"{PRIOR}.matrices"):
        width = 1 if key.endswith(".4") else 3
        values = math.log(math.expm1(1 / (10**0.2 * width))) + 0.1 * normal
    elif key.startswith((f"{PRIOR}.biases", f"{PRIOR}.factors")):
        values = 0.1 * normal
    elif key == f"{PRIOR}.quantiles":
        values = np.array([-10.0, 0.0, 10.0]) + 0.3 * normal
    elif "interp_ca_list" in key and key.endswith("weight"):
        values = math.log(math.e - 1) + 0.25 * normal
    elif "scale_slice_transforms" in key and key.endswith("model.4.bias"):
        values = 2.5 + normal
    elif key == "decoder.conv4.weight":
        values = 0.02 * normal / math.sqrt(fan_in)
    elif key.endswith("bias") or len(shape) < 2:
        values = 0.01 * normal
    else:
        values = normal / math.sqrt(fan_in)
    return np.asarray(values, np.float32)


def listed_shapes(path: Path) -> dict[str, Shape]:
    """Read the keys and shapes of the authors' code from a tab-separated list."""
    lines = [line.split("\t") for line in path.read_text().splitlines() if line[:1] != "#"]
    return {
        key: tuple(int(axis) for axis in shape.strip("()").split(",") if axis)
        for key, shape, *_ in lines
    }


def _parameters(sizes: Sizes) -> Iterator[tuple[str, Shape]]:
    yield from _encoder(sizes)
    yield from _decoder(sizes)
    yield from _hyperprior(sizes)
    support, (first, second), kernels = sizes.support, sizes.context, sizes.context_kernels
    for i, width in enumerate(sizes.slices):
        known = support + sum(sizes.slices[: min(i, sizes.support_slices)])
        for stack, inputs in (("mean", known), ("scale", known), ("lrp", known + width)):
            name = f"context_model.{stack}_slice_transforms.{i}.model"
            yield from _conv(f"{name}.0", inputs, first, kernels[0])
            yield from _conv(f"{name}.2", first, second, kernels[1])
            yield from _conv(f"{name}.4", second, width, kernels[2])


def _encoder(sizes: Sizes) -> Iterator[tuple[str, Shape]]:
    one, two, three = sizes.encoder
    wide, near, far = sizes.latent, sizes.outer_kernel, sizes.inner_kernel
    yield from _conv("encoder.conv1", 3, one, near)
    yield from _conv("encoder.conv2", one, two, far)
    yield from _conv("encoder.conv3", two, three, far)
    yield from _conv("encoder.conv4", three, wide, far)
    for stage, channels in ((1, one), (2, two), (3, three)):
        for i in range(sizes.blocks):
            yield from _block(f"encoder.block{stage}.block{i}.conv.", (0, 2, 4), channels)
    if sizes.attention:
        yield from _attention("encoder.attn2", two)
        yield from _attention("encoder.attn4", wide)
    more = int(sizes.attention)  # layers
    outputs = (one, one, two, two, *(two,) * more, three, three, wide, *(wide,) * more)
    yield from _interpolation("encoder", outputs, sizes.rate_levels)


def _decoder(sizes: Sizes) -> Iterator[tuple[str, Shape]]:
    one, two, three = sizes.decoder
    wide, near, far = sizes.latent, sizes.outer_kernel, sizes.inner_kernel
    yield from _conv("decoder.conv1", wide, one, far, transposed=True)
    yield from _conv("decoder.conv2", one, two, far, transposed=True)
    yield from _conv("decoder.conv3", two, three, far, transposed=True)
    yield from _conv("decoder.conv4", three, 3, near, transposed=True)
    for stage, channels in ((1, one), (2, two), (3, three)):
        for i in range(sizes.blocks):
            name = f"decoder.block{stage}.block{i}"
            yield from _block(f"{name}.conv.", (0, 2, 4), channels)
            for j, width in enumerate((channels // 2, channels // 2, channels), start=1):
                yield from _conv(f"{name}.proj_{j}", sizes.condition, width, 1)
    if sizes.attention:
        yield from _attention("decoder.attn1", wide)
        yield from _attention("decoder.attn2", two)
    more = int(sizes.attention)
    inputs = (wide, *(wide,) * more, one, one, two, two, *(two,) * more, three, three)
    yield from _interpolation("decoder", inputs, sizes.rate_levels)
    yield "decoder.mlp.0.weight", (sizes.condition, 20)
    yield "decoder.mlp.0.bias", (sizes.condition,)
    yield "decoder.mlp.2.weight", (sizes.condition, sizes.condition)
    yield "decoder.mlp.2.bias", (sizes.condition,)


def _hyperprior(sizes: Sizes) -> Iterator[tuple[str, Shape]]:
    channels, kernel = sizes.hyper_latent, sizes.hyper_kernel
    first, second = sizes.hyper_encoder
    yield from _conv("hyperencoder.conv1", sizes.latent, first, 3)
    yield from _conv("hyperencoder.conv2", first, second, kernel)
    yield from _conv("hyperencoder.conv3", second, channels, kernel)
    first, second = sizes.hyper_decoder
    for stack in ("hyperdecoder.hd_mu", "hyperdecoder.hd_std"):
        yield from _conv(f"{stack}.conv1", channels, first, kernel, transposed=True)
        yield from _conv(f"{stack}.conv2", first, second, kernel, transposed=True)
        yield from _conv(f"{stack}.conv3", second, sizes.support, 3, transposed=True)
    widths = (1, 3, 3, 3, 3, 1)
    for i in range(5):
        yield f"{PRIOR}.matrices.{i}", (channels, widths[i + 1], widths[i])
        yield f"{PRIOR}.biases.{i}", (channels, widths[i + 1], 1)
        if i < 4:
            yield f"{PRIOR}.factors.{i}", (channels, widths[i + 1], 1)
    yield f"{PRIOR}.quantiles", (channels, 1, 3)


def _conv(
    name: str, inputs: int, outputs: int, kernel: int, *, transposed: bool = False
) -> Iterator[tuple[str, Shape]]:
    channels = (inputs, outputs) if transposed else (outputs, inputs)
    yield f"{name}.weight", (*channels, kernel, kernel)
    yield f"{name}.bias", (outputs,)


def _block(name: str, numbers: Shape, channels: int) -> Iterator[tuple[str, Shape]]:
    inside = channels // 2
    yield from _conv(f"{name}{numbers[0]}", channels, inside, 1)
    yield from _conv(f"{name}{numbers[1]}", inside, inside, 3)
    yield from _conv(f"{name}{numbers[2]}", inside, channels, 1)


def _attention(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for branch in ("trunk_block", "attention_block"):
        for i in range(3):
            yield from _block(f"{name}.{branch}.{i}.c", (1, 2, 3), channels)
    yield from _conv(f"{name}.conv", channels, channels, 1)


def _interpolation(name: str, widths: Shape, levels: int) -> Iterator[tuple[str, Shape]]:
    for i, channels in enumerate(widths):
        for kind in ("weight", "bias"):
            yield f"{name}.interp_ca_list.{i}.{kind}", (levels, 1, channels, 1, 1)
