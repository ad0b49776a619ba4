"""Charm: the published size, supports of the first slices, GDN as CompressAI computes it."""

import pytest
import torch

from baselines.compressai.codec import prepare_import
from baselines.neural.architecture import ARCHITECTURES
from baselines.neural.blocks.layers import GDN
from baselines.neural.costs import costs
from baselines.neural.field.charm import CharmNetwork
from support.networks.drawn import by_slice

FULL, TINY = (ARCHITECTURES["charm"].sizes[name] for name in ("full", "tiny"))


def test_the_published_size_has_the_published_parameters_and_work():
    """TensorFlow Compression's models/ms2020.py by its layers: 113.98 M, 580.7 k per pixel."""
    result = costs("charm", FULL)
    assert sum(cost.parameters for name, cost in result.items() if name != "prior") == 113_976_323
    assert result["context"].parameters == 96_989_440
    assert sum(cost.macs_per_pixel for cost in result.values()) == 580_722


def parameters_by_slice(network, latents):
    """Return the mean and scale of every slice."""
    values = torch.split(latents, list(network.sizes.slices), dim=1)
    supports = network.hyper_synthesis(torch.zeros(1, network.sizes.hyper_latent, 2, 2))
    rounded = by_slice(network, supports, lambda i, mean: (values[i] - mean).round() + mean)
    return [torch.cat(pair, 1).detach() for pair in rounded[0]]


def test_a_slice_depends_on_the_first_slices_only_and_features_are_not_negative():
    torch.manual_seed(0)
    network = CharmNetwork(TINY)
    latents = 4 * torch.randn(1, network.sizes.latent, 8, 8)
    parameters_before = parameters_by_slice(network, latents)
    starts = [sum(network.sizes.slices[:i]) for i in range(len(network.sizes.slices))]
    for changed, start in enumerate(starts):
        changed_latents = latents.clone()
        changed_latents[:, start : start + network.sizes.slices[changed]] += 3
        pairs = zip(parameters_before, parameters_by_slice(network, changed_latents), strict=True)
        informs = changed < network.sizes.support_slices
        assert [not torch.equal(*pair) for pair in pairs] == [
            informs and later > changed for later in range(len(starts))
        ]
    with torch.no_grad():
        features = network.hyper_synthesis(torch.randn(1, network.sizes.hyper_latent, 3, 3))
    assert all(float(feature.min()) == 0 for feature in features)


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_the_normalisation_is_that_of_compressai(inverse):
    with prepare_import():
        from compressai import layers
    torch.manual_seed(1)
    reference, ours = layers.GDN(6, inverse=inverse), GDN(6, inverse=inverse)
    with torch.no_grad():
        reference.beta.uniform_(0.5, 2)
        reference.gamma.uniform_(0, 0.6)
        ours.beta.copy_(reference.beta)
        ours.gamma.copy_(reference.gamma)
    features = 3 * torch.randn(2, 6, 5, 4)
    assert torch.allclose(ours(features), reference(features), rtol=1e-5, atol=1e-6)


def test_set_normalisations_have_these_values():
    gdn = GDN(2)
    gdn.set(torch.tensor([1.0, 4.0]), torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    result = gdn(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)).flatten()
    expected = [3 / 17**0.5, 4 / 22**0.5]
    assert result.tolist() == pytest.approx(expected, rel=1e-6)
