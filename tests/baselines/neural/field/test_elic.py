"""ELIC: published sizes, CompressAI's network with copied weights, and the checkerboard."""

from dataclasses import replace

import pytest
import torch

from baselines.compressai.codec import prepare_import
from baselines.neural.architecture import ARCHITECTURES
from baselines.neural.costs import costs
from baselines.neural.field.elic import CheckerboardConvolution, ElicNetwork

FULL = ARCHITECTURES["elic"].sizes["full"]
OFFICIAL = replace(
    FULL,
    encoder=(16, 16, 16),
    decoder=(16, 16, 16),
    latent=144,
    hyper_latent=16,
    hyper_encoder=(16, 16),
    hyper_decoder=(16, 24),
    support=32,
    groups=(16, 16, 32, 64, 16),
)


def official_network(**widths):
    with prepare_import():
        from compressai.models.sensetime import Elic2022Official
    return Elic2022Official(**widths)


def test_the_published_size_has_the_parameters_and_the_work_of_compressais_network():
    result = costs("elic", FULL)
    ours = sum(cost.parameters for name, cost in result.items() if name != "prior")
    theirs = official_network().named_parameters()
    assert ours == sum(value.numel() for name, value in theirs if "entropy_bottleneck" not in name)
    assert sum(cost.macs_per_pixel for cost in result.values()) == pytest.approx(564e3, rel=0.001)


def copied(official) -> ElicNetwork:
    """Return our network with CompressAI's weights, copied module by module in data flow order."""
    ours = ElicNetwork(OFFICIAL)
    codec = official.latent_codec
    groups = codec["y"]
    pairs = [(official.g_a, ours.analysis), (official.g_s, ours.synthesis)]
    pairs += [(codec["hyper"].h_a, ours.hyper_analysis)]
    for k in range(len(OFFICIAL.groups)):
        part = groups[f"y{k}"]
        pairs += [(part.context_prediction, ours.context.spatial[k])]
        pairs += [(part.entropy_parameters, ours.context.aggregation[k])]
        if k:
            pairs += [(groups.channel_context[f"y{k}"], ours.context.channel[k])]
    with torch.no_grad():
        for theirs, our_layers in pairs:
            sources, targets = list(theirs.parameters()), list(our_layers.parameters())
            assert [array.shape for array in sources] == [array.shape for array in targets]
            for source, target in zip(sources, targets, strict=True):
                target.copy_(source)
        layers = [layer for layer in codec["hyper"].h_s if hasattr(layer, "weight")]
        our_layers = [layer for layer in ours.hyper_synthesis if hasattr(layer, "weight")]
        for source, target in zip(layers, our_layers, strict=True):
            weight = source.weight
            if source.stride == (1, 1):  # a transposed convolution of stride 1 is a convolution
                weight = weight.flip(2, 3).transpose(0, 1)
            target.weight.copy_(weight)
            target.bias.copy_(source.bias)
        ours.prior.quantiles.copy_(codec["hyper"].entropy_bottleneck.quantiles[:, 0])
    return ours.eval()


@pytest.mark.filterwarnings("ignore")
def test_with_compressais_weights_latents_are_equal_and_pictures_to_rounding():
    torch.manual_seed(3)
    official = official_network(N=16, M=144, groups=list(OFFICIAL.groups)).eval()
    with torch.no_grad():
        for parameter in official.parameters():  # random networks code next to nothing otherwise
            if parameter.ndim == 4:
                parameter.mul_(1.6)
    ours = copied(official)
    torch.manual_seed(4)
    images = torch.rand(1, 3, 128, 192)
    with torch.no_grad():
        theirs = official(images)
        latents = ours.analyse(images)
        decoded = ours.code(latents, noisy=False).latents
        expected = official.g_a(images)
        picture = ours.synthesise(decoded)
    assert torch.allclose(latents, expected, atol=1e-5 * float(expected.abs().max()))
    hyper = official.latent_codec(expected)
    assert float(hyper["y_hat"].abs().max()) > 1
    assert torch.allclose(decoded, hyper["y_hat"], atol=1e-5)
    spread = float(theirs["x_hat"].abs().max())
    assert torch.allclose(picture, theirs["x_hat"], atol=1e-5 * spread)


def test_a_checkerboard_sees_the_other_colour_within_its_kernel():
    layer = CheckerboardConvolution(1, 1, 5)
    other_colour, same_colour = [0, 1, 0, 1, 0], [1, 0, 1, 0, 1]
    mask = [other_colour, same_colour, other_colour, same_colour, other_colour]
    assert (layer.masked_weight()[0, 0] != 0).int().tolist() == mask
    signal = torch.randn(1, 1, 6, 7)
    assert torch.allclose(layer.make_convolution()(signal), layer(signal), atol=1e-6)
