"""A network and a stage -> one update after the other; its state can be put away and taken up.

Everything random in a step comes from generators that the step's number seeds, so that a run that
was interrupted goes on as if it had not been.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from baselines.neural.network import Estimate
from baselines.neural.training.adversary import Adversary
from baselines.neural.training.draw import Levels, control, draw_levels
from baselines.neural.training.perceptual import Perceptual
from baselines.neural.training.photographs import Photographs, draw_crops
from baselines.neural.training.rate_distortion import lambda_at, terms, towards_target
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.schedule import rate_factor
from baselines.neural.training.workers import Workers
from benchmark.errors import UsageError

LARGEST_LOSS = 1e4  # a batch beyond it is left out, as published
PRIORS = ("prior.", "codec.entropy_bottleneck.")  # ours and CompressAI's
FROZEN = {  # names within parameters' names, until the stage that needs them
    "single_rate": {"attentions", "embedding", "project"},
    "multi_rate": {"embedding", "project"},
    "realism": set[str](),
}


class Update(NamedTuple):
    """What one step did."""

    skipped: bool  # the loss or its gradient was not finite, or exploded: nothing was changed
    numbers: dict[str, float]  # means over the batch


class Batch(NamedTuple):
    """This worker's part of it."""

    crops: Tensor  # float32 (n, 3, side, side) in [-1, 1]
    levels: Levels


class Learner:
    """One stage of training of one network, on the network's device."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        index: int,
        photographs: Photographs,
        workers: Workers,
    ) -> None:
        self.network, self.stage = network, recipe.stages[index]
        self.step = self.skipped = 0
        self._recipe, self._index = recipe, index
        self._photographs, self._workers = photographs, workers
        self._device = next(network.parameters()).device
        self._first_crop = recipe.crops_before(index)
        prior, rest, quantiles = self._grouped()
        factors = {"prior": self.stage.prior_rate_factor, "rest": 1.0}
        groups = {"prior": prior, "rest": rest}
        self._parameters = [*prior, *rest]
        self._optimiser = torch.optim.Adam(
            [{"params": groups[name], "factor": factors[name]} for name in groups if groups[name]],
            lr=self.stage.learning_rate,
        )
        self._quantiles = quantiles
        self._quantile_optimiser = (
            torch.optim.Adam(quantiles, self.stage.quantile_learning_rate) if quantiles else None
        )
        self._perceptual = self._make_perceptual()
        self._adversary = (
            Adversary(self.stage, recipe.seed, self._device, workers)
            if self.stage.gan_per_beta
            else None
        )
        self._forward: Any = _compiled(network) if recipe.compiled else network

    def update(self) -> Update:
        """One step: the network, the quantiles of z, the discriminators."""
        batch = self._batch()
        self._seed()
        factor = rate_factor(self.stage, self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = self.stage.learning_rate * factor * group["factor"]
        self._optimiser.zero_grad()
        loss, numbers, estimate = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._quantile_optimiser is not None:
            self._quantile_optimiser.zero_grad()
            self.network.quantile_loss().backward()  # type: ignore[operator]
        averaged = self._average(numbers)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self.stage.clip_norm))
        whole = math.isfinite(norm) and averaged["loss"] <= LARGEST_LOSS
        if whole:
            self._optimiser.step()
            if self._quantile_optimiser is not None:
                self._quantile_optimiser.step()
            if self._adversary is not None and not batch.levels.q_differs:
                with self._precision():
                    averaged |= self._adversary.update(
                        batch.crops, estimate.images, batch.levels.q_of_crops, factor
                    )
        else:
            self.skipped += 1
        self.step += 1
        return Update(not whole, averaged)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, network included."""
        return {
            "index": self._index,
            "step": self.step,
            "skipped": self.skipped,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "quantile_optimiser": self._quantile_optimiser
            and self._quantile_optimiser.state_dict(),
            "adversary": None if self._adversary is None else self._adversary.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.step, self.skipped = state["step"], state["skipped"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._quantile_optimiser is not None:
            self._quantile_optimiser.load_state_dict(state["quantile_optimiser"])
        if self._adversary is not None:
            self._adversary.load_state(state["adversary"])

    def _grouped(self) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
        """Of the prior of z, of the rest, and the quantiles; the others get no gradient."""
        parts = {part for name, _ in self.network.named_parameters() for part in name.split(".")}
        strange = set(self.stage.frozen) - parts
        if strange:
            raise UsageError(f"The recipe freezes {', '.join(sorted(strange))}, which is no part.")
        frozen = FROZEN[self.stage.kind] | set(self.stage.frozen)
        prior: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        quantiles: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            trained = not frozen & set(name.split("."))
            parameter.requires_grad_(trained)
            if trained and name.endswith("quantiles"):
                quantiles.append(parameter)
            elif trained:
                (prior if name.startswith(PRIORS) else rest).append(parameter)
        return prior, rest, quantiles

    def _make_perceptual(self) -> Perceptual | None:
        if not self.stage.lpips and not self.stage.lpips_per_beta:
            return None
        return Perceptual().to(self._device)

    def _batch(self) -> Batch:
        part = self.stage.batch // self._workers.count
        first = self._workers.rank * part
        start = self._first_crop + self.step * self.stage.batch + first
        numbers = range(start, start + part)
        pixels = draw_crops(self._photographs, self.stage.crop_px, numbers, self._recipe.seed)
        crops = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        random = np.random.default_rng([self._recipe.seed, 2, self._index, self.step])
        return Batch(crops, draw_levels(self.stage, random).part(first, first + part))

    def _seed(self) -> None:
        """Of the noise that stands for rounding."""
        key = [self._recipe.seed, 3, self._index, self.step, self._workers.rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Estimate]:
        crops, levels = batch
        rate, realism = (control(one, self._device) for one in levels)
        forward = self.network if levels.is_map else self._forward
        with self._precision():
            estimate: Estimate = forward(crops, rate, realism)
            penalty, parts = self._realism_penalty(batch, estimate)
        found = terms(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        lambdas = self._lambdas(batch)
        scale = lambdas.rsqrt() if self.stage.balanced else torch.ones_like(lambdas)
        loss = (scale * (found.loss(lambdas) + penalty)).mean()
        numbers = {
            "loss": loss,
            "mse": found.mse.mean(),
            "bpp": found.bpp.mean(),
            "z_bpp": (estimate.z_bits / crops[0, 0].numel()).mean(),
            # One figure for all rates, which a change of lambda only shifts.
            "log_loss": (found.loss(lambdas) * lambdas.rsqrt()).log().mean(),
            **parts,
        }
        return loss, {name: value.detach().float() for name, value in numbers.items()}, estimate

    def _lambdas(self, batch: Batch) -> Tensor:
        q = torch.from_numpy(np.ascontiguousarray(batch.levels.q)).to(self._device)
        lambdas = lambda_at(self.stage, q)
        if not self.stage.targets_bpp:
            return lambdas
        with torch.no_grad(), self._precision():
            rate, realism = (control(one, self._device) for one in batch.levels)
            rounded = self.network(batch.crops, rate, realism, noisy=False)
        bits = self._workers.mean((rounded.y_bits + rounded.z_bits).mean())
        return towards_target(self.stage, float(q[0]), bits / batch.crops[0, 0].numel(), lambdas)

    def _realism_penalty(
        self, batch: Batch, estimate: Estimate
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of each crop, (n,): LPIPS and the generator's loss, weighted with beta."""
        stage, (crops, levels) = self.stage, batch
        beta = torch.from_numpy(np.ascontiguousarray(levels.beta)).to(self._device)
        penalty = torch.zeros(len(crops), device=self._device)
        parts = {}
        if self._perceptual is not None:
            weights = stage.lpips + stage.lpips_per_beta * beta
            distance = self._perceptual(crops, estimate.images, weights)
            penalty = penalty + distance
            parts["lpips"] = distance.mean() / weights.mean().clamp(min=1e-6)
        if self._adversary is not None and not levels.q_differs:
            reference = self._reference(batch)
            q = levels.q_of_crops
            losses = self._adversary.generator_loss(reference, estimate.images, q, beta)
            penalty = penalty + stage.gan_per_beta * losses
            parts["generator"] = losses.mean() / beta.mean().clamp(min=1e-6)
        return penalty, parts

    def _reference(self, batch: Batch) -> Tensor:
        """What the discriminator compares with: the originals, or the next rate's pictures."""
        assert self._adversary is not None
        if self._adversary.objective.reference != "next_rate":
            return batch.crops
        highest = len(self.stage.lambdas) - 1
        q = batch.levels.q_of_crops
        higher = control(np.minimum(q + 1, highest).astype(np.float32), self._device)
        with torch.no_grad():
            realism = control(batch.levels.beta, self._device)
            pictures = self.network(batch.crops, higher, realism).images
        real = torch.from_numpy(q + 1 > highest).to(self._device)
        return torch.where(real[:, None, None, None], batch.crops, pictures.float())

    def _precision(self) -> torch.autocast:
        reduced = self._recipe.autocast and not self.stage.float32
        return torch.autocast(self._device.type, torch.bfloat16, enabled=reduced)

    def _average(self, numbers: dict[str, Tensor]) -> dict[str, float]:
        trained = [*self._parameters, *self._quantiles]
        averaged = self._workers.average(trained, torch.stack(list(numbers.values())))
        return dict(zip(numbers, averaged.tolist(), strict=True))


def _compiled(network: nn.Module) -> Any:
    from torch._inductor import config

    # With it, torch 2.11 fails an assertion of its own on networks of this kind on a GPU.
    if hasattr(config.triton, "mix_order_reduction"):
        config.triton.mix_order_reduction = False
    return torch.compile(network)
