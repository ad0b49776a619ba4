"""The two objectives of PQ-MIM: losses by formula, masks, frozen parts, replaced entries."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from baselines.neural.pqmim import objective as objectives
from baselines.neural.pqmim.model import token_stages
from baselines.neural.training.objective import Batch
from support.networks.tiny_checkpoint import PQMIM_TINY as TINY
from support.networks.tiny_checkpoint import noise
from support.training.every_stage import objective_of


def test_the_autoencoders_loss_is_distortion_commitment_and_codebook():
    objective, network, batch = objective_of("pqmim_autoencoder")
    result = objective.loss(network, batch, 0)
    latents = network.analyse(batch.crops)
    vectors = network.quantiser.vectors(network.quantiser.tokens(latents))
    mse = float(((network.synthesise(vectors) - batch.crops) / 2).detach().square().mean())
    commitment = float((latents - vectors).detach().square().sum(1).mean())
    assert float(result.total.detach()) == pytest.approx(150 * mse + 1.25 * commitment, rel=1e-4)
    assert float(result.numbers["bpp"]) == pytest.approx(2 * 4 / 256)
    result.total.backward()
    reached = {name for name, tensor in network.named_parameters() if tensor.grad is not None}
    assert {name.partition(".")[0] for name in reached} == {"analysis", "synthesis", "quantiser"}


def test_entries_are_replaced_periodically_and_their_counts_survive_an_interruption(monkeypatch):
    monkeypatch.setattr(objectives, "SPLIT_EVERY_STEPS", 3)
    objective, network, batch = objective_of("pqmim_autoencoder")
    network.quantiser.codebooks.data[0, 5] = 1e3
    updates = [objective.loss(network, batch, step).after_step(1.0) for step in range(3)]
    assert updates[:2] == [{}, {}]
    assert updates[2]["replaced"] >= 1
    assert network.quantiser.codebooks[0, 5].abs().max() < 1e2
    objective, network, batch = objective_of("pqmim_autoencoder")
    objective.loss(network, batch, 0).after_step(1.0)
    second, *_ = objective_of("pqmim_autoencoder")
    second.load_state(deepcopy(objective.state()))
    second.loss(network, batch, 1).after_step(1.0)
    tokens = network.quantiser.tokens(network.analyse(batch.crops))
    assert torch.equal(second.state()["counts"], 2 * network.quantiser.counts(tokens))


def test_a_discriminator_sees_the_code_vectors_and_learns():
    fields = {"gan": 0.5, "discriminator_channels": (4, 8)}
    objective, network, batch = objective_of("pqmim_autoencoder", **fields)
    result = objective.loss(network, batch, 0)
    plain, *_ = objective_of("pqmim_autoencoder")
    without = float(plain.loss(network, batch, 0).total.detach())
    extra = 0.5 * float(result.numbers["generator"].detach())
    assert float(result.total.detach()) == pytest.approx(without + extra, rel=1e-5)
    assert result.after_step(1.0)["discriminator"] > 0
    assert objective.state()["adversary"]["network"]


def test_half_of_the_masks_are_stages_of_decoding_and_the_others_random():
    objective, *_ = objective_of("pqmim_transformer", batch=64)
    stages = token_stages(TINY, 8, 8).numpy()
    shares, stages_drawn = [], []
    for step in range(12):
        masks = (mask.numpy() for mask in objective.masks(TINY, step, 8, 8))
        for is_known, is_wanted in zip(*masks, strict=True):
            assert is_wanted.any()
            assert not (is_known & is_wanted).any()
            numbers = [s for s in range(TINY.stages) if np.array_equal(is_wanted, stages == s)]
            if numbers and np.array_equal(is_known, stages < numbers[0]):
                stages_drawn += numbers
            else:
                assert (is_known | is_wanted).all()
                shares.append(is_wanted.mean())
    assert len(stages_drawn) / (12 * 64) == pytest.approx(0.5, abs=0.07)
    assert {*stages_drawn} == {*range(TINY.stages)}
    assert np.mean(shares) == pytest.approx(2 / np.pi, abs=0.05)  # of cos(pi u / 2)


def test_the_transformer_learns_tokens_that_neighbours_tell_and_nothing_else_learns():
    objective, network, _ = objective_of("pqmim_transformer")
    for name in objectives.Transformer.frozen:
        network.get_submodule(name).requires_grad_(False)
    flat = torch.linspace(-0.9, 0.9, 8).repeat_interleave(16)
    batch = Batch(flat.expand(2, 3, 128, 128).contiguous())  # every row of tokens is the same
    optimiser, losses = torch.optim.Adam(network.transformer.parameters(), 3e-3), []
    for step in range(60):
        result = objective.loss(network, batch, step)
        optimiser.zero_grad()
        result.total.backward()
        optimiser.step()
        losses.append(float(result.numbers["bits_per_part"].detach()))
    assert losses[0] == pytest.approx(math.log2(16), rel=0.2)
    assert np.mean(losses[-10:]) < 0.3 * losses[0]
    assert all(parameter.grad is None for parameter in network.analysis.parameters())


def test_a_validation_has_the_rate_by_the_transformer_and_the_loss_before_it():
    objective, network, _ = objective_of("pqmim_transformer")
    torch.nn.init.zeros_(network.transformer.head.weight)
    photographs = [noise(64, 128, 3), noise(128, 64, 4)]
    (point,) = objective.validate(network, photographs).points
    assert point.bpp == pytest.approx(2 * 4 / 256, rel=1e-6)
    assert point.psnr_db > 5
    autoencoder, network, _ = objective_of("pqmim_autoencoder")
    result = autoencoder.validate(network, photographs)
    assert result == autoencoder.validate(network, photographs)
    assert result.loss > 0
    counts = torch.tensor([[8.0, 8, 0, 0], [4, 4, 4, 4]])
    assert objectives.perplexities(counts).tolist() == pytest.approx([2, 4])
