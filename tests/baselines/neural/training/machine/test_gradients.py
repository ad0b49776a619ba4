"""Averages of gradients that begin while the backward pass goes on."""

import torch
from torch import nn

from baselines.neural.training import gradients
from baselines.neural.training.gradients import GradientAverage


class Done:
    def wait(self):
        """At once."""


def test_buckets_are_averaged_in_turn_and_before_the_backward_pass_ends(monkeypatch):
    """All processes but this one have gradients of 0, so that a mean of two is the half."""
    layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    unused = nn.Parameter(torch.ones(3))
    parameters = [unused, *layers.parameters()]
    sizes, missing = [], []

    def reduce(flat, async_op):
        assert async_op
        sizes.append(flat.numel())
        missing.append(sum(one.grad is None for one in layers.parameters()))
        return Done()

    monkeypatch.setattr(gradients, "BUCKET_BYTES", 4 * 72)
    monkeypatch.setattr(gradients.dist, "all_reduce", reduce)
    average = GradientAverage(parameters, 2)
    images = torch.randn(2, 8)
    layers(images).square().sum().backward()
    whole = [one.grad.clone() for one in layers.parameters()]
    for one in layers.parameters():
        one.grad = None
    with average.during():
        layers(images).square().sum().backward()
        assert sizes, "it waited for the end"
    assert missing[0] > missing[-1] == 0
    assert len(sizes) > 2
    assert sum(sizes) == 4 * 72
    for one, before in zip(layers.parameters(), whole, strict=True):
        assert torch.equal(one.grad, before / 2)
    assert unused.grad is None


def test_alone_nothing_is_averaged():
    parameter = nn.Parameter(torch.ones(3))
    with GradientAverage([parameter], 1).during():
        parameter.sum().backward()
    assert torch.equal(parameter.grad, torch.ones(3))
