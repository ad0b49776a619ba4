"""Objectives of PQ-MIM: first for the autoencoder with its codebooks, then for the transformer.

The loss of a crop is, in stages of the first kind::

    150 MSE + 1/4 |z - sg(e)|^2 + |sg(z) - e|^2 + lpips LPIPS + gan GAN

with MSE of values in [0, 1], z and e the latents and entries of a position, and sg stopping the
gradient (van den Oord et al., NeurIPS 2017). The transformer's loss is the cross-entropy of tokens
masked either as in decoding, or by a random share cos(pi u / 2), u uniform, as in MaskGIT (Chang
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
from baselines.neural.objectives import LATENT_DISCRIMINATOR, Draw, ImageObjective, ImageStage
from baselines.neural.pqmim.model import FACTOR, PqMimNetwork, token_bits, token_stages
from baselines.neural.training.objective import (
    MSE_WEIGHT,
    Batch,
    Loss,
    Objective,
    Setup,
    Validation,
    rate_distortion,
    require_network,
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

COMMITMENT, CODEBOOK = 0.25, 1.0  # weights of the two losses of `ProductQuantiser`
SPLIT_EVERY_STEPS = 100  # steps after which unused entries are replaced
STAGE_SHARE = 0.5  # share of crops that are masked as at a stage of decoding


class Autoencoder(ImageObjective):
    """Objective of a stage that trains transforms and codebooks."""

    weighs_rate = False  # the rate is fixed
    frozen = ("transformer",)
    uses: ClassVar[set[str]] = {"lpips", "gan", *LATENT_DISCRIMINATOR}

    def __init__(self, stage: ImageStage, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._counts: Tensor | None = None  # uses of each entry since the last replacement

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return a step's loss; its update replaces entries and trains the discriminator."""
        crops, model = batch.crops, require_network(self, network, PqMimNetwork)
        with self.setup.precision():
            images, quantised = model.autoencode(crops)
            bits = model.raw_bits(quantised.tokens)
            estimate = Estimate(images, bits, torch.zeros_like(bits), quantised.vectors)
            penalty, numbers = self.realism(model, crops, estimate, draw := Draw(None, 0.0))
        costs = rate_distortion(crops, images, bits)
        quantiser_loss = COMMITMENT * quantised.commitment + CODEBOOK * quantised.codebook
        total = (MSE_WEIGHT * costs.mse + quantiser_loss + penalty).mean()
        counts = model.quantiser.counts(quantised.tokens)
        numbers |= {
            "mse": costs.mse.mean(),
            "bpp": costs.bpp.mean(),
            "commitment": quantised.commitment.mean(),
            "perplexity": perplexities(counts).mean(),
        }
        train_discriminator = self.update(crops, estimate, draw)

        def update(factor: float) -> Mapping[str, Tensor | float]:
            split_numbers = self._count_entries(model, counts, step)
            return {**split_numbers, **(train_discriminator(factor) if train_discriminator else {})}

        return Loss(total, numbers, update)

    validate = Objective.validate  # validates the loss, since the rate is fixed

    def state(self) -> Any:
        """Return the entries' counts, and the discriminator's state if there is one."""
        return {"counts": self._counts, "adversary": super().state()}

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        self._counts = state["counts"]
        super().load_state(state["adversary"])

    def _count_entries(self, network: PqMimNetwork, counts: Tensor, step: int) -> dict[str, float]:
        # counts, and periodically replaces entries that were not used
        skipped = self.setup.optimisers.skipped
        counts = counts * (1 - torch.as_tensor(skipped, dtype=counts.dtype, device=counts.device))
        self._counts = counts if self._counts is None else self._counts.to(counts) + counts
        if (step + 1) % SPLIT_EVERY_STEPS:
            return {}
        # From here on the CPU waits for the GPU, since it needs to know the unused entries.
        if bool(skipped):
            return {}
        counts_so_far, self._counts = self._counts.cpu(), None
        seed = int(self.setup.random(step).integers(1 << 31))
        generator = torch.Generator().manual_seed(seed)
        return {"replaced": float(network.quantiser.split_unused(counts_so_far, generator))}


class Transformer(Objective):
    """Objective of a stage that trains the transformer."""

    rates, weighs_rate = ONE_RATE, False
    frozen = ("analysis", "synthesis", "quantiser")

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the cross-entropy of masked tokens, in nats per part of a token."""
        model = require_network(self, network, PqMimNetwork)
        with torch.no_grad():  # in float32, like the codec
            tokens = model.quantiser.tokens(model.analyse(batch.crops))
            vectors = model.quantiser.vectors(tokens)
        rows, columns = tokens.shape[2:]
        masks = self.masks(model.sizes, step, rows, columns)
        is_known, is_wanted = (mask[: len(batch.crops)] for mask in masks)
        with self.setup.precision():
            logits = model.transformer(
                tokens, vectors, is_known.to(tokens.device, non_blocking=True), is_wanted
            )
        bits = token_bits(logits, tokens, is_wanted).mean()
        return Loss(bits * math.log(2), {"bits_per_part": bits})

    def masks(self, sizes: PqMimSizes, step: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Return masks of known and of predicted tokens, bool (batch, rows, columns)."""
        random, batch = self.setup.random(step), self.stage.batch
        is_stage = random.uniform(size=batch) < STAGE_SHARE
        stages = token_stages(sizes, rows, columns).numpy()[None]
        coded_stages = random.integers(sizes.stages, size=batch)[:, None, None]
        shares = np.cos(random.uniform(size=batch) * np.pi / 2)
        order = random.uniform(size=(batch, rows * columns)).argsort(1).argsort(1)
        is_masked = order < np.maximum(1, np.rint(shares * rows * columns))[:, None]
        is_masked = is_masked.reshape(batch, rows, columns)
        uses_stage = is_stage[:, None, None]
        is_known = np.where(uses_stage, stages < coded_stages, ~is_masked)
        is_wanted = np.where(uses_stage, stages == coded_stages, is_masked)
        return torch.from_numpy(is_known), torch.from_numpy(is_wanted)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return the transformer's rate, and the PSNR, for uncropped photographs."""
        return validate(network, (1.0,), photographs)


def perplexities(counts: Tensor) -> Tensor:
    """Return 2^entropy of each book's entries (M,), given their `counts` (M, K)."""
    shares = counts / counts.sum(1, keepdim=True)
    return torch.special.entr(shares).sum(1).exp()


BOOKS = (4, 8, 16, 32)  # number of codebooks at the levels 1 to 4
CODEBOOK_RATE = 5.0  # learning rate of codebooks relative to transforms
KINDS = {"pqmim": False, "pqmim-perceptual": True}  # whether networks are trained for realism
# Member -> its level, and whether it is trained for realism
MEMBERS = {f"{kind}-{k}": (k, realism) for kind, realism in KINDS.items() for k in range(1, 5)}
USUAL_MEMBERS = [name for name in MEMBERS if name != "pqmim-perceptual-4"]
GROUPS = {"pqmim": USUAL_MEMBERS, "pqmim-perceptual": USUAL_MEMBERS[4:]}


def members(recipe: Recipe, name: str) -> dict[str, Recipe]:
    """Return the member with this name, or the usual levels of `pqmim` or `pqmim-perceptual`."""
    if name not in (*MEMBERS, *GROUPS):
        raise UsageError(f"pqmim has no member {name}: its members are {', '.join(MEMBERS)}")
    return {member: _member_recipe(member, recipe) for member in GROUPS.get(name, [name])}


def _member_recipe(name: str, recipe: Recipe) -> Recipe:
    # the transformer sees as many pixels as the autoencoder, in crops of complete windows
    level, is_perceptual = MEMBERS[name]
    sizes = replace(ARCHITECTURES["pqmim"].sizes[recipe.sizes], books=BOOKS[level - 1])
    num_members = len(recipe.stages[-1].lambdas)  # they share the crops of the recipe
    fields: dict[str, Any] = {"lambdas": (), "prior_rate_factor": CODEBOOK_RATE}
    stages = []
    for phase in phases_of(recipe, realism=is_perceptual):
        gan = adversarial_fields(phase, recipe, METHODS["hific"].realism if is_perceptual else {})
        stage = stage_of(
            phase, recipe, "pqmim_autoencoder", num_members, LEARNING_RATE, **fields, **gan
        )
        stages.append(stage)
    side, first_phase = sizes.window * FACTOR, phases_of(recipe)[0]
    transformer_stage = stage_of(
        first_phase, recipe, "pqmim_transformer", num_members, LEARNING_RATE, **fields
    )
    area = side**2 / transformer_stage.crop_px**2
    batch = max(1, round(transformer_stage.batch / area))
    steps = max(1, round(sum(stage.crops for stage in recipe.stages) / num_members / area / batch))
    stages.append(replace(transformer_stage, crop_px=side, batch=batch, steps=steps))
    dimensions = msgspec.to_builtins(sizes)
    return replace(recipe, stages=tuple(stages), dimensions=dimensions)
