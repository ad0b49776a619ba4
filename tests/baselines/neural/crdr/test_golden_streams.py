"""The authors' streams: what they hold, and what the same symbols take by our tables and coder."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.neural.crdr.architecture import FULL
from baselines.neural.entropy.coder import Distributions, Encoder
from baselines.neural.entropy.factorised import FactorisedPrior, factorised_tables
from baselines.neural.entropy.fixed.grid import OUTPUT_FRACTION
from baselines.neural.entropy.fixed.tables import ScaleIndex, make_tables
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


def test_our_distributions_of_y_have_their_symbols():
    tables = make_tables()
    assert np.array_equal(tables["cdf_length"], golden("cdf.y.cdf_length"))
    assert np.array_equal(tables["cdf_offset"], golden("cdf.y.offset"))
    thresholds = tables["thresholds"].double() / 2**OUTPUT_FRACTION
    scales = torch.from_numpy(golden("cdf.y.scale_table")).double()
    middles = (scales[1:] * scales[:-1]).sqrt()
    assert float((thresholds - middles).abs().max()) <= 2.0**-OUTPUT_FRACTION


def our_indices() -> NDArray[np.uint8]:
    sigma = torch.from_numpy(golden("sigma"))
    on_grid = (sigma * 2**OUTPUT_FRACTION).round().int()
    return ScaleIndex(make_tables()["thresholds"])(on_grid).numpy()


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
