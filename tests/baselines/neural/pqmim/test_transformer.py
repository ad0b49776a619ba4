"""The transformer: order, sight and windows; the exact one is the same on every machine."""

import os
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from baselines.neural.pqmim import model
from baselines.neural.pqmim.coder import ExactTransformer, exponentials
from baselines.neural.pqmim.model import MaskedTransformer, token_stages
from support.networks.tiny_checkpoint import PQMIM_TINY as TINY
from support.processes import ran


def test_the_stages_are_the_published_figures_rule():
    for (row, column), stage in np.ndenumerate(token_stages(TINY, 5, 11).numpy()):
        rules = (
            row % 4 == column % 4 == 0, row % 4 == column % 4 == 2,
            row % 2 == column % 2 == 0 and (row + column) % 4 == 2, row % 2 == column % 2 == 1,
            (row + column) % 2 == 1,
        )  # fmt: skip
        assert [stage == number for number in range(TINY.stages)] == [*rules]


def test_an_order_of_another_card_is_repeated_from_the_corner():
    rows = ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    sizes = replace(TINY, order=rows, window=9)
    assert sizes.stages == 9
    expected = [[rows[row % 3][column % 3] for column in range(5)] for row in range(7)]
    assert token_stages(sizes, 7, 5).tolist() == expected


@pytest.mark.parametrize(("order", "words"), [
    ((), "square"), (((0, 1),), "square"), (((0, 2), (2, 0)), " 0 to 2"),
    (((0, -1), (1, 0)), "stages"), (((0, 10**15), (1, 0)), "stages"),
    (((0, 1, 1), (1, 1, 1), (1, 1, 1)), "window .*3"),
], ids=str)  # fmt: skip
def test_an_order_that_no_decoder_can_follow_is_refused(order, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, order=order)


@pytest.mark.parametrize("stage", range(TINY.stages))
def test_a_stage_sees_the_tokens_of_earlier_stages_alone(stage):
    stages = token_stages(TINY, 8, 8)[None]
    vectors = torch.randn(1, TINY.latent, 8, 8, requires_grad=True)
    logits = seeded()(tokens_of(8, 8), vectors, stages < stage, stages == stage)
    assert logits.shape == (int((stages == stage).sum()), TINY.books, TINY.entries)
    (logits * torch.randn_like(logits)).sum().backward()
    assert torch.equal(vectors.grad[0].abs().amax(0) > 0, (stages < stage)[0])


@pytest.mark.parametrize("part", range(3))
def test_a_part_sees_the_earlier_parts_of_its_own_token_and_no_later_one(part):
    network, stages = seeded(replace(TINY, books=3)), token_stages(TINY, 8, 8)[None]
    vectors = torch.randn(1, 3 * TINY.code_width, 8, 8)
    tokens = torch.randint(TINY.entries, (1, 3, 8, 8))
    changed_tokens = tokens.clone()
    changed_tokens[0, part, 0, 2] = (tokens[0, part, 0, 2] + 1) % TINY.entries  # of stage 2
    first, second = (network(t, vectors, stages < 2, stages == 2) for t in (tokens, changed_tokens))
    token_index = (stages == 2).nonzero().tolist().index([0, 0, 2])
    expected = [[token_index, later] for later in range(part + 1, 3)]
    assert (first != second).any(2).nonzero().tolist() == expected


@pytest.mark.parametrize("shape", [(2, 8, 16), (1, 9, 13), (3, 3, 5)], ids=str)
def test_windows_are_put_together_again(shape):
    windows = model.Windows.divide(shape, 8, torch.device("cpu"))
    values = torch.randn(*shape, 3) + 9
    parts = windows.split(values)
    assert torch.equal(windows.join(parts), values)
    is_inside = (parts != 0).all(2)
    expected = torch.ones_like(is_inside) if windows.is_inside is None else windows.is_inside
    assert torch.equal(is_inside, expected)
    assert torch.equal(parts[0].view(8, 8, 3)[: shape[1], : shape[2]], values[0, :8, :8])


def test_a_prediction_depends_on_its_window_within_the_image_alone():
    vectors, stages = torch.randn(1, TINY.latent, 13, 16), token_stages(TINY, 13, 16)[None]
    tokens, transformer = tokens_of(13, 16), seeded()
    all_logits = transformer(tokens, vectors, stages < 3, stages == 3)
    for window in (np.s_[:, :8, :8], np.s_[:, 8:, 8:]):
        part = stages[window]
        alone = transformer(tokens[:, *window], vectors[:, *window], part < 3, part == 3)
        of_part = torch.zeros_like(stages, dtype=torch.bool)
        of_part[window] = True
        result = all_logits[of_part[stages == 3]]
        assert torch.allclose(result, alone, atol=1e-5 * float(all_logits.abs().max()))


def test_attention_is_biased_by_the_relative_place_and_positions_are_normalised():
    layer = model.TransformerLayer(8, 2, 8, 4)
    result = layer.biases().detach().view(2, 4, 4, 4, 4)  # by row and column of query and key
    assert result[0, 3, 0, 0, 0] == result[0, 3, 1, 0, 1] == -3
    assert (result[1, 0, 0, 3, 0], result[1, 2, 2, 2, 2]) == (-1.5, 0)
    with torch.no_grad():
        layer.nearness[0, 3 + 1, 3 - 2] = 9.0  # one row below the key, two columns left of it
    changed = layer.biases().detach().view(2, 4, 4, 4, 4)[0]
    assert changed[1, 0, 0, 2] == changed[3, 1, 2, 3] == 9
    assert int((changed == 9).sum()) == 3 * 2
    values = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert torch.allclose(model.RootMeanSquareNorm(2)(values), values / 12.5**0.5)


@pytest.mark.parametrize(("field", "value"), [
    ("window", 6), ("window", 36), ("heads", 3), ("entries", 1), ("books", 0), ("width", 2048),
])  # fmt: skip
def test_dimensions_that_no_network_can_have_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        replace(TINY, **{field: value})


def seeded(sizes=TINY) -> MaskedTransformer:
    """A transformer whose predictions are far from uniform, the same in every process."""
    random = np.random.default_rng(5)
    transformer = MaskedTransformer(sizes).requires_grad_(False)
    for parameter in transformer.parameters():
        mean, spread = float(parameter.ndim == 1), 0.3 if parameter.ndim == 2 else 0.1
        parameter.copy_(torch.from_numpy(random.normal(mean, spread, parameter.shape)).float())
    return transformer


def inputs(rows: int, columns: int, stage: int):
    random = np.random.default_rng(6)
    vectors = torch.from_numpy(random.normal(size=(1, TINY.latent, rows, columns))).float()
    stages = token_stages(TINY, rows, columns)
    return vectors, stages < stage, stages == stage


def tokens_of(rows: int, columns: int) -> torch.Tensor:
    random = np.random.default_rng(7)
    return torch.from_numpy(random.integers(TINY.entries, size=(1, TINY.books, rows, columns)))


def parts_of(exact: ExactTransformer, rows: int, columns: int, stage: int):
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
    assert np.abs((expected * np.log2(expected / (result / 2**24))).sum(2)).max() < 1e-3


def test_no_sum_depends_on_its_order(monkeypatch):
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


def test_other_instructions_and_threads_give_the_same_bits():
    program = "from test_transformer import every_bit; print(every_bit(20, 13, 4))"
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    set_to = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    variables = {"PYTHONPATH": path, "OMP_NUM_THREADS": "2", **set_to}
    assert ran(sys.executable, "-c", program, **variables).stdout.strip() == every_bit(20, 13, 4)
