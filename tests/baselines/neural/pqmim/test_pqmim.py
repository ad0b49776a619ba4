"""PQ-MIM as a codec and its quantiser: rate by the model, hostile bytes, brute-force search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.field import PqMim
from baselines.neural.costs import costs
from baselines.neural.network import make_images, pad_pixels
from baselines.neural.pqmim.coder import PqMimCoder
from baselines.neural.pqmim.model import PqMimNetwork, ProductQuantiser, transformer_macs_per_pixel
from baselines.neural.pqmim.objective import BOOKS
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.suites import suite
from benchmark.codec import Setting
from benchmark.errors import CorruptStream, UsageError
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import PQMIM_MICRO as MICRO
from support.networks.tiny_checkpoint import PQMIM_TINY as TINY
from support.networks.tiny_checkpoint import noise

CONFIGURATIONS = {
    "default": TINY,
    "chessboard": replace(TINY, order=((0, 1), (1, 0))),
    "at once": replace(TINY, in_turn=False),
}


@pytest.fixture(scope="module", params=CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def network(request):
    torch.manual_seed(0)
    result = PqMimNetwork(request.param).requires_grad_(False)
    result.initialise(make_images(noise(256, 256), torch.device("cpu")), [])
    transformer = result.transformer
    for weights in (transformer.head.weight, transformer.embedding.weight, transformer.earlier):
        torch.nn.init.normal_(weights, std=0.4)
    return result.eval()


def latents_of(network, height, width):
    image = make_images(pad_pixels(noise(height, width, 9), 16), torch.device("cpu"))
    return network.analyse(image)


def test_real_bytes_are_within_half_a_percent_of_the_cross_entropy(network):
    latents = latents_of(network, 512, 768)
    tokens = network.quantiser.tokens(latents)
    bits, raw = float(network.stage_bits(tokens).sum()), float(network.raw_bits(tokens))
    assert abs(bits - raw) > 0.05 * raw  # not uniform
    assert 8 * len(PqMimCoder(network).encode(latents)) == pytest.approx(bits, rel=0.005)


@pytest.mark.parametrize("shape", [(16, 16), (17, 500), (200, 144)], ids=str)
def test_what_is_decoded_are_the_nearest_entries(network, shape, monkeypatch):
    latents, coder = latents_of(network, *shape), PqMimCoder(network)
    data = coder.encode(latents)
    expected = network.quantiser.vectors(network.quantiser.tokens(latents))
    assert torch.equal(coder.decode(data, *latents.shape[2:]), expected)
    monkeypatch.setattr("baselines.neural.pqmim.coder.ROW_BATCH", 5)
    assert coder.encode(latents) == data


def test_any_bytes_give_entries_or_a_corrupt_stream(network):
    coder, random = PqMimCoder(network), np.random.default_rng(2)
    data = coder.encode(latents_of(network, 64, 64))
    random_bytes = (random.bytes(len(data)), random.bytes(400))
    flipped = [bytes([*data[:place], data[place] ^ 1, *data[place + 1 :]]) for place in (0, 5)]
    for damaged in (b"", b"\0", b"\1", data[:-1], data + b"\1", *random_bytes, *flipped):
        with pytest.raises(CorruptStream):
            coder.decode(damaged, 4, 4)


def test_a_codec_names_its_source_and_refuses_other_checkpoints(tmp_path, monkeypatch):
    for seed, level in enumerate((1, 2)):
        write_tiny(tmp_path / f"pqmim-{level}.safetensors", "pqmim", seed=seed)
    write_tiny(tmp_path / "pqmim-perceptual-1.safetensors", "pqmim", seed=7)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    codec, perceptual = PqMim(), PqMim(perceptual=1)
    assert [entry.value for entry in codec.sweep] == [1, 2]
    assert [entry.value for entry in perceptual.sweep] == [1]
    info, perceptual_info = codec.describe(), perceptual.describe()
    assert info.caveat == "after the abstract; untrained"
    assert (info.tuned_for, perceptual_info.tuned_for) == ("PSNR", "perceptual quality")
    assert info.fingerprint != perceptual_info.fingerprint
    with pytest.raises(CorruptStream, match="pqmim"):
        perceptual.decode(codec.encode(noise(16, 16), Setting("level", 1)))


def test_each_level_has_its_books_and_the_transforms_take_the_small_work():
    assert [books * 8 / 256 for books in BOOKS] == [0.125, 0.25, 0.5, 1.0]  # bpp of 256 entries
    result = costs("pqmim", MICRO)
    inside = 4 * (128 * (4 * 128 + 2 * 512) + 4 * 128 + 512 + 128 + 2 * 128 + 4 * 31 * 31)
    ends = 64 * 128 + 128 + 128 + 256 * 128 + 128 + (128 + 1) * 8 * 256 + 7 * 256 * 128
    assert result["transformer"].parameters == inside + ends
    # A pass, as matrix products of whole windows of 256 tokens, 256 pixels each.
    layer = 128 * (4 * 128 + 2 * 512 + 2 * 256)
    assert transformer_macs_per_pixel(MICRO) * 256 == 4 * layer + 128 * (64 + 8 * 256)
    assert result["transformer"].macs_per_pixel == 5 * transformer_macs_per_pixel(MICRO)
    assert result["quantiser"].macs_per_pixel == 0


def test_a_members_autoencoder_sees_the_crops_of_a_level_and_its_transformer_as_many_pixels():
    recipe = load_recipe("night")
    runs = suite("generative", recipe, Path(), ["pqmim"])
    names = [f"pqmim-{level}" for level in (1, 2, 3, 4)]
    assert [run.name for run in runs] == [*names, *(f"pqmim-perceptual-{n}" for n in (1, 2, 3))]
    level_crops = recipe.crops_before(len(recipe.stages)) / 5
    for run in runs:
        *transforms, last = run.recipe.stages
        transform_crops = sum(stage.crops for stage in transforms)
        assert 0 <= transform_crops - level_crops <= recipe.stages[0].batch * len(transforms)
        assert {stage.objective for stage in transforms} == {"pqmim_autoencoder"}
        assert last.objective == "pqmim_transformer"
        assert last.crop_px == 16 * run.recipe.dimensions["window"]
        pixels = transform_crops * max(stage.crop_px for stage in recipe.stages) ** 2
        assert last.crops * last.crop_px**2 == pytest.approx(pixels, rel=0.15)
        assert any(stage.has_gan for stage in transforms) == ("perceptual" in run.name)
        assert run.recipe.dimensions["books"] == BOOKS[int(run.name[-1]) - 1]
    with pytest.raises(UsageError, match="pqmim-5"):
        suite("generative", recipe, Path(), ["pqmim-5"])


PARTS, ENTRIES, WIDTH = 3, 7, 4


@pytest.fixture
def quantiser():
    return ProductQuantiser(PARTS, ENTRIES, WIDTH)


@pytest.fixture
def latents():
    return torch.randn(2, PARTS * WIDTH, 5, 6)


def test_tokens_are_those_of_a_brute_force_search_with_their_entries_and_counts(quantiser, latents):
    vectors = quantiser.vectors(tokens := quantiser.tokens(latents))
    books, values = quantiser.codebooks.detach().double().numpy(), latents.double().numpy()
    for image, book, row, column in np.ndindex(2, PARTS, 5, 6):
        part = np.s_[image, book::PARTS, row, column]
        entry = ((books[book] - values[part]) ** 2).sum(1).argmin()
        assert tokens[image, book, row, column] == entry
        assert torch.equal(vectors[part], quantiser.codebooks[book, entry])
    for book, counts in enumerate(quantiser.counts(tokens)):
        expected = np.bincount(tokens[:, book].numpy().reshape(-1), minlength=ENTRIES)
        assert counts.tolist() == expected.tolist()


def test_gradients_pass_and_one_loss_moves_latents_the_other_entries(quantiser, latents):
    result, weights = quantiser(latents.requires_grad_()), torch.randn_like(latents)
    expected = quantiser.vectors(result.tokens)
    assert torch.allclose(result.vectors, expected, atol=1e-6)
    (result.vectors * weights).sum().backward(retain_graph=True)
    assert torch.equal(latents.grad, weights)
    assert quantiser.codebooks.grad is None or not quantiser.codebooks.grad.any()
    latents.grad = quantiser.codebooks.grad = None
    error = (latents - expected).detach()
    assert torch.allclose(result.commitment, error.square().sum(1).mean((1, 2)))
    assert torch.equal(result.commitment, result.codebook)
    result.commitment.sum().backward()
    assert torch.allclose(latents.grad, 2 * error / (5 * 6))
    assert quantiser.codebooks.grad is None
    latents.grad = None
    result.codebook.sum().backward()
    assert latents.grad is None
    assert quantiser.codebooks.grad.any()


def test_k_means_finds_clusters_and_unused_entries_come_beside_the_most_used_ones(quantiser):
    codebooks_before = quantiser.codebooks.detach().clone()
    counts = torch.ones(PARTS, ENTRIES)
    counts[0] = torch.tensor([0.0, 5, 0, 9, 1, 0, 0])
    replaced = quantiser.split_unused(counts, torch.Generator().manual_seed(0))
    codebooks_after = quantiser.codebooks.detach()
    assert replaced == 4
    assert torch.equal(codebooks_after[1:], codebooks_before[1:])
    assert torch.equal(codebooks_after[0, [1, 3, 4]], codebooks_before[0, [1, 3, 4]])
    for entry, source in ((0, 3), (2, 1), (5, 4), (6, 3)):
        distance = (codebooks_after[0, entry] - codebooks_before[0, source]).abs().max()
        assert 0 < distance < 0.5 * codebooks_before[0].std()
    centres = 10 * torch.randn(PARTS, ENTRIES, WIDTH)
    indices = torch.randint(ENTRIES, (8, PARTS, 20, 20))
    quantiser.codebooks.data.copy_(centres)
    latents = quantiser.vectors(indices).detach() + 0.01 * torch.randn(8, PARTS * WIDTH, 20, 20)
    quantiser.codebooks.data.normal_()
    loss_before = quantiser(latents).commitment.mean()
    quantiser.fit(latents)
    result = quantiser(latents)
    assert result.commitment.mean() < 0.2 * loss_before
    for book, entries in enumerate(quantiser.codebooks.detach()):  # each is the mean of its own
        parts, tokens = quantiser.parts(latents)[:, book], result.tokens[:, book]
        for number, entry in enumerate(entries):
            assert torch.allclose(entry, parts[tokens == number].mean(0), atol=0.01)
