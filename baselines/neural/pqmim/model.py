"""The network of PQ-MIM: transforms, product quantisation, and the transformer that codes tokens.

::

    x ─ analysis ─ nearest entries of M codebooks ─ tokens ─ entries ─ synthesis ─> x_hat
                                                      └ transformer: their distributions

El-Nouby, Muckley, Ullrich, Laptev, Verbeek, Jégou, "Image compression with product quantized masked
image modeling" (TMLR 2023): a network for each rate, by the number and size of its codebooks.
Only the abstract was at hand: the transforms are those of ELIC without attention.

The masked transformer: a categorical distribution for each part of each unknown token.

::

    known tokens' vectors ─ linear ─┐
    a vector for the unknown ─────┴─ + place ─ layers of attention, perceptron ─ norm ─┐
    a vector for each earlier part of the token ─────────────────────────────────────────┴─ linear

As in masked image models (Chang et al., "MaskGIT", CVPR 2022), all unknown tokens are predicted at
once from the known ones, within windows. Our choices: normalisation by the root mean square, ReLUs,
windows that do not move, a bias of attention for each relative place (Liu et al., ICCV 2021), and
parts of a token coded in turn, unless `in_turn` is false.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from baselines.neural.architecture import PqMimSizes
from baselines.neural.blocks.layers import analysis_layers, synthesis_layers
from baselines.neural.blocks.start_values import set_latent_gain, start_transforms
from baselines.neural.network import Estimate, Network

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

    Jégou, Douze, Schmid (TPAMI 2011), learnt with a straight-through gradient and a commitment as
    in van den Oord et al. (NeurIPS 2017). Channel i M + m is component i of book m.
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
        """Replace entries of count 0 by noisy copies of the most used ones; return how many."""
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
        """Set the codebooks by k-means of latents (N, M d, h, w), from random entries of them."""
        parts = self.parts(latents).permute(1, 0, 2, 3, 4).flatten(1, 3)  # (M, n, d)
        entries = self.codebooks.shape[1]
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, ())))
        chosen = torch.randint(parts.shape[1], (entries,), generator=generator)
        self.codebooks.copy_(parts[:, chosen])
        self.codebooks.add_(torch.randn(self.codebooks.shape, generator=generator), alpha=1e-3)
        for _ in range(LLOYD_STEPS):
            tokens = self.tokens(latents)
            counts = self.counts(tokens)
            index = tokens.transpose(0, 1).flatten(1)[:, :, None].expand_as(parts)
            sums = torch.zeros_like(self.codebooks).scatter_add_(1, index, parts)
            means = sums / counts.clamp(min=1)[:, :, None]
            self.codebooks.copy_(torch.where(counts[:, :, None] > 0, means, self.codebooks))
            self.split_unused(counts, generator)


FACTOR = 16  # pixels along a token


def transformer_macs_per_pixel(sizes: PqMimSizes) -> float:
    """Return the multiply-accumulates of a pass of the transformer in whole windows, per pixel."""
    keys = sizes.window**2
    layer = sizes.width * (4 * sizes.width + 2 * sizes.hidden + 2 * keys)
    ends = sizes.width * (sizes.latent + sizes.books * sizes.entries)
    return (sizes.layers * layer + ends) / FACTOR**2


class Windows(NamedTuple):
    """Windows of a batch of images, row by row in each, those at the edges filled up."""

    side: int  # of a window, tokens
    shape: tuple[int, ...]  # images, rows and columns of tokens
    inside: Tensor | None  # bool (windows, side^2), false where no token is; None: all are

    @classmethod
    def of(cls, shape: tuple[int, ...], side: int, device: torch.device) -> "Windows":
        """Return the windows of `shape`, the number of images, their rows and columns of tokens."""
        _, rows, columns = shape
        whole = cls(side, shape, None)
        if rows % side == 0 and columns % side == 0:
            return whole
        return cls(side, shape, whole.split(torch.ones(*shape, 1, device=device))[:, :, 0] > 0)

    def split(self, values: Tensor) -> Tensor:
        """Return values (N, rows, columns, C) as (windows, side^2, C), zeros where no token is."""
        side, (count, rows, columns) = self.side, self.shape
        filled = pad(values, (0, 0, 0, -columns % side, 0, -rows % side))
        down, across = filled.shape[1] // side, filled.shape[2] // side
        grid = filled.view(count, down, side, across, side, -1)
        return grid.transpose(2, 3).reshape(count * down * across, side * side, -1)

    def join(self, values: Tensor) -> Tensor:
        """Return (windows, side^2, C) as (N, rows, columns, C): the inverse of `split`."""
        side, (count, rows, columns) = self.side, self.shape
        down, across = -(-rows // side), -(-columns // side)
        grid = values.view(count, down, across, side, side, -1).transpose(2, 3)
        return grid.reshape(count, down * side, across * side, -1)[:, :rows, :columns]


EPSILON = 1e-6
SPREAD = 0.02  # of the last layer at the start
PLACE_SPREAD = 0.5  # of the vectors beside embedded tokens


class RootMeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-6), times a gain for each channel (Zhang, Sennrich, 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise `values` (..., C)."""
        exact = values.float()
        normal = exact / (exact.square().mean(-1, keepdim=True) + EPSILON).sqrt() * self.gain
        return normal.to(values.dtype)


class Layer(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x))."""

    def __init__(self, width: int, heads: int, hidden: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        along = torch.arange(1 - window, window).float()
        slopes = 0.5 ** torch.arange(heads).float()[:, None, None]
        self.nearness = nn.Parameter(-torch.hypot(along[:, None], along) * slopes)
        self.attention_norm, self.perceptron_norm = (RootMeanSquareNorm(width) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.expand, self.reduce = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, features: Tensor, inside: Tensor | None) -> Tensor:
        """Map `features` (windows, tokens, C); those that `inside` denies are attended by none."""
        projected = self.query_key_value(self.attention_norm(features))
        query, key, value = by_heads(projected, self.heads)
        bias = self.biases().to(query.dtype)[None]
        if inside is not None:
            bias = bias.masked_fill(~inside[:, None, None], -torch.inf)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        features = features + self.mix(attended.transpose(1, 2).flatten(2))
        inner = self.expand(self.perceptron_norm(features)).relu()
        return features + self.reduce(inner)

    def biases(self) -> Tensor:
        """Return the bias of each query for each key, (heads, window^2, window^2)."""
        row, column = torch.meshgrid(*(torch.arange(self.window),) * 2, indexing="ij")
        places = torch.stack([row.reshape(-1), column.reshape(-1)])
        down, across = places[:, :, None] - places[:, None, :] + self.window - 1
        return self.nearness[:, down, across]


def by_heads(values: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (windows, heads, tokens, C / heads) of (..., tokens, 3 C)."""
    split = values.view(*values.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return split[0], split[1], split[2]


def picked(values: Tensor, wanted: Tensor) -> Tensor:
    """Return the vectors (P, ...) of `values` (N, h, w, ...) where `wanted` (N, h, w) is true."""
    places = wanted.reshape(-1).nonzero()[:, 0].to(values.device, non_blocking=True)
    return values.flatten(0, 2)[places]


class MaskedTransformer(nn.Module):
    """Predictor of unknown tokens."""

    def __init__(self, sizes: PqMimSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Linear(sizes.latent, sizes.width)
        self.unknown = nn.Parameter(torch.randn(sizes.width) * PLACE_SPREAD)
        self.places = nn.Parameter(torch.randn(sizes.window**2, sizes.width) * PLACE_SPREAD)
        self.layers = nn.ModuleList(
            Layer(sizes.width, sizes.heads, sizes.hidden, sizes.window) for _ in range(sizes.layers)
        )
        self.norm = RootMeanSquareNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.books * sizes.entries)
        nn.init.normal_(self.head.weight, std=SPREAD)
        nn.init.zeros_(self.head.bias)
        tables = sizes.books - 1 if sizes.in_turn else 0
        self.earlier = nn.Parameter(torch.zeros(tables, sizes.entries, sizes.width))

    def forward(self, tokens: Tensor, vectors: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
        """Return logits (P, M, K) of the P tokens that are `wanted`, image by image, row by row.

        tokens: int64 (N, M, h, w); vectors: (N, M d, h, w), their entries. Logits of part m depend
        on `known` tokens and on parts 0 to m - 1 of the token itself. `wanted` is on the CPU.
        """
        embedded = self.embedding(vectors.permute(0, 2, 3, 1))
        features = torch.where(known[..., None], embedded, self.unknown.to(embedded.dtype))
        windows = Windows.of(known.shape, self.sizes.window, vectors.device)
        features = windows.split(features) + self.places
        for layer in self.layers:
            features = layer(features, windows.inside)
        of_tokens = self.norm(picked(windows.join(features), wanted))
        chosen = picked(tokens.permute(0, 2, 3, 1), wanted)
        of_parts = of_tokens[:, None] + self._of_earlier_parts(chosen)
        by_book = self.head.weight.view(self.sizes.books, self.sizes.entries, -1)
        products = torch.einsum("pmc,mkc->pmk", of_parts, by_book)
        return products + self.head.bias.view(self.sizes.books, -1)

    def _of_earlier_parts(self, chosen: Tensor) -> Tensor:
        """Return the sums (P, M, C) of the vectors of the parts before each of tokens (P, M)."""
        book = torch.arange(len(self.earlier), device=chosen.device)
        sums = self.earlier[book, chosen[:, : len(book)]].cumsum(1)
        return pad(sums, (0, 0, chosen.shape[1] - len(book), 0))


def stages_of(
    sizes: PqMimSizes, rows: int, columns: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the stage, int64, of `rows` x `columns` tokens: the order's square, repeated."""
    square = torch.tensor(sizes.order, device=device)
    row, column = (torch.arange(count, device=device) % len(square) for count in (rows, columns))
    return square[row[:, None], column]


class PqMimNetwork(Network):
    """The network; images are in [-1, 1], with sides that are multiples of 16."""

    stride = FACTOR
    recordable = False  # its bits wait for the number of tokens of each stage
    coder_type = "baselines.neural.pqmim.coder:PqMimCoder"
    quantised_bits: Mapping[str, int] = {
        **{f"{part}.{block}.": 8 for part in ("analysis", "synthesis") for block in (1, 3, 5)},
        "transformer.": 4,
        "transformer.head.": 5,
        "transformer.earlier": 3,
    }

    def __init__(self, sizes: PqMimSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.analysis = nn.Sequential(*(layer for layer, _ in analysis_layers(sizes)))
        self.synthesis = nn.Sequential(*(layer for layer, _ in synthesis_layers(sizes)))
        self.quantiser = ProductQuantiser(sizes.books, sizes.entries, sizes.code_width)
        self.transformer = MaskedTransformer(sizes)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the codebooks as "prior", whose learning rate a stage scales, and the rest."""
        books = self.quantiser.codebooks
        return {"prior": [books], "rest": [of for of in self.parameters() if of is not books]}

    def further_macs_per_pixel(self) -> Mapping[str, float]:
        """Return the work of the transformer, which runs once for each stage of the tokens."""
        return {"transformer": self.sizes.stages * transformer_macs_per_pixel(self.sizes)}

    def analyse(self, images: Tensor, controls: None = None) -> Tensor:
        """Return latents (N, M d, H / 16, W / 16), not quantised, of images (N, 3, H, W)."""
        return self.analysis(images)

    def synthesise(self, vectors: Tensor, controls: None = None) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of quantised latents."""
        return self.synthesis(vectors)

    def autoencode(self, images: Tensor) -> tuple[Tensor, Quantised]:
        """Return the reconstructions of images (N, 3, H, W) in [-1, 1], and what is coded."""
        quantised: Quantised = self.quantiser(self.analyse(images).float())
        return self.synthesise(quantised.vectors), quantised

    def forward(self, images: Tensor, controls: None, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1]; there is no noise to add."""
        decoded, quantised = self.autoencode(images)
        bits = self.stage_bits(quantised.tokens).sum(0)
        return Estimate(decoded, bits, torch.zeros_like(bits), quantised.vectors)

    def raw_bits(self, tokens: Tensor) -> Tensor:
        """Return M log2 K bits for each position of tokens (N, M, h, w): float32 (N,)."""
        bits = tokens[0].numel() * math.log2(self.sizes.entries)
        return torch.full((len(tokens),), bits, device=tokens.device)

    def stage_bits(self, tokens: Tensor) -> Tensor:
        """Return the bits (stages, N) of tokens (N, M, h, w) by stage, given those before."""
        vectors = self.quantiser.vectors(tokens)
        count, _, rows, columns = tokens.shape
        stages = stages_of(self.sizes, rows, columns, tokens.device).expand(count, -1, -1)
        bits = torch.zeros(self.sizes.stages, count, device=tokens.device)
        for stage in range(self.sizes.stages):
            wanted = stages == stage
            if bool(wanted.any()):
                logits = self.transformer(tokens, vectors, stages < stage, wanted)
                costs = token_bits(logits, tokens, wanted)
                bits[stage] = costs.sum(1).view(count, -1).sum(1)
        return bits

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform of `images` (n, 3, h, w), with fitted codebooks."""
        spread = start_transforms(self.analysis, self.synthesis, self.sizes, images)
        gain = float(spread.square().mean().rsqrt())
        set_latent_gain(self.analysis, self.synthesis, gain)
        with torch.no_grad():
            self.quantiser.fit(self.analyse(images))


def token_bits(logits: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
    """Return the bits (P, M) of `wanted` tokens (N, M, h, w), given `logits` (P, M, K)."""
    chosen = picked(tokens.permute(0, 2, 3, 1), wanted)
    logs = logits.float().log_softmax(2) / torch.log(torch.tensor(2.0))
    return -logs.gather(2, chosen[:, :, None])[:, :, 0]
