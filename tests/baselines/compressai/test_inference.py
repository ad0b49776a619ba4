import copy

import pytest
import torch
from torch import nn

from baselines.compressai.inference import (
    PIECE_PIXELS,
    ChannelsLast,
    InPlaceGDN,
    ListedGaussian,
    SubPixelDeconvolution,
    accelerate,
)
from baselines.compressai.weights import importable


@pytest.fixture(scope="module", autouse=True)
def _compressai():
    with importable():
        import compressai  # noqa: F401


def one_thread_noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (PIECE_PIXELS // 16, 17)])
def test_gdn_in_place_gives_the_numbers_of_compressai(inverse, size):
    from compressai.layers import GDN

    stock = GDN(12, inverse=inverse)
    with torch.no_grad():
        stock.gamma.add_(one_thread_noise(12, 12).abs() / 10)
        stock.beta.add_(one_thread_noise(12).abs())
    inputs = one_thread_noise(2, 12, *size)
    expected = stock(inputs).detach()
    with torch.inference_mode():
        assert torch.allclose(InPlaceGDN(stock)(inputs.clone()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 4)])
def test_interleaved_convolution_is_the_transposed_one(size):
    stock = nn.ConvTranspose2d(6, 3, 5, stride=2, padding=2, output_padding=1)
    inputs = one_thread_noise(2, 6, *size)
    with torch.no_grad():
        difference = SubPixelDeconvolution(stock)(inputs) - stock(inputs)
    assert difference.abs().max() < 1e-6  # float32 sums of 150 products below 1


def test_a_scale_on_the_edge_of_two_tables_takes_the_one_that_compressai_takes():
    from compressai.entropy_models import GaussianConditional
    from compressai.models.base import get_scale_table

    stock = GaussianConditional(None)
    stock.update_scale_table(get_scale_table())
    edges = stock.scale_table
    beside = [torch.nextafter(edges, torch.tensor(side)) for side in (0.0, 1e9)]
    scales = torch.cat([edges, *beside, torch.tensor([-1.0, 0.0, 1e9])])
    assert torch.equal(ListedGaussian(stock).build_indexes(scales), stock.build_indexes(scales))


def test_strings_of_the_listed_gaussian_are_those_of_compressai():
    from compressai.entropy_models import GaussianConditional
    from compressai.models.base import get_scale_table

    stock = GaussianConditional(None)
    stock.update_scale_table(get_scale_table())
    listed = ListedGaussian(stock)
    scales, means = one_thread_noise(2, 3, 8, 8).exp(), one_thread_noise(2, 3, 8, 8)
    latents = one_thread_noise(2, 3, 8, 8) * scales * 3  # some beyond their table, so escaped
    indexes = stock.build_indexes(scales)
    strings = listed.compress(latents, indexes, means)
    assert strings == stock.compress(latents, indexes, means)
    assert torch.equal(
        listed.decompress(strings, indexes, means=means), torch.round(latents - means) + means
    )


def test_a_network_is_changed_where_it_is_slow_and_nowhere_else():
    from compressai.models import ScaleHyperprior

    stock = ScaleHyperprior(8, 12)
    stock.update()
    fast = accelerate(copy.deepcopy(stock))
    kinds = {type(module) for module in fast.modules()}
    assert {InPlaceGDN, SubPixelDeconvolution, ListedGaussian, ChannelsLast} <= kinds
    assert "GDN" not in {kind.__name__ for kind in kinds}
    assert repr(fast.h_s) == repr(stock.h_s)  # what decides the tables is CompressAI's own
