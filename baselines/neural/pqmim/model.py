"""PQ-MIM's network: transforms, product quantisation, and the transformer that codes tokens::

    x ─ analysis ─ nearest entries of M codebooks ─ tokens ─ entries ─ synthesis ─> x_hat
                                                      └ transformer: distributions of tokens

El-Nouby et al., "Image compression with product quantized masked image modeling" (TMLR 2023), from
the abstract: one network per rate, with its own number and size of codebooks; transforms are ELIC's
without attention. The transformer predicts a categorical distribution for each part of each unknown
token, all at once from the known tokens, in windows (Chang et al., "MaskGIT", CVPR 2022)::

    known tokens' vectors ─ linear ─┐
    a vector for the unknown ─────┴─ + place ─ layers of attention, perceptron ─ norm ─┐
    a vector for each earlier part of the token ─────────────────────────────────────────┴─ linear

Our choices: normalisation by the root mean square, ReLUs, fixed windows, an attention bias for each
relative position (Liu et al., ICCV 2021), and parts coded in turn unless `in_turn` is false.
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

INITIAL_STD = 0.5  # standard deviation of random entries
SPLIT_NOISE = 0.05  # noise added to a copied entry, in standard deviations of the codebook
LLOYD_STEPS = 8  # iterations of k-means


class Quantised(NamedTuple):
    """Quantised latents, with the losses of encoder and codebooks."""

    tokens: Tensor  # int64 (N, M, h, w), in 0..K-1
    vectors: Tensor  # (N, M d, h, w); gradients pass to the latents unchanged
    commitment: Tensor  # (N,) mean squared distances, whose gradient moves latents to entries
    codebook: Tensor  # (N,) the same values, whose gradient moves entries to latents


class ProductQuantiser(nn.Module):
    """M codebooks for latents (N, M d, h, w), each with K entries of d channels."""

    # Jégou, Douze, Schmid (TPAMI 2011), trained with a straight-through gradient and a commitment
    # loss as in van den Oord et al. (NeurIPS 2017). Channel i M + m is component i of book m.

    def __init__(self, books: int, entries: int, width: int) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.randn(books, entries, width) * INITIAL_STD)

    def tokens(self, latents: Tensor) -> Tensor:
        """Return the entries nearest to latents (N, M d, h, w): int64 (N, M, h, w)."""
        books = self.codebooks.detach()
        parts = self.parts(latents.detach().float())
        # minimising |v - e|^2 maximises v e - |e|^2 / 2
        scores = torch.einsum("nmhwd,mkd->nmhwk", parts, books)
        scores -= books.square().sum(2).mul(0.5)[:, None, None]
        return scores.argmax(4)

    def parts(self, latents: Tensor) -> Tensor:
        """Split latents (N, M d, h, w) into parts (N, M, h, w, d)."""
        books, _, width = self.codebooks.shape
        count, _, rows, columns = latents.shape
        return latents.reshape(count, width, books, rows, columns).permute(0, 2, 3, 4, 1)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Look up the entries (N, M d, h, w) of tokens (N, M, h, w)."""
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
        """Count each entry in tokens (N, M, h, w): float32 (M, K)."""
        # bincount would wait until a GPU has determined the length of the result.
        entries = tokens.transpose(0, 1).flatten(1)
        zeros = torch.zeros(self.codebooks.shape[:2], device=tokens.device)
        return zeros.scatter_add_(1, entries, torch.ones_like(entries, dtype=zeros.dtype))

    @torch.no_grad()
    def split_unused(self, counts: Tensor, generator: torch.Generator) -> int:
        """Replace unused entries by noisy copies of the most used; return their number."""
        num_replaced = 0
        for book, counts_of_book in zip(
            self.codebooks, counts.to(self.codebooks.device), strict=True
        ):
            unused_entries = torch.nonzero(counts_of_book == 0)[:, 0]
            order = counts_of_book.argsort(descending=True, stable=True)[
                : max(1, int((counts_of_book > 0).sum()))
            ]
            sources = order[torch.arange(len(unused_entries), device=order.device) % len(order)]
            noise = torch.randn(len(unused_entries), book.shape[1], generator=generator).to(book)
            book[unused_entries] = book[sources] + SPLIT_NOISE * book.std(0) * noise
            num_replaced += len(unused_entries)
        return num_replaced

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Fit the codebooks to latents (N, M d, h, w) by k-means, starting at random latents."""
        parts = self.parts(latents).permute(1, 0, 2, 3, 4).flatten(1, 3)  # (M, n, d)
        entries = self.codebooks.shape[1]
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, ())))
        indices = torch.randint(parts.shape[1], (entries,), generator=generator)
        self.codebooks.copy_(parts[:, indices])
        self.codebooks.add_(torch.randn(self.codebooks.shape, generator=generator), alpha=1e-3)
        for _ in range(LLOYD_STEPS):
            tokens = self.tokens(latents)
            counts = self.counts(tokens)
            index = tokens.transpose(0, 1).flatten(1)[:, :, None].expand_as(parts)
            sums = torch.zeros_like(self.codebooks).scatter_add_(1, index, parts)
            means = sums / counts.clamp(min=1)[:, :, None]
            self.codebooks.copy_(torch.where(counts[:, :, None] > 0, means, self.codebooks))
            self.split_unused(counts, generator)


FACTOR = 16  # pixels along the side of a token


def transformer_macs_per_pixel(sizes: PqMimSizes) -> float:
    """Return the multiply-accumulates per pixel of one transformer pass in complete windows."""
    num_keys = sizes.window**2
    layer_macs = sizes.width * (4 * sizes.width + 2 * sizes.hidden + 2 * num_keys)
    embedding_and_head_macs = sizes.width * (sizes.latent + sizes.books * sizes.entries)
    return (sizes.layers * layer_macs + embedding_and_head_macs) / FACTOR**2


class Windows(NamedTuple):
    """Windows of tokens of several images, row by row, padded at the edges."""

    side: int  # side of a window, in tokens
    shape: tuple[int, ...]  # number of images, rows and columns of tokens
    is_inside: Tensor | None  # bool (windows, side^2), false for padding; None: no padding

    @classmethod
    def divide(cls, shape: tuple[int, ...], side: int, device: torch.device) -> "Windows":
        """Divide `shape`, the number of images, rows and columns of tokens, into windows."""
        _, rows, columns = shape
        windows = cls(side, shape, None)
        if rows % side == 0 and columns % side == 0:
            return windows
        return cls(side, shape, windows.split(torch.ones(*shape, 1, device=device))[:, :, 0] > 0)

    def split(self, values: Tensor) -> Tensor:
        """Reorder values (N, rows, columns, C) to (windows, side^2, C), padded with zeros."""
        side, (count, rows, columns) = self.side, self.shape
        padded_values = pad(values, (0, 0, 0, -columns % side, 0, -rows % side))
        window_rows, window_columns = padded_values.shape[1] // side, padded_values.shape[2] // side
        grid = padded_values.view(count, window_rows, side, window_columns, side, -1)
        return grid.transpose(2, 3).reshape(count * window_rows * window_columns, side * side, -1)

    def join(self, values: Tensor) -> Tensor:
        """Reorder (windows, side^2, C) to (N, rows, columns, C): the inverse of `split`."""
        side, (count, rows, columns) = self.side, self.shape
        window_rows, window_columns = -(-rows // side), -(-columns // side)
        grid = values.view(count, window_rows, window_columns, side, side, -1).transpose(2, 3)
        return grid.reshape(count, window_rows * side, window_columns * side, -1)[
            :, :rows, :columns
        ]


EPSILON = 1e-6
HEAD_STD = 0.02  # initial standard deviation of the last layer's weights
POSITION_STD = 0.5  # initial standard deviation of vectors for positions and unknown tokens


class RootMeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-6), times a gain per channel (Zhang, Sennrich, 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise `values` (..., C)."""
        floats = values.float()
        outputs = floats / (floats.square().mean(-1, keepdim=True) + EPSILON).sqrt() * self.gain
        return outputs.to(values.dtype)


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x))."""

    def __init__(self, width: int, heads: int, hidden: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        distances = torch.arange(1 - window, window).float()
        slopes = 0.5 ** torch.arange(heads).float()[:, None, None]
        self.nearness = nn.Parameter(-torch.hypot(distances[:, None], distances) * slopes)
        self.attention_norm, self.perceptron_norm = (RootMeanSquareNorm(width) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.expand, self.reduce = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, features: Tensor, is_inside: Tensor | None) -> Tensor:
        """Map `features` (windows, tokens, C), with attention only to tokens in `is_inside`."""
        projected_features = self.query_key_value(self.attention_norm(features))
        query, key, value = split_heads(projected_features, self.heads)
        bias = self.biases().to(query.dtype)[None]
        if is_inside is not None:
            bias = bias.masked_fill(~is_inside[:, None, None], -torch.inf)
        head_outputs = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        features = features + self.mix(head_outputs.transpose(1, 2).flatten(2))
        inner = self.expand(self.perceptron_norm(features)).relu()
        return features + self.reduce(inner)

    def biases(self) -> Tensor:
        """Return each query's bias for each key, (heads, window^2, window^2)."""
        row, column = torch.meshgrid(*(torch.arange(self.window),) * 2, indexing="ij")
        positions = torch.stack([row.reshape(-1), column.reshape(-1)])
        row_offsets, column_offsets = (
            positions[:, :, None] - positions[:, None, :] + self.window - 1
        )
        return self.nearness[:, row_offsets, column_offsets]


def split_heads(values: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split (windows, tokens, 3 C) into q, k and v, each (windows, heads, tokens, C / heads)."""
    projections = values.view(*values.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    return projections[0], projections[1], projections[2]


def select_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Return the vectors (P, ...) of `values` (N, h, w, ...) where `mask` (N, h, w) is true."""
    indices = mask.reshape(-1).nonzero()[:, 0].to(values.device, non_blocking=True)
    return values.flatten(0, 2)[indices]


class MaskedTransformer(nn.Module):
    """Transformer that predicts the distributions of unknown tokens, given known tokens."""

    def __init__(self, sizes: PqMimSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Linear(sizes.latent, sizes.width)
        self.unknown = nn.Parameter(torch.randn(sizes.width) * POSITION_STD)
        self.places = nn.Parameter(torch.randn(sizes.window**2, sizes.width) * POSITION_STD)
        self.layers = nn.ModuleList(
            TransformerLayer(sizes.width, sizes.heads, sizes.hidden, sizes.window)
            for _ in range(sizes.layers)
        )
        self.norm = RootMeanSquareNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.books * sizes.entries)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)
        num_tables = sizes.books - 1 if sizes.in_turn else 0
        self.earlier = nn.Parameter(torch.zeros(num_tables, sizes.entries, sizes.width))

    def forward(
        self, tokens: Tensor, vectors: Tensor, is_known: Tensor, is_wanted: Tensor
    ) -> Tensor:
        """Return logits (P, M, K) of the P tokens in `is_wanted`, image by image, row by row.

        tokens: int64 (N, M, h, w). vectors: (N, M d, h, w), their entries. Logits of part m depend
        on `is_known` tokens and on parts 0 to m - 1 of the token. `is_wanted` is on the CPU.
        """
        embeddings = self.embedding(vectors.permute(0, 2, 3, 1))
        features = torch.where(is_known[..., None], embeddings, self.unknown.to(embeddings.dtype))
        windows = Windows.divide(is_known.shape, self.sizes.window, vectors.device)
        features = windows.split(features) + self.places
        for layer in self.layers:
            features = layer(features, windows.is_inside)
        token_features = self.norm(select_tokens(windows.join(features), is_wanted))
        entries = select_tokens(tokens.permute(0, 2, 3, 1), is_wanted)
        part_features = token_features[:, None] + self._sum_earlier_parts(entries)
        book_weights = self.head.weight.view(self.sizes.books, self.sizes.entries, -1)
        products = torch.einsum("pmc,mkc->pmk", part_features, book_weights)
        return products + self.head.bias.view(self.sizes.books, -1)

    def _sum_earlier_parts(self, entries: Tensor) -> Tensor:
        # returns (P, M, C) for the entries (P, M) of P tokens
        book = torch.arange(len(self.earlier), device=entries.device)
        sums = self.earlier[book, entries[:, : len(book)]].cumsum(1)
        return pad(sums, (0, 0, entries.shape[1] - len(book), 0))


def token_stages(
    sizes: PqMimSizes, rows: int, columns: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the stages of `rows` x `columns` tokens, int64: `sizes.order`, repeated."""
    square = torch.tensor(sizes.order, device=device)
    row, column = (torch.arange(count, device=device) % len(square) for count in (rows, columns))
    return square[row[:, None], column]


class PqMimNetwork(Network):
    """PQ-MIM's network; images are in [-1, 1], with sides that are multiples of 16."""

    stride = FACTOR
    recordable = False  # since `stage_bits` waits for the number of tokens of each stage
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
        """Return the codebooks as "prior", which has its own learning rate, and the rest."""
        books = self.quantiser.codebooks
        return {
            "prior": [books],
            "rest": [parameter for parameter in self.parameters() if parameter is not books],
        }

    def further_macs_per_pixel(self) -> Mapping[str, float]:
        """Return the work of the transformer, which runs once for each stage of tokens."""
        return {"transformer": self.sizes.stages * transformer_macs_per_pixel(self.sizes)}

    def analyse(self, images: Tensor, controls: None = None) -> Tensor:
        """Map images (N, 3, H, W) to unquantised latents (N, M d, H / 16, W / 16)."""
        return self.analysis(images)

    def synthesise(self, vectors: Tensor, controls: None = None) -> Tensor:
        """Map quantised latents to images (N, 3, H, W), about [-1, 1] and not clamped."""
        return self.synthesis(vectors)

    def autoencode(self, images: Tensor) -> tuple[Tensor, Quantised]:
        """Return reconstructions of images (N, 3, H, W) in [-1, 1], and the quantised latents."""
        quantised: Quantised = self.quantiser(self.analyse(images).float())
        return self.synthesise(quantised.vectors), quantised

    def forward(self, images: Tensor, controls: None, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1]; there is no noise to add."""
        decoded, quantised = self.autoencode(images)
        bits = self.stage_bits(quantised.tokens).sum(0)
        return Estimate(decoded, bits, torch.zeros_like(bits), quantised.vectors)

    def raw_bits(self, tokens: Tensor) -> Tensor:
        """Return bits (N,), float32: M log2 K for each position of tokens (N, M, h, w)."""
        bits = tokens[0].numel() * math.log2(self.sizes.entries)
        return torch.full((len(tokens),), bits, device=tokens.device)

    def stage_bits(self, tokens: Tensor) -> Tensor:
        """Return each stage's bits (stages, N) for tokens (N, M, h, w), given earlier stages."""
        vectors = self.quantiser.vectors(tokens)
        count, _, rows, columns = tokens.shape
        stages = token_stages(self.sizes, rows, columns, tokens.device).expand(count, -1, -1)
        bits = torch.zeros(self.sizes.stages, count, device=tokens.device)
        for stage in range(self.sizes.stages):
            is_wanted = stages == stage
            if bool(is_wanted.any()):
                logits = self.transformer(tokens, vectors, stages < stage, is_wanted)
                part_bits = token_bits(logits, tokens, is_wanted)
                bits[stage] = part_bits.sum(1).view(count, -1).sum(1)
        return bits

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Fit orthogonal transforms and codebooks to `images` (n, 3, h, w) as initial values."""
        latent_std = start_transforms(self.analysis, self.synthesis, self.sizes, images)
        gain = float(latent_std.square().mean().rsqrt())
        set_latent_gain(self.analysis, self.synthesis, gain)
        with torch.no_grad():
            self.quantiser.fit(self.analyse(images))


def token_bits(logits: Tensor, tokens: Tensor, is_wanted: Tensor) -> Tensor:
    """Return the bits (P, M) of the `is_wanted` tokens (N, M, h, w), given `logits` (P, M, K)."""
    entries = select_tokens(tokens.permute(0, 2, 3, 1), is_wanted)
    log2_shares = logits.float().log_softmax(2) / torch.log(torch.tensor(2.0))
    return -log2_shares.gather(2, entries[:, :, None])[:, :, 0]
