"""Sizes of CRDR: the published one, its parameters, and costs of all."""

from dataclasses import asdict

import pytest
import torch
from torch import nn

from baselines.neural.architecture import CrdrSizes, parse_dimensions
from baselines.neural.blocks.control import IndexedLevels
from baselines.neural.costs import costs, macs_per_pixel
from baselines.neural.crdr.model import Controls, CRDRNetwork
from support.networks.tiny_checkpoint import FULL, MICRO, MINI, NAMED, TINY

each_size = pytest.mark.parametrize("sizes", NAMED.values(), ids=NAMED)


def test_full_has_the_published_parameters_in_every_part_and_others_stay_within_their_limits():
    assert {name: cost.parameters for name, cost in costs("crdr", FULL).items()} == {
        "analysis": 7_357_632,
        "synthesis": 13_378_115,
        "hyper_analysis": 4_199_168,
        "hyper_synthesis": 5_776_896,
        "prior": 11_712,
        "context": 96_989_440,
    }
    parameters = {n: sum(c.parameters for c in costs("crdr", s).values()) for n, s in NAMED.items()}
    assert 8e6 <= parameters["small"] <= 12e6
    assert parameters["micro"] <= 1e6
    assert macs_per_pixel("crdr", MICRO) <= 20_000
    assert parameters["mini"] <= 3e6
    assert macs_per_pixel("crdr", MINI) <= 45_000


@each_size
def test_costs_are_those_of_the_modules_counted_one_by_one(sizes):
    with torch.device("meta"):
        network = CRDRNetwork(sizes)
        children = dict(network.named_children())
        macs = dict.fromkeys(children, 0)
        for name, part in children.items():
            for module in part.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    module.register_forward_hook(products_into(macs, name))
        level = IndexedLevels(torch.zeros(1), None)
        latents = network.analyse(torch.zeros(1, 3, 64, 128), level)
        supports = network.hyper_synthesis(network.hyper_analyse(latents))
        decoded = network.context(*supports, lambda _i, mean, _scale: mean)
        assert network.synthesise(decoded, Controls(level, level)).shape == (1, 3, 64, 128)
    counted = {
        name: (sum(p.numel() for p in part.parameters()), macs[name] / (64 * 128))
        for name, part in children.items()
    }
    assert costs("crdr", sizes) == counted
    assert macs_per_pixel("crdr", sizes) == sum(macs.values()) / (64 * 128)


def products_into(macs, name):
    def hook(module, inputs, output):
        transposed = isinstance(module, nn.ConvTranspose2d)
        positions = (inputs[0] if transposed else output).shape[2:].numel()
        macs[name] += positions * module.weight.numel()

    return hook


def test_impossible_dimensions_are_refused():
    record = asdict(TINY)
    for change in (
        {"latent": 13},
        {"latent": 12.0},
        {"attention": 1},
        {"slices": [2] * 65},
        {"slices": 12},
        {"encoder": [8, 6]},
        {"encoder": [8, 6, 10**9]},
        {"outer_kernel": 4},
        {"support_slices": 5},
        {"blocks": -1},
        {"blocks": 10**9},
        {"blocks": True},
        {"rate_levels": 1},
        {"unknown": 1},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            parse_dimensions(record | change, CrdrSizes)
    with pytest.raises(ValueError, match="`encoder`"):
        parse_dimensions({}, CrdrSizes)
