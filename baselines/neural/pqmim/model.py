"""The network of PQ-MIM: transforms, product quantisation, and the transformer that codes tokens.

::

    x ─ analysis ─ nearest entries of M codebooks ─ tokens ─ entries ─ synthesis ─> x_hat
                                                      └ transformer: their distributions

El-Nouby, Muckley, Ullrich, Laptev, Verbeek, Jégou, "Image compression with product quantized masked
image modeling" (TMLR 2023): one network for each rate, by the number and size of its codebooks.
Only the abstract was at hand: the transforms are those of ELIC without attention.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from baselines.neural.blocks.residual_transforms import analysis_layers, synthesis_layers
from baselines.neural.blocks.start_values import set_latent_gain, start_transforms
from baselines.neural.network import Estimate, Network, ParameterGroup
from baselines.neural.pqmim.architecture import FACTOR, PqMimSizes, transformer_macs_per_pixel
from baselines.neural.pqmim.quantiser import ProductQuantiser, Quantised
from baselines.neural.pqmim.transformer import MaskedTransformer, picked, stages_of


class PqMimNetwork(Network):
    """The network; images are in [-1, 1], with sides that are multiples of 16."""

    stride = FACTOR
    quantised_bits: Mapping[str, int] = {
        **{f"{part}.{block}.": 8 for part in ("analysis", "synthesis") for block in (1, 3, 5)},
        "transformer.": 4,
        "transformer.head.": 5,
        "transformer.earlier": 3,
    }

    def __init__(self, sizes: PqMimSizes) -> None:
        super().__init__()
        self.config = self.sizes = sizes
        self.analysis = nn.Sequential(*(layer for layer, _ in analysis_layers(sizes)))
        self.synthesis = nn.Sequential(*(layer for layer, _ in synthesis_layers(sizes)))
        self.quantiser = ProductQuantiser(sizes.books, sizes.entries, sizes.code_width)
        self.transformer = MaskedTransformer(sizes)

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """Return the codebooks as "prior", whose learning rate a stage scales, and the rest."""
        books = self.quantiser.codebooks
        rest = tuple(weight for weight in self.parameters() if weight is not books)
        return (ParameterGroup("prior", (books,)), ParameterGroup("rest", rest))

    def further_macs_per_pixel(self) -> Mapping[str, float]:
        """Return the work of the transformer, which runs once for each stage of the tokens."""
        return {"transformer": self.sizes.stages * transformer_macs_per_pixel(self.sizes)}

    def analyse(self, images: Tensor, controls: None = None) -> Tensor:
        """Return latents (N, M d, H / 16, W / 16), not quantised, of images (N, 3, H, W)."""
        latents: Tensor = self.analysis(images)
        return latents

    def synthesise(self, vectors: Tensor, controls: None = None) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of quantised latents."""
        images: Tensor = self.synthesis(vectors)
        return images

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
