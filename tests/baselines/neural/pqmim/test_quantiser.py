"""Product quantisation: brute-force search, gradients, k-means, entries that nobody uses."""

import numpy as np
import pytest
import torch

from baselines.neural.pqmim.model import ProductQuantiser

BOOKS, ENTRIES, WIDTH = 3, 7, 4


@pytest.fixture
def quantiser():
    torch.manual_seed(0)
    return ProductQuantiser(BOOKS, ENTRIES, WIDTH)


@pytest.fixture
def latents():
    torch.manual_seed(1)
    return torch.randn(2, BOOKS * WIDTH, 5, 6)


def test_tokens_are_those_of_a_brute_force_search_with_their_entries_and_counts(quantiser, latents):
    tokens = quantiser.tokens(latents)
    vectors = quantiser.vectors(tokens)
    assert vectors.shape == latents.shape
    books, values = quantiser.codebooks.detach().double().numpy(), latents.double().numpy()
    for image, book, row, column in np.ndindex(2, BOOKS, 5, 6):
        part = np.s_[image, book::BOOKS, row, column]
        entry = ((books[book] - values[part]) ** 2).sum(1).argmin()
        assert tokens[image, book, row, column] == entry
        assert torch.equal(vectors[part], quantiser.codebooks[book, entry])
    for book, counts in enumerate(quantiser.counts(tokens)):
        expected = np.bincount(tokens[:, book].numpy().reshape(-1), minlength=ENTRIES)
        assert counts.tolist() == expected.tolist()


def test_the_gradient_passes_through_unchanged_and_leaves_the_codebooks_alone(quantiser, latents):
    latents.requires_grad_(True)
    result = quantiser(latents).vectors
    weights = torch.randn_like(latents)
    (result * weights).sum().backward()
    assert torch.equal(latents.grad, weights)
    assert quantiser.codebooks.grad is None or not quantiser.codebooks.grad.any()
    assert torch.allclose(result, quantiser.vectors(quantiser.tokens(latents)), atol=1e-6)


def test_commitment_moves_latents_and_the_codebook_loss_entries(quantiser, latents):
    latents.requires_grad_(True)
    result = quantiser(latents)
    error = (latents - quantiser.vectors(result.tokens)).detach()
    assert torch.allclose(result.commitment, error.square().sum(1).mean((1, 2)))
    assert torch.equal(result.commitment, result.codebook)
    result.commitment.sum().backward()
    assert torch.allclose(latents.grad, 2 * error / (5 * 6))
    assert quantiser.codebooks.grad is None
    latents.grad = None
    quantiser(latents).codebook.sum().backward()
    assert latents.grad is None
    assert quantiser.codebooks.grad.any()


def test_unused_entries_come_to_lie_beside_the_most_used_ones(quantiser):
    codebooks_before = quantiser.codebooks.detach().clone()
    counts = torch.ones(BOOKS, ENTRIES)
    counts[0] = torch.tensor([0.0, 5, 0, 9, 1, 0, 0])
    replaced = quantiser.split_unused(counts, torch.Generator().manual_seed(0))
    codebooks_after = quantiser.codebooks.detach()
    assert replaced == 4
    assert torch.equal(codebooks_after[1:], codebooks_before[1:])
    assert torch.equal(codebooks_after[0, [1, 3, 4]], codebooks_before[0, [1, 3, 4]])
    for entry, source in ((0, 3), (2, 1), (5, 4), (6, 3)):
        distance = (codebooks_after[0, entry] - codebooks_before[0, source]).abs().max()
        assert 0 < distance < 0.5 * codebooks_before[0].std()


def test_k_means_finds_clusters(quantiser):
    centres = 10 * torch.randn(BOOKS, ENTRIES, WIDTH)
    indices = torch.randint(ENTRIES, (8, BOOKS, 20, 20))
    quantiser.codebooks.data.copy_(centres)
    latents = quantiser.vectors(indices).detach() + 0.01 * torch.randn(8, BOOKS * WIDTH, 20, 20)
    quantiser.codebooks.data.normal_()
    loss_before = quantiser(latents).commitment.mean()
    quantiser.fit(latents)
    result = quantiser(latents)
    assert result.commitment.mean() < 0.2 * loss_before
    for book, entries in enumerate(quantiser.codebooks.detach()):  # each is the mean of its own
        parts, tokens = quantiser.parts(latents)[:, book], result.tokens[:, book]
        for number, entry in enumerate(entries):
            assert torch.allclose(entry, parts[tokens == number].mean(0), atol=0.01)
