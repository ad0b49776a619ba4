"""Small entropy paths to test, and symbols for them."""

from dataclasses import replace

import torch

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy.hyperprior_coder import EntropyPath
from baselines.neural.entropy.integer.integer_path import (
    activation_names,
    fractional_bit_tables,
    round_to_symbols,
    run_decoding,
)
from support.networks.tiny_checkpoint import TINY

SIZES = {
    "tiny": TINY,
    "no support": replace(TINY, support_slices=0),
    "one slice": replace(TINY, slices=(12,), support_slices=1),
}


def extreme(shape: tuple[int, ...], limit: int, seed: int) -> torch.Tensor:
    """A third of the numbers at either end of the range, the others anywhere in it."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-limit, limit + 1, shape, generator=generator)
    ends = torch.randint(-1, 2, shape, generator=generator)
    return torch.where(ends == 0, values, ends * limit).to(torch.int16)


def default_fractional_bits(model):
    """Return 7 for every activation: values within +-63.5."""
    return dict.fromkeys(activation_names(model), 7)


def network(sizes=TINY) -> CRDRNetwork:
    """Return a network whose means, scales and residuals all differ, with scales of all sizes."""
    torch.manual_seed(0)
    model = CRDRNetwork(sizes).eval()
    with torch.no_grad():
        model.prior.quantiles[:, 1].uniform_(-3, 3)
        for parameter in (*model.hyper_synthesis.parameters(), *model.context.parameters()):
            parameter.mul_(3)
    return model


def path_of(model, tables, fractional_bits=None, **options) -> EntropyPath:
    """Return the path of a checkpoint that holds these tables and fractional bits."""
    bits = fractional_bits or default_fractional_bits(model)
    return EntropyPath(model, {**tables, **fractional_bit_tables(bits)}, **options)


def latents(count: int, sizes=TINY, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, sizes.latent, 8, 12, generator=generator)
    return values * torch.logspace(-1, 1.3, sizes.latent).view(-1, 1, 1)


def z_symbols(count: int, sizes=TINY) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(-9, 10, (count, sizes.hyper_latent, 2, 3), generator=generator)


def encode(path: EntropyPath, hyper: torch.Tensor, values: torch.Tensor):
    """Return all symbols, scale indices, means and decoded latents, int64."""
    parts = iter(values.split(path.widths, dim=1))
    return _followed(path, hyper, lambda means: round_to_symbols(next(parts), means))


def decode(path: EntropyPath, hyper: torch.Tensor, symbols: torch.Tensor):
    parts = iter(symbols.split(path.widths, dim=1))
    return _followed(path, hyper, lambda _means: next(parts))[1:]


def _followed(path, hyper, symbols_by_means):
    rows = []

    def symbols_of_piece(parameters):
        rows.append((symbols_by_means(parameters.means), *parameters))
        return rows[-1][0]

    latents = run_decoding(path.decoding(hyper), symbols_of_piece)
    return [*(torch.cat(parts, dim=1).long() for parts in zip(*rows, strict=True)), latents.long()]


def same(first, second) -> bool:
    return all(torch.equal(*pair) for pair in zip(first, second, strict=True))
