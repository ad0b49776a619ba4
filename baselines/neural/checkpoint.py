"""Trained networks on disk: a safetensors file, which may be packed by `xz`, and its JSON card.

The file has the tensors of `Network.stored_state`: parameters in float32, float16 or int8 with
scales, buffers, and integer tables, whose names begin with `tables.`. The card has the file's
sha256, whose first bytes identify the checkpoint in every stream.
"""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from baselines.neural.architecture import load_architecture
from baselines.neural.card import PACKED, Card, save_card, unpack_xz, verified_card
from baselines.neural.network import Network
from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.atomic import write_file
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import load_tensors

ROWS, COLUMNS = "scales.rows.", "scales.columns."  # prefixes of tensors' names
# Dimensions to reduce for a scale per row and per column, by the number of dimensions: 2 for a
# matrix, 3 for a table of matrices, 4 for the kernels of a convolution.
_ROW_DIMS = {2: (1,), 3: (2,), 4: (1, 2, 3)}
_COLUMN_DIMS = {2: (0,), 3: (1,), 4: (0, 2, 3)}


@dataclass(frozen=True, slots=True)
class QuantisedWeights:
    """Integers of 2 to 8 bits (int8), with a float32 scale for each row and each column."""

    integers: Tensor
    rows: Tensor
    columns: Tensor

    def values(self) -> Tensor:
        """Return the weights in float32, with the same bits on every machine."""
        return self.integers.float() * (self.rows * self.columns)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors stored in the file for the parameter `name`."""
        return {name: self.integers, f"{ROWS}{name}": self.rows, f"{COLUMNS}{name}": self.columns}


def quantise(weights: Tensor, bits: int) -> QuantisedWeights:
    """Round weights with two to four dimensions to signed integers of 2 to 8 bits."""
    max_integer = 2 ** (bits - 1) - 1
    floats = weights.detach().float()
    columns = _max_magnitudes(floats, _COLUMN_DIMS[weights.ndim])
    rows = _max_magnitudes(floats / columns, _ROW_DIMS[weights.ndim]) / max_integer
    integers = torch.round(floats / (rows * columns)).clamp(-max_integer, max_integer)
    return QuantisedWeights(integers.to(torch.int8), rows, columns)


def _max_magnitudes(weights: Tensor, dims: tuple[int, ...]) -> Tensor:
    # returns 1 for a maximum of 0, since weights are divided by it
    maxima = weights.abs().amax(dims, keepdim=True)
    return torch.where(maxima > 0, maxima, torch.ones_like(maxima))


def quantise_parameters(network: Network) -> dict[str, QuantisedWeights]:
    """Quantise the weights that `Network.quantised_bits` names, except biases."""
    return {
        name: quantise(value, bits)
        for name, value in network.named_parameters()
        for prefix, bits in network.quantised_bits.items()
        if name.startswith(prefix) and value.ndim in _ROW_DIMS
    }


TABLES = "tables."
WRAPPERS = {"module", "_orig_mod"}  # torch's prefixes for parallel and compiled networks
FLOATS = (torch.float32, torch.float16)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Checkpoint(NamedTuple):
    """A network that was read from disk."""

    network: Network  # on the CPU, in float32 and evaluation mode
    card: Card
    tables: dict[str, Tensor]  # integers, by name


def make_checkpoint(
    path: Path,
    network: Network,
    card: Card,
    images: Sequence[Pixels],
    *,
    quantised: bool = False,
) -> Card:
    """Save a trained network with its coder's tables; return the card with the sha256.

    images: photographs from which tables are made. quantised: first round the weights that
    `Network.quantised_bits` names. Raises `ValueError` if weights are not finite.
    """
    clone = deepcopy(network).to("cpu", torch.float32).eval()
    with torch.no_grad():
        if not_finite := [k for k, v in clone.named_parameters() if not bool(v.isfinite().all())]:
            raise ValueError(f"weights are not finite: {', '.join(not_finite[:4])}")
        clone.settle()
        quantised_weights = quantise_parameters(clone) if quantised else {}
        for name, weights in quantised_weights.items():
            clone.get_parameter(name).copy_(weights.values())
    tables = clone.tables(images)
    return save_checkpoint(path, clone, card, tables, quantised_weights)


def save_checkpoint(
    path: Path,
    network: Network,
    card: Card,
    tables: Mapping[str, Tensor] | None = None,
    quantised: Mapping[str, QuantisedWeights] | None = None,  # weights to write as integers
) -> Card:
    """Write the tensors to `path`, then the card; return the card with the sha256."""
    tensors = {
        name: value.detach().float().cpu() if isinstance(value, nn.Parameter) else value.cpu()
        for name, value in network.stored_state().items()
    }
    for name, weights in (quantised or {}).items():
        tensors |= weights.tensors(name)
    tensors |= {f"{TABLES}{name}": table.detach().cpu() for name, table in (tables or {}).items()}
    data = save(  # not `save_file`, whose files other users cannot read
        {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        }
    )
    write_file(path, data, durable=True)
    final_card = replace(card, sha256=file_sha256(path))
    save_card(path, final_card)  # last, so that a card exists only if its tensors do
    return final_card


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the network at `path` with its card and tables; raises `Unavailable`."""
    card = verified_card(path)
    architecture = load_architecture(card.architecture)
    try:
        with torch.device("meta"):
            network: Network = architecture.build(card.config)
    except ValueError as error:
        raise Unavailable(f"{path} cannot be used: {error}") from error
    state, tables = _read_tensors(path, network.stored_state())
    network.load_stored_state(state)
    return Checkpoint(network.eval(), card, tables)


def read_state_dict(path: Path, *containers: str) -> dict[str, Tensor]:
    """Return a torch file's state dict, which may be under the keys `containers`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about pickles that it did not write
            content = load_tensors(path)
    except Unavailable:
        raise
    except FileNotFoundError:
        raise Unavailable(f"there is no checkpoint {path}") from None
    except Exception as error:  # an unpickler may raise anything
        raise Unavailable(
            f"{path} cannot be read as weights: it is damaged, or contains more than tensors"
        ) from error
    for container in containers:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise Unavailable(f"{path} does not contain a state dict")
    return content


def _read_tensors(
    path: Path, expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    try:
        tensors = load(unpack_xz(path)) if path.suffix == PACKED else load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise Unavailable(f"{path} cannot be read as safetensors: {error}") from error
    parameters = {k: tuple(v.shape) for k, v in expected.items() if isinstance(v, nn.Parameter)}
    tables = {name for name in tensors if name.startswith(TABLES)}
    buffers = expected.keys() - parameters.keys()
    integers = [
        name
        for name, shape in parameters.items()
        if len(shape) in _ROW_DIMS and name in tensors and tensors[name].dtype == torch.int8
    ]
    scales = {
        f"{prefix}{name}": tuple(
            1 if dim in dims[len(parameters[name])] else size
            for dim, size in enumerate(parameters[name])
        )
        for name in integers
        for prefix, dims in ((ROWS, _ROW_DIMS), (COLUMNS, _COLUMN_DIMS))
    }
    names = tensors.keys() - tables
    shapes = {**dict.fromkeys(buffers), **parameters, **scales}  # None: any shape
    differing = sorted(names ^ shapes.keys()) or [
        name for name in sorted(names) if shapes[name] not in (None, tuple(tensors[name].shape))
    ]
    if differing:
        message = f"{path} does not hold the network of its card: {differing[0]} differs"
        if (
            len(prefixes := {name.partition(".")[0] for name in names}) == 1
            and prefixes <= WRAPPERS
        ):
            message += (
                f"; all names begin with {min(prefixes)}: save NETWORK.{min(prefixes)}.state_dict()"
            )
        raise Unavailable(message)
    dtypes: dict[str, tuple[torch.dtype, ...]]
    dtypes = dict.fromkeys(tables, INTEGERS) | dict.fromkeys(parameters, FLOATS)
    dtypes |= dict.fromkeys(scales, (torch.float32,)) | dict.fromkeys(integers, (torch.int8,))
    for name, valid_dtypes in dtypes.items():
        if tensors[name].dtype not in valid_dtypes:
            raise Unavailable(f"{path} cannot be used: {name} has the dtype {tensors[name].dtype}")
    state = {name: tensors[name] for name in names - scales.keys()}
    state |= {name: tensors[name].float() for name in parameters}
    for name in integers:
        rows, columns = tensors[f"{ROWS}{name}"], tensors[f"{COLUMNS}{name}"]
        state[name] = QuantisedWeights(tensors[name], rows, columns).values()
    for name, value in (tensors | state).items():
        if not bool(value.isfinite().all()):
            raise Unavailable(f"{path} cannot be used: {name} has values that are not finite")
    return state, {name.removeprefix(TABLES): tensors[name] for name in tables}
