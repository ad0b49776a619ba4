"""Layers of learned codecs: values of a pointwise convolution, and the memory layout."""

import pytest
import torch
from functorch.compile import make_boxed_func, min_cut_rematerialization_partition
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.decomposition import select_decomp_table
from torch.nn import functional

from baselines.neural.blocks.control import (
    ConditionedBottleneck,
    ConditionedBottlenecks,
    PlacedLevels,
)
from baselines.neural.blocks.layers import convolution, rectified

CHANNELS_LAST = torch.channels_last


@pytest.fixture
def one_thread():
    """One thread, as workers have it: with several torch takes oneDNN by itself."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def features(channels: int, images: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(images, channels, 24, 32, generator=generator)
    return drawn.contiguous(memory_format=CHANNELS_LAST)


def plain(layer: torch.nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(inputs, layer.weight, layer.bias)


@pytest.mark.parametrize("images", [1, 3])
def test_its_values_and_gradients_are_those_of_a_convolution(one_thread, images):
    layer = convolution(96, 48, 1)
    assert list(layer.state_dict()) == ["weight", "bias"]
    inputs = features(96, images).requires_grad_()
    ours, theirs = layer(inputs), plain(layer, inputs)
    given = (inputs, layer.weight, layer.bias)
    gradients = (torch.autograd.grad(tensor.square().sum(), given) for tensor in (ours, theirs))
    for one, other in ((ours.detach(), theirs.detach()), *zip(*gradients, strict=True)):
        rounding = 100 * torch.finfo(torch.float32).eps * float(other.abs().max())
        assert float((one - other).abs().max()) <= rounding


def test_what_onednn_does_not_compute_is_left_to_torch():
    layer = convolution(96, 48, 1).double()
    inputs = features(96).double()
    assert torch.equal(layer(inputs), plain(layer, inputs))


@pytest.mark.parametrize("images", [1, 2])
def test_gradients_of_conditioned_blocks_stay_channels_last(images):
    """Otherwise each layer before them works on features that it first has to turn."""
    blocks = ConditionedBottlenecks(2, 16, 6).to(memory_format=CHANNELS_LAST)
    inputs = features(16, images).requires_grad_()
    outputs = blocks(inputs, PlacedLevels(torch.ones(images, 6), None))
    outputs.sum().backward()
    assert inputs.grad.is_contiguous(memory_format=CHANNELS_LAST)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
def test_a_compiled_block_is_one_graph_that_keeps_no_truth_values():
    """inductor stores them one by one; where a graph breaks, layers are compiled by themselves."""
    kept: list[torch.dtype] = []

    def compiled(graph, _inputs):
        (output,) = (node for node in graph.graph.nodes if node.op == "output")
        values = (node.meta.get("val") for node in output.args[0] if node is not None)
        kept.extend(value.dtype for value in values if isinstance(value, torch.Tensor))
        return make_boxed_func(graph.forward)

    backend = aot_autograd(
        fw_compiler=compiled,
        bw_compiler=lambda graph, _inputs: make_boxed_func(graph.forward),
        partition_fn=min_cut_rematerialization_partition,
        decompositions=select_decomp_table(),
    )
    torch.manual_seed(0)
    block = ConditionedBottleneck(8, 4).to(memory_format=CHANNELS_LAST)
    condition = PlacedLevels(torch.randn(2, 4), None)
    results = []
    for module in (block, torch.compile(block, backend=backend, fullgraph=True)):
        seen = features(8, 2).requires_grad_()
        made = module(seen, condition)
        given = (seen, *block.parameters())
        results.append((made, *torch.autograd.grad(made.square().sum(), given)))
    assert len(kept) > 1
    assert torch.bool not in kept
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_a_compiled_rectifier_has_the_gradient_of_a_relu(monkeypatch):
    values = torch.tensor([-2.0, -0.0, 0.0, 1e-40, 3.0], requires_grad=True)
    given = torch.tensor([5.0, 5.0, 5.0, -5.0, -5.0])
    (expected,) = torch.autograd.grad(values.relu(), values, given)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    made = rectified(values)
    (gradient,) = torch.autograd.grad(made, values, given)
    assert torch.equal(made, values.relu())
    assert torch.equal(gradient, expected)
