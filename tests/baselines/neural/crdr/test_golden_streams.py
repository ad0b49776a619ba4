"""The authors' streams: what they hold, and what the same symbols take by our tables and coder."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.compressai.weights import importable
from baselines.neural.crdr.architecture import FULL
from baselines.neural.entropy.coder import Distributions, Encoder, channel_rows
from baselines.neural.entropy.factorised import FactorisedPrior, factorised_tables
from baselines.neural.entropy.fixed.grid import OUTPUT_FRACTION
from baselines.neural.entropy.fixed.tables import make_tables, scale_index
from conftest import SHARED
from support.networks.authors_weights import authors_state

GOLDEN = SHARED / "data" / "parity" / "golden.npz"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="needs ../shared/data/parity")


@cache
def golden(name: str) -> NDArray[Any]:
    """Return a golden value of the crop, or of the tables."""
    with np.load(GOLDEN) as values:
        found: NDArray[Any] = values[name if "." in name else f"256x256.q1.3.{name}"]
        return found


@pytest.fixture(scope="module")
def gaussian():
    """CompressAI's tables of normal distributions, with the authors' scales."""
    with importable():
        from compressai.entropy_models import GaussianConditional
    made = GaussianConditional(golden("cdf.y.scale_table").tolist())
    made.update_scale_table(golden("cdf.y.scale_table").tolist(), force=True)
    return made


def held(data: str, indices: NDArray[Any], *tables: NDArray[Any]) -> NDArray[np.int64]:
    """Return the symbols in a golden string, by CompressAI's decoder."""
    with importable():
        from compressai.ans import RansDecoder
    rows = (one.tolist() for one in tables)
    found = RansDecoder().decode_with_indexes(
        golden(data).tobytes(), indices.reshape(-1).tolist(), *rows
    )
    return np.array(found).reshape(indices.shape)


def test_their_strings_hold_their_symbols(gaussian):
    tables = (gaussian._quantized_cdf, gaussian._cdf_length, gaussian._offset)
    found = held(
        "bytes_y",
        golden("y_index"),
        *(one.reshape(len(one), -1).squeeze(1).numpy() for one in tables),
    )
    assert np.array_equal(found, golden("y_sym"))
    symbols = golden("z_sym")
    tables = (golden(f"cdf.z.{name}") for name in ("quantized_cdf", "cdf_length", "offset"))
    assert np.array_equal(held("bytes_z", channel_rows(symbols.shape[1:])[None], *tables), symbols)


def test_our_distributions_of_y_have_their_symbols(gaussian):
    tables = make_tables()
    assert np.array_equal(tables["cdf_length"], golden("cdf.y.cdf_length"))
    assert np.array_equal(tables["cdf_offset"], golden("cdf.y.offset"))
    assert np.array_equal(gaussian._cdf_length, golden("cdf.y.cdf_length"))
    thresholds = tables["thresholds"].double() / 2**OUTPUT_FRACTION
    scales = torch.from_numpy(golden("cdf.y.scale_table")).double()
    middles = (scales[1:] * scales[:-1]).sqrt()
    assert float((thresholds - middles).abs().max()) <= 2.0**-OUTPUT_FRACTION


def our_indices() -> NDArray[np.uint8]:
    sigma = torch.from_numpy(golden("sigma"))
    on_grid = (sigma * 2**OUTPUT_FRACTION).round().int()
    return scale_index(on_grid, make_tables()["thresholds"]).numpy()


def test_their_scale_is_the_next_larger_one_where_ours_is_the_nearest():
    scales, sigma = golden("cdf.y.scale_table"), np.maximum(golden("sigma"), 0.11)
    above = np.searchsorted(scales, sigma)
    assert np.array_equal(golden("y_index"), above)
    nearest = np.abs(np.log(sigma)[..., None] - np.log(scales)).argmin(-1)
    close = 2.0**-OUTPUT_FRACTION / 0.11  # what the grid may round, of the least scale
    edges = np.sqrt(scales[1:] * scales[:-1])
    at_edge = np.abs(sigma[..., None] / edges - 1).min(-1) < close
    assert np.array_equal(our_indices()[~at_edge], nearest[~at_edge])
    assert at_edge.mean() < 0.05


def test_our_coder_takes_fewer_bytes_for_their_symbols():
    encoder = Encoder()
    distributions = Distributions.of(make_tables(), "cdf")
    encoder.add(golden("y_sym").astype(np.int32), distributions, our_indices().astype(np.int32))
    ours, theirs = len(encoder.finish()), golden("bytes_y").size
    assert 0.97 * theirs < ours < theirs


def test_our_distributions_of_z_are_theirs_where_both_have_a_symbol():
    prior = FactorisedPrior(FULL.hyper_latent)
    prefix = "entropy_model_z."
    values = {
        name.removeprefix(prefix): value
        for name, value in authors_state(FULL).items()
        if name.startswith(prefix)
    }
    prior.load_state_dict(
        {name: values[name].view(one.shape) for name, one in prior.state_dict().items()}
    )
    ours = factorised_tables(prior)
    theirs = {name: golden(f"cdf.z.{name}") for name in ("quantized_cdf", "cdf_length", "offset")}
    for channel in range(FULL.hyper_latent):
        mine, other = (
            _frequencies(*(tables[name][channel] for name in names))
            for tables, names in (
                (ours, ("z_cdf", "z_cdf_length", "z_cdf_offset")),
                (theirs, tuple(theirs)),
            )
        )
        often = [one for one in mine.keys() & other.keys() if min(mine[one], other[one]) > 500]
        ratios = [mine[one] / other[one] for one in often]
        # Theirs shares out what lies beyond its quantiles, which the synthetic weights leave large.
        assert len(often) > 5
        assert max(ratios) / min(ratios) < 1.01


def _frequencies(cdf: Any, length: Any, first: Any) -> dict[int, int]:
    """Return the frequencies of a row's symbols, without its escape."""
    counts = np.diff(np.asarray(cdf)[: int(length)])[:-1]
    return dict(zip(range(int(first), int(first) + len(counts)), counts.tolist(), strict=True))
