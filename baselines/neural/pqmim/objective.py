"""The objectives of PQ-MIM: first the autoencoder with its codebooks, then the transformer alone.

The loss of a crop is, in stages of the first kind,
::

    150 MSE + 1/4 |z - sg(e)|^2 + |sg(z) - e|^2 + lpips LPIPS + gan GAN

with MSE of values in [0, 1], z and e the latents and entries of a position, and sg stopping the
gradient (van den Oord et al., NeurIPS 2017). In stages of the second kind it is the cross-entropy
of tokens masked as in decoding, or by a random share cos(pi u / 2), u uniform, as in MaskGIT (Chang
et al., CVPR 2022). All weights are our choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import msgspec
import numpy as np
import torch
from torch import Tensor

from baselines.neural.architecture import ARCHITECTURES, PqMimSizes
from baselines.neural.network import Estimate, Network
from baselines.neural.objectives import OF_LATENTS, Draw, ImageObjective, ImageStage
from baselines.neural.pqmim.model import FACTOR, PqMimNetwork, stages_of, token_bits
from baselines.neural.training.objective import (
    MSE_WEIGHT,
    Batch,
    Loss,
    Objective,
    Setup,
    Validation,
    own_network,
    rate_distortion,
    validate,
)
from baselines.neural.training.recipe import ONE_RATE, Recipe
from baselines.neural.training.suites import (
    LEARNING_RATE,
    METHODS,
    adversarial_fields,
    phases_of,
    stage_of,
)
from benchmark.codec import Pixels
from benchmark.errors import UsageError

COMMITMENT, CODEBOOK = 0.25, 1.0
SPLIT_EVERY_STEPS = 100  # entries unused for so long are replaced
REAL_SHARE = 0.5  # of the crops are masked as a stage of decoding is


class Autoencoder(ImageObjective):
    """The objective of a stage of the transforms and the codebooks."""

    weighs_rate = False  # which is fixed
    frozen = ("transformer",)
    uses: ClassVar[set[str]] = {"lpips", "gan", *OF_LATENTS}

    def __init__(self, stage: ImageStage, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._counts: Tensor | None = None  # of each entry, since the last were replaced

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step; its update replaces entries, and trains the discriminator."""
        crops, plain = batch.crops, own_network(self, network, PqMimNetwork)
        with self.setup.precision():
            images, quantised = plain.autoencode(crops)
            bits = plain.raw_bits(quantised.tokens)
            coded = Estimate(images, bits, torch.zeros_like(bits), quantised.vectors)
            penalty, numbers = self.realism(plain, crops, coded, draw := Draw(None, 0.0))
        parts = rate_distortion(crops, images, bits)
        kept = COMMITMENT * quantised.commitment + CODEBOOK * quantised.codebook
        total = (MSE_WEIGHT * parts.mse + kept + penalty).mean()
        counts = plain.quantiser.counts(quantised.tokens)
        numbers |= {
            "mse": parts.mse.mean(),
            "bpp": parts.bpp.mean(),
            "commitment": quantised.commitment.mean(),
            "perplexity": perplexities(counts).mean(),
        }
        train_discriminator = self.update(crops, coded, draw)

        def update(factor: float) -> Mapping[str, Tensor | float]:
            replaced = self._count(plain, counts, step)
            return {**replaced, **(train_discriminator(factor) if train_discriminator else {})}

        return Loss(total, numbers, update)

    validate = Objective.validate  # the loss; the rate is fixed

    def state(self) -> Any:
        """Return the counts of the entries, and the discriminator's state if any."""
        return {"counts": self._counts, "adversary": super().state()}

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        self._counts = state["counts"]
        super().load_state(state["adversary"])

    def _count(self, network: PqMimNetwork, counts: Tensor, step: int) -> dict[str, float]:
        """Count used entries; where it is time, replace the others and return their number."""
        left_out = self.setup.optimisers.left_out
        counts = counts * (1 - torch.as_tensor(left_out, dtype=counts.dtype, device=counts.device))
        self._counts = counts if self._counts is None else self._counts.to(counts) + counts
        if (step + 1) % SPLIT_EVERY_STEPS:
            return {}
        # These steps wait for a GPU: the number of entries to replace decides what is sampled.
        if bool(left_out):
            return {}
        used, self._counts = self._counts.cpu(), None
        seed = int(self.setup.random(step).integers(1 << 31))
        generator = torch.Generator().manual_seed(seed)
        return {"replaced": float(network.quantiser.split_unused(used, generator))}


class Transformer(Objective):
    """The objective of a stage of the transformer."""

    rates, weighs_rate = ONE_RATE, False
    frozen = ("analysis", "synthesis", "quantiser")

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the cross-entropy of masked tokens, in nats for each part of a token."""
        plain = own_network(self, network, PqMimNetwork)
        with torch.no_grad():  # in float32, as the codec chooses them
            tokens = plain.quantiser.tokens(plain.analyse(batch.crops))
            vectors = plain.quantiser.vectors(tokens)
        rows, columns = tokens.shape[2:]
        masks = self.masks(plain.sizes, step, rows, columns)
        known, wanted = (mask[: len(batch.crops)] for mask in masks)
        with self.setup.precision():
            logits = plain.transformer(
                tokens, vectors, known.to(tokens.device, non_blocking=True), wanted
            )
        bits = token_bits(logits, tokens, wanted).mean()
        return Loss(bits * math.log(2), {"bits_per_part": bits})

    def masks(self, sizes: PqMimSizes, step: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Return which tokens are known, and which are predicted, bool (batch, rows, columns)."""
        random, batch = self.setup.random(step), self.stage.batch
        real = random.uniform(size=batch) < REAL_SHARE
        stages = stages_of(sizes, rows, columns).numpy()[None]
        numbers = random.integers(sizes.stages, size=batch)[:, None, None]
        shares = np.cos(random.uniform(size=batch) * np.pi / 2)
        order = random.uniform(size=(batch, rows * columns)).argsort(1).argsort(1)
        masked = order < np.maximum(1, np.rint(shares * rows * columns))[:, None]
        hidden = masked.reshape(batch, rows, columns)
        chosen = real[:, None, None]
        known = np.where(chosen, stages < numbers, ~hidden)
        wanted = np.where(chosen, stages == numbers, hidden)
        return torch.from_numpy(known), torch.from_numpy(wanted)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rate, by the transformer, and PSNR of whole photographs."""
        return validate(network, (1.0,), photographs)


def perplexities(counts: Tensor) -> Tensor:
    """Return 2^entropy of the entries of each book (M,) by their `counts` (M, K)."""
    shares = counts / counts.sum(1, keepdim=True)
    return torch.special.entr(shares).sum(1).exp()


BOOKS = (4, 8, 16, 32)  # of the levels 1 to 4
CODEBOOK_RATE = 5.0  # learning rate of the codebooks, over that of the transforms
KINDS = {"pqmim": False, "pqmim-perceptual": True}  # whether they are trained for realism
# Member -> its level, and whether it is trained for realism.
MEMBERS = {f"{kind}-{k}": (k, real) for kind, real in KINDS.items() for k in range(1, 5)}
USUAL = [name for name in MEMBERS if name != "pqmim-perceptual-4"]
GROUPS = {"pqmim": USUAL, "pqmim-perceptual": USUAL[4:]}


def members(recipe: Recipe, name: str) -> dict[str, Recipe]:
    """Return a member by its name; `pqmim` and `pqmim-perceptual` mean their usual levels."""
    if name not in (*MEMBERS, *GROUPS):
        raise UsageError(f"pqmim has no member {name}: they are {', '.join(MEMBERS)}")
    return {member: _member(member, recipe) for member in GROUPS.get(name, [name])}


def _member(name: str, recipe: Recipe) -> Recipe:
    """Return a member, whose transformer sees as many pixels as the autoencoder, whole windows."""
    level, perceptual = MEMBERS[name]
    sizes = replace(ARCHITECTURES["pqmim"].sizes[recipe.sizes], books=BOOKS[level - 1])
    parts = len(recipe.stages[-1].lambdas)
    own: dict[str, Any] = {"lambdas": (), "prior_rate_factor": CODEBOOK_RATE}
    stages = []
    for phase in phases_of(recipe, realism=perceptual):
        gan = adversarial_fields(phase, recipe, METHODS["hific"].realism if perceptual else {})
        stage = stage_of(phase, recipe, "pqmim_autoencoder", parts, LEARNING_RATE, **own, **gan)
        stages.append(stage)
    side, first = sizes.window * FACTOR, phases_of(recipe)[0]
    like = stage_of(first, recipe, "pqmim_transformer", parts, LEARNING_RATE, **own)
    area = side**2 / like.crop_px**2
    batch = max(1, round(like.batch / area))
    steps = max(1, round(sum(stage.crops for stage in recipe.stages) / parts / area / batch))
    stages.append(replace(like, crop_px=side, batch=batch, steps=steps))
    dimensions = msgspec.to_builtins(sizes)
    return replace(recipe, stages=tuple(stages), dimensions=dimensions)
