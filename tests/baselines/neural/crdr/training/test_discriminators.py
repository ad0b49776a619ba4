"""The seven discriminators: shared layers, conditions, and the copies that pictures pass."""

import pytest
import torch
from torch import Tensor, nn

from baselines.neural.training.gan import DISCRIMINATORS, PUBLISHED_CHANNELS, Discriminator

LEVELS = 5
THIN = (4, 6, 8, 10)
TOLERANCE = 1e-12  # for float64; another batch size may mean another order of sums
MIXED = torch.tensor([3, 0, 3, 4, 1, 0, 3])
KINDS = {  # backbones, heads, inputs of the first backbone and of the first head at full size
    "independent": (5, 5, 3, 128),
    "shared": (1, 1, 3, 128),
    "shared-conditioned": (1, 1, 3 + 5, 128),
    "hybrid-head": (1, 5, 3, 128),
    "hybrid-head-conditioned": (1, 5, 3 + 5, 128),
    "hybrid-backbone": (5, 1, 3, 128),
    "hybrid-backbone-conditioned": (5, 1, 3, 128 + 5),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def thin(kind: str, seed: int = 0) -> Discriminator:
    """Make a thin discriminator in float64, whose logits are about 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        discriminator = Discriminator(DISCRIMINATORS[kind], LEVELS, THIN).double()
        for parameter in discriminator.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, 0.2)
            else:
                nn.init.normal_(parameter, std=0.1)
    return discriminator


def pictures(number: int, seed: int = 1, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((number, 3, side, side + 16), generator=generator).double() * 2 - 1


def close(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=0, atol=TOLERANCE)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def apply_by_hand(layers: list[nn.Conv2d], signal: Tensor) -> Tensor:
    """Apply convolutions, every second with stride 2, and max(x, x / 5) after all but the last."""
    for index, layer in enumerate(layers):
        signal = nn.functional.pad(signal, (1, 1, 1, 1))
        step = 2 if index % 2 else 1
        patches = signal.unfold(2, 3, step).unfold(3, 3, step)  # (N, C, H, W, 3, 3)
        signal = torch.einsum("nchwij,ocij->nohw", patches, layer.weight)
        signal = signal + layer.bias[:, None, None]
        if layer.out_channels > 1:
            signal = torch.maximum(signal, signal / 5)
    return signal


def layers_of(critic: Discriminator, level: int) -> list[nn.Conv2d]:
    """Return the layers that pictures of a level pass, by their index among the copies."""
    parts = (critic.backbones, critic.heads)
    return [
        layer
        for copies in parts
        for layer in convolutions(copies[level if len(copies) == LEVELS else 0])
    ]


def append_level_maps(signal: Tensor, level: int) -> Tensor:
    maps = torch.zeros(len(signal), LEVELS, *signal.shape[2:], dtype=signal.dtype)
    maps[:, level] = 1
    return torch.cat([signal, maps], 1)


@each_kind
def test_logits_are_those_of_the_network_written_out(kind):
    critic, images = thin(kind), pictures(1)
    for level in (0, 3):
        layers = layers_of(critic, level)
        assert len(layers) == 9
        if kind == "hybrid-backbone-conditioned":
            features = apply_by_hand(layers[:4], images)
            expected = apply_by_hand(layers[4:], append_level_maps(features, level))
        else:
            first = append_level_maps(images, level) if kind.endswith("conditioned") else images
            expected = apply_by_hand(layers, first)
        result = critic(images, torch.tensor([level]))
        assert result.shape == (1, 1, 2, 3)
        assert result.abs().max() > 0.01
        assert close(result, expected)


@each_kind
def test_the_published_size_has_the_published_shapes_and_parameters(kind):
    backbones, heads, image, features = KINDS[kind]
    with torch.device("meta"):
        critic = Discriminator(DISCRIMINATORS[kind], LEVELS, PUBLISHED_CHANNELS)
    assert (len(critic.backbones), len(critic.heads)) == (backbones, heads)
    widths = [(image, 64), (64, 64), (64, 128), (128, 128)]
    of_head = [(features, 256), (256, 256), (256, 512), (512, 512), (512, 1)]
    for copies, expected in ((critic.backbones, widths), (critic.heads, of_head)):
        for copy in copies:
            assert [(c.in_channels, c.out_channels) for c in convolutions(copy)] == expected
    count = backbones * sum(9 * a * b + b for a, b in widths)
    count += heads * sum(9 * a * b + b for a, b in of_head)
    assert sum(parameter.numel() for parameter in critic.parameters()) == count


@each_kind
def test_mixed_levels_give_what_each_picture_gets_alone(kind):
    critic, images = thin(kind), pictures(len(MIXED))
    alone = [critic(images[i : i + 1], MIXED[i : i + 1]) for i in range(len(images))]
    assert close(critic(images, MIXED), torch.cat(alone))


def test_copies_start_differently():
    torch.manual_seed(0)
    critic = Discriminator(DISCRIMINATORS["independent"], 2, THIN)
    first, second = (copy[0].weight for copy in critic.backbones)
    assert not torch.equal(first, second)
    first, second = (copy[-1].weight for copy in critic.heads)
    assert not torch.equal(first, second)
