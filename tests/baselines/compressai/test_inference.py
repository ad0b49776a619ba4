import pytest
import torch

from baselines.compressai.inference import (
    PIECE_PIXELS,
    InPlaceGDN,
    ListedGaussian,
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
