"""The exact transformer: close to the float one, and the same on every machine."""

import os
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from baselines.neural.pqmim.coder import ExactTransformer, exponentials
from baselines.neural.pqmim.model import MaskedTransformer, token_stages
from support.networks.tiny_checkpoint import PQMIM_TINY as TINY
from support.processes import ran


def seeded() -> MaskedTransformer:
    """A transformer whose predictions are far from uniform, the same in every process."""
    random = np.random.default_rng(5)
    model = MaskedTransformer(TINY).requires_grad_(False)
    for parameter in model.parameters():
        spread = 0.3 if parameter.ndim == 2 else 0.1
        values = random.normal(1.0 if parameter.ndim == 1 else 0.0, spread, parameter.shape)
        parameter.copy_(torch.from_numpy(values).float())
    return model


def inputs(rows: int, columns: int, stage: int):
    random = np.random.default_rng(6)
    vectors = torch.from_numpy(random.normal(size=(1, TINY.latent, rows, columns))).float()
    stages = token_stages(TINY, rows, columns)
    return vectors, stages < stage, stages == stage


def tokens_of(rows: int, columns: int) -> torch.Tensor:
    random = np.random.default_rng(7)
    return torch.from_numpy(random.integers(TINY.entries, size=(1, TINY.books, rows, columns)))


def parts_of(exact: ExactTransformer, rows: int, columns: int, stage: int):
    """Yield the features, the logits and the frequencies of part after part."""
    vectors, is_known, is_wanted = inputs(rows, columns, stage)
    features = exact.features(vectors, is_known, is_wanted)
    entries = tokens_of(rows, columns)[0][:, is_wanted]
    for book in range(TINY.books):
        logits = exact.logits(features, book)
        yield features.numpy(), logits.numpy(), exact.frequencies(features, book)
        features = exact.add_earlier_part(features, book, entries[book])


def every_bit(rows: int, columns: int, stage: int) -> str:
    """Return a digest that covers features and logits, since frequencies hide most differences."""
    parts = parts_of(ExactTransformer(seeded()), rows, columns, stage)
    return sha256(b"".join(array.tobytes() for part in parts for array in part)).hexdigest()


@pytest.mark.parametrize("shape", [(16, 8), (11, 13)], ids=str)
@pytest.mark.parametrize("stage", [1, 4])
def test_frequencies_are_the_probabilities_of_the_float_transformer(shape, stage):
    parts = parts_of(ExactTransformer(seeded()), *shape, stage)
    result = np.stack([frequencies for _, _, frequencies in parts], axis=1)  # (token, part, entry)
    vectors, is_known, is_wanted = inputs(*shape, stage)
    logits = seeded()(tokens_of(*shape), vectors, is_known[None], is_wanted[None])
    expected = logits.softmax(2).numpy()
    assert expected.max() > 0.5
    assert (result.sum(2) == 2**24).all()
    assert result.min() >= 1
    cost = -(expected * np.log2(result / 2**24)).sum(2)
    entropy = -(expected * np.log2(expected)).sum(2)
    assert np.abs(cost - entropy).max() < 1e-3


def test_no_sum_depends_on_its_order(monkeypatch):
    """Every matrix product, and every sum, gives the same bits with its terms in another order."""
    matmul, summed = torch.Tensor.__matmul__, torch.Tensor.sum
    exact, shuffles = ExactTransformer(seeded()), []

    def shuffled_product(first, second):
        order, result = torch.randperm(first.shape[-1]), matmul(first, second)
        assert torch.equal(result, matmul(first[..., order], second[..., order, :]))
        shuffles.append("product")
        return result

    def shuffled_sum(values, dim, **options):
        assert dim in (-1, values.ndim - 1)
        order, result = torch.randperm(values.shape[-1]), summed(values, dim, **options)
        assert torch.equal(result, summed(values[..., order], dim, **options))
        shuffles.append("sum")
        return result

    monkeypatch.setattr(torch.Tensor, "__matmul__", shuffled_product)
    monkeypatch.setattr(torch.Tensor, "sum", shuffled_sum)
    monkeypatch.setattr(functional, "linear", lambda x, w: shuffled_product(x, w.T))
    exact.frequencies(exact.features(*inputs(11, 13, 3)), 0)
    # Four in each layer, and two for each of its windows; the embedding and the logits.
    assert shuffles.count("product") == TINY.layers * (4 + 2 * 4) + 2
    assert shuffles.count("sum") == TINY.layers * (2 + 4) + 2


def test_the_tables_are_rounded_exponentials():
    result = exponentials(256, 20).numpy()
    assert np.array_equal(result, np.rint(np.exp(-np.arange(16 * 256 + 1) / 256) * 2**20))
    assert result[-1] == 0  # what lies outside of the image has no weight


PROGRAM = (
    "import sys; import torch\n"
    "sys.path += sys.argv[1:2]; torch.set_num_threads(2)\n"
    "from test_exact_transformer import every_bit; print(every_bit(20, 13, 4))"
)


def test_other_instructions_and_threads_give_the_same_bits():
    set_to = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    path = os.pathsep.join(sys.path)
    reported = ran(sys.executable, "-c", PROGRAM, Path(__file__).parent, PYTHONPATH=path, **set_to)
    assert reported.stdout.strip() == every_bit(20, 13, 4)
