"""Parameters and multiply-accumulates of each part of a network, counted without running it."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from baselines.neural.architecture import load_architecture

if TYPE_CHECKING:
    from torch import nn


class Cost(NamedTuple):
    """Size and work of one part of a network."""

    parameters: int
    macs_per_pixel: float


@cache
def costs(architecture: str, config: Any) -> Mapping[str, Cost]:
    """Return parameters and work of each part of the network described by `config`."""
    # counts convolutions of encoding and decoding, and `Network.further_macs_per_pixel`
    import torch
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    try:
        with FakeTensorMode():
            return _count_costs(architecture, config)
    except DataDependentOutputException:
        # CompressAI's entropy bottleneck reads numbers from tensors; its networks are small enough
        # to run.
        with torch.random.fork_rng(devices=[]):
            return _count_costs(architecture, config)


def _count_costs(architecture: str, config: Any) -> dict[str, Cost]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from baselines.neural.blocks.control import IndexedLevels

    network = load_architecture(architecture).build(config)
    side, level = network.stride, IndexedLevels(torch.zeros(1), None)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side), network.controls_at(level, level), noisy=False)
    flop_counts, class_name = counter.get_flop_counts(), type(network).__name__
    additional = network.further_macs_per_pixel()
    flops = {path.removeprefix(f"{class_name}."): counts for path, counts in flop_counts.items()}
    return {
        path: Cost(
            sum(parameter.numel() for parameter in part.parameters()),
            # A multiply-accumulate is two floating-point operations.
            flops.get(path, {}).get(torch.ops.aten.convolution, 0) / 2 / side**2
            + additional.get(path, 0),
        )
        for path, part in _run_parts(network, "", flops)
    }


def _run_parts(
    module: "nn.Module", prefix: str, flops: Mapping[str, object]
) -> "Iterator[tuple[str, nn.Module]]":
    # if a child is not called itself, yields its children instead
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if path not in flops and any(run_path.startswith(f"{path}.") for run_path in flops):
            yield from _run_parts(child, f"{path}.", flops)
        else:
            yield path, child


def macs_per_pixel(architecture: str, config: Any) -> float:
    """Return the multiply-accumulates per pixel of encoding and decoding; see `costs`."""
    return sum(cost.macs_per_pixel for cost in costs(architecture, config).values())
