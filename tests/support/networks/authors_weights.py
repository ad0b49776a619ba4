"""Checkpoints in the format of CRDR's authors: their keys and shapes, synthetic values.

For the published sizes the keys, shapes and values are checked against those of the authors' code
in ../shared/data/parity. The rule that makes values out of key names is that of its README.
"""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from baselines.neural.architecture import CrdrSizes
from baselines.neural.crdr.authors import is_transposed_by_authors, key_of
from baselines.neural.crdr.model import CRDRNetwork

Shape = tuple[int, ...]
PRIOR = "entropy_model_z"
PLAIN_TO_OLD = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}
DERIVED_SHAPES = {
    f"{PRIOR}._offset": (0,), f"{PRIOR}._quantized_cdf": (0,), f"{PRIOR}._cdf_length": (0,),
    f"{PRIOR}.target": (3,), f"{PRIOR}.likelihood_lower_bound.bound": (1,),
    "entropy_model_y._offset": (0,), "entropy_model_y._quantized_cdf": (0,),
    "entropy_model_y._cdf_length": (0,), "entropy_model_y.scale_table": (0,),
    "entropy_model_y.scale_bound": (1,), "entropy_model_y.likelihood_lower_bound.bound": (1,),
    "entropy_model_y.lower_bound_scale.bound": (1,),
}  # fmt: skip


def authors_shapes(sizes: CrdrSizes) -> dict[str, Shape]:
    with torch.device("meta"):
        ours = CRDRNetwork(sizes).state_dict()
    shapes = {}
    for name, tensor in ours.items():
        key = key_of(name, sizes)
        first, *dimensions = tensor.shape
        if is_transposed_by_authors(name):
            first, dimensions = dimensions[0], [first, *dimensions[1:]]
        elif "interp_ca_list" in key:
            dimensions = [1, *dimensions, 1, 1]
        elif "proj_" in key and key.endswith("weight"):
            dimensions = [*dimensions, 1, 1]
        elif key == f"{PRIOR}.quantiles":
            dimensions = [1, *dimensions]
        shapes[key] = (first, *dimensions)
    return shapes | DERIVED_SHAPES


def authors_state(sizes: CrdrSizes) -> dict[str, Tensor]:
    """That state dict with the values of the parity README; derived entries are zeros."""
    return {
        key: torch.zeros(shape) if key in DERIVED_SHAPES else torch.from_numpy(filled(key, shape))
        for key, shape in authors_shapes(sizes).items()
    }


def old_spelling(key: str) -> str:
    first, _, suffix = key.partition(".")
    kind, _, index = suffix.partition(".")
    return f"{first}.{PLAIN_TO_OLD[kind]}{index}" if kind in PLAIN_TO_OLD else key


def filled(key: str, shape: Shape) -> np.ndarray:
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
