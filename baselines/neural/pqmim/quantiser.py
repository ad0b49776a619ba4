"""Product quantisation: a position's vector is split, each part has a codebook of its own.

Jégou, Douze, Schmid, "Product quantization for nearest neighbor search" (TPAMI 2011); learnt with a
straight-through gradient and a commitment as in van den Oord et al., "Neural discrete
representation learning" (NeurIPS 2017). Codebooks learn by their gradient, and vectors are not
normalised: both are our choice.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

FIRST_SPREAD = 0.5  # of random entries
SPLIT = 0.05  # of an entry's standard deviation: noise of a copy
LLOYD_STEPS = 8


class Quantised(NamedTuple):
    """Quantised latents, and the losses of encoder and codebooks."""

    tokens: Tensor  # int64 (N, M, h, w), in 0..K-1
    vectors: Tensor  # (N, M d, h, w); the gradient reaches the latents unchanged
    commitment: Tensor  # (N,) mean squared distance, whose gradient moves latents to entries
    codebook: Tensor  # (N,) the same number, whose gradient moves entries to their latents


class ProductQuantiser(nn.Module):
    """M codebooks of K entries of d channels, for latents (N, M d, h, w).

    Channel i M + m is component i of book m, so that books share variances evenly.
    """

    def __init__(self, books: int, entries: int, width: int) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.randn(books, entries, width) * FIRST_SPREAD)

    def tokens(self, latents: Tensor) -> Tensor:
        """Return the nearest entries of latents (N, M d, h, w): int64 (N, M, h, w)."""
        books = self.codebooks.detach()
        parts = self.parts(latents.detach().float())
        # |v - e|^2 is smallest where v e - |e|^2 / 2 is largest.
        scores = torch.einsum("nmhwd,mkd->nmhwk", parts, books)
        scores -= books.square().sum(2).mul(0.5)[:, None, None]
        return scores.argmax(4)

    def parts(self, latents: Tensor) -> Tensor:
        """Return the parts (N, M, h, w, d) of latents (N, M d, h, w)."""
        books, _, width = self.codebooks.shape
        count, _, rows, columns = latents.shape
        return latents.reshape(count, width, books, rows, columns).permute(0, 2, 3, 4, 1)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return the entries (N, M d, h, w) that tokens (N, M, h, w) name."""
        books, _, width = self.codebooks.shape
        book = torch.arange(books, device=tokens.device)[:, None, None]
        entries = self.codebooks[book, tokens]  # (N, M, h, w, d)
        count, _, rows, columns = tokens.shape
        return entries.permute(0, 4, 1, 2, 3).reshape(count, width * books, rows, columns)

    def forward(self, latents: Tensor) -> Quantised:
        """Quantise latents (N, M d, h, w), float32."""
        tokens = self.tokens(latents)
        vectors = self.vectors(tokens)
        return Quantised(
            tokens,
            latents + (vectors - latents).detach(),
            (latents - vectors.detach()).square().sum(1).mean((1, 2)),
            (vectors - latents.detach()).square().sum(1).mean((1, 2)),
        )

    def counts(self, tokens: Tensor) -> Tensor:
        """Return how often each entry occurs in tokens (N, M, h, w): float32 (M, K)."""
        # bincount would wait for the length of its result on a GPU.
        entries = tokens.transpose(0, 1).flatten(1)
        zeros = torch.zeros(self.codebooks.shape[:2], device=tokens.device)
        return zeros.scatter_add_(1, entries, torch.ones_like(entries, dtype=zeros.dtype))

    @torch.no_grad()
    def split_unused(self, counts: Tensor, generator: torch.Generator) -> int:
        """Replace entries of count 0 in `counts` (M, K) by noisy copies of the most used ones.

        As Linde, Buzo, Gray (1980) split; the same in all processes. Returns the number of replaced
        ones.
        """
        replaced = 0
        for book, used in zip(self.codebooks, counts.to(self.codebooks.device), strict=True):
            unused = torch.nonzero(used == 0)[:, 0]
            order = used.argsort(descending=True, stable=True)[: max(1, int((used > 0).sum()))]
            sources = order[torch.arange(len(unused), device=order.device) % len(order)]
            noise = torch.randn(len(unused), book.shape[1], generator=generator).to(book)
            book[unused] = book[sources] + SPLIT * book.std(0) * noise
            replaced += len(unused)
        return replaced

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Set the codebooks by k-means of latents (N, M d, h, w), from entries drawn of them."""
        parts = self.parts(latents).permute(1, 0, 2, 3, 4).flatten(1, 3)  # (M, n, d)
        entries = self.codebooks.shape[1]
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, ())))
        drawn = torch.randint(parts.shape[1], (entries,), generator=generator)
        self.codebooks.copy_(parts[:, drawn])
        self.codebooks.add_(torch.randn(self.codebooks.shape, generator=generator), alpha=1e-3)
        for _ in range(LLOYD_STEPS):
            tokens = self.tokens(latents)
            counts = self.counts(tokens)
            index = tokens.transpose(0, 1).flatten(1)[:, :, None].expand_as(parts)
            sums = torch.zeros_like(self.codebooks).scatter_add_(1, index, parts)
            means = sums / counts.clamp(min=1)[:, :, None]
            self.codebooks.copy_(torch.where(counts[:, :, None] > 0, means, self.codebooks))
            self.split_unused(counts, generator)
