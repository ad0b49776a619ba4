"""What the trainer's tests train: recipes of a few steps, noisy pictures, 14 weights."""

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from baselines.neural.blocks.control import IndexedLevels
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.network import Estimate, Network
from baselines.neural.training.options import TrainingOptions
from baselines.neural.training.photographs import (
    PhotographSet,
    hold_photographs,
    open_photographs,
    photograph_paths,
)
from baselines.neural.training.recipe import Recipe, Stage, recipe_from
from baselines.neural.training.run import TrainingRun, read_reports
from baselines.neural.training.trainer import Learner, train, train_stages
from benchmark.codec import Pixels
from support.networks.tiny_checkpoint import TINY, noise

CPU = torch.device("cpu")
LEAST = replace(TINY, attention=False, blocks=1, slices=(TINY.latent,), support_slices=0)
LAMBDAS = [3.4, 1.2, 0.4, 0.13, 0.05]
STAGE = {
    "objective": "multi_rate", "steps": 3, "batch": 2, "crop_px": 64, "learning_rate": 1e-3,
    "decay_at": 1.0, "lambdas": LAMBDAS,
}  # fmt: skip
GAN = {"gan_per_beta": 0.01, "discriminator_channels": [4, 4, 4, 4]}
REALISM = {**STAGE, "objective": "realism", **GAN}
SINGLE = {**STAGE, "objective": "single_rate", "lambdas": [0.05]}


def recipe_of(*stages: dict[str, Any], **settings: Any) -> Recipe:
    """Of the smallest size; `stages` say how they differ from `STAGE`."""
    record = {"sizes": "tiny", "stage": [{**STAGE, **stage} for stage in stages], **settings}
    return recipe_from("test", record)


def stage_of(**fields: Any) -> Stage:
    return recipe_of(fields).stages[0]


def pictures(count: int = 5) -> list[Pixels]:
    return [noise(80 + 8 * index, 96, index) for index in range(count)]


def load_photographs(places, *memory: int, without: Container[str] = ()) -> PhotographSet:
    paths = [path for path in photograph_paths(places) if path not in without]
    return open_photographs(paths, *memory)


def photographs() -> PhotographSet:
    return hold_photographs(pictures())


def write_photographs(folder: Path) -> Path:
    folder.mkdir()
    for number, pixels in enumerate(pictures()):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def in_two_stages() -> Recipe:
    realism = {**REALISM, "crop_px": 128, "map_share": 0.2, "mixed_levels": True, "steps": 4}
    first = {"steps": 4, "mixed_levels": True, "decay_at": 0.5, "decay": "linear"}
    return recipe_of(first, realism, report_every_steps=1, initialise="pca")


class ToyControls(NamedTuple):
    rate: IndexedLevels
    realism: IndexedLevels


class Toy(Network):
    """A network without noise: colours through a matrix, bits from their size and that of q."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)
        self.rate = nn.Parameter(torch.ones(1))
        self.quantiles = nn.Parameter(torch.ones(1))

    def controls_at(self, rate: Any, realism: Any) -> ToyControls:
        return ToyControls(rate, realism)

    def auxiliary_loss(self) -> Tensor:
        return self.quantiles.sum()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups: dict[str, list[nn.Parameter]] = {"prior": [], "rest": [], "quantiles": []}
        for name, weight in self.named_parameters():
            names = name.split(".")
            is_prior, is_quantile = names[0] == "prior", names[-1] == "quantiles"
            groups["quantiles" if is_quantile else "prior" if is_prior else "rest"].append(weight)
        return groups

    def forward(self, images: Tensor, controls: ToyControls, *, noisy: bool = True) -> Estimate:
        mixed = self.mix(images)
        bits = mixed.square().sum((1, 2, 3)) * self.rate.square() * (1 + controls.rate.levels)
        rounded = bits.detach() if self.counts_rounded else None
        return Estimate(mixed, bits, 32 * (1 + controls.rate.levels), rounded_bits=rounded)


class Poisoned(Toy):
    """In these forward passes, counted from 1, something goes wrong."""

    def __init__(self, fault: str, passes: Container[int]) -> None:
        super().__init__()
        self.how, self.passes, self.done = fault, passes, 0

    def forward(self, images: Tensor, controls: ToyControls, *, noisy: bool = True) -> Estimate:
        result = super().forward(images, controls, noisy=noisy)
        self.done += 1
        if self.done not in self.passes:
            return result
        if self.how == "infinite loss":
            return result._replace(images=result.images * float("inf"))
        assert self.how == "gradient that is no number"
        return result._replace(y_bits=result.y_bits + (result.y_bits * 0).sqrt())


@dataclass(frozen=True)
class ToyRun(TrainingRun):
    make: Callable[[], Network] = Toy

    def build(self) -> Network:
        return self.make()


def train_toy(folder: Path, recipe: Recipe, make=Toy, **options: Any) -> None:
    """One call of the trainer for a network that `make` makes, on the processor unless said."""
    folder.mkdir(exist_ok=True)
    run = ToyRun(folder, folder, recipe, make=make)
    train_stages(run, TrainingOptions(**{"device": "cpu", **options}), photographs())


def train_in(folder: Path, recipe: Recipe, data: Path, **options: Any) -> str:
    training_options = TrainingOptions(**{"device": "cpu", "data": (data,), **options})
    return train(TrainingRun(folder, folder, recipe), training_options)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def differing(first: Any, second: Any, path: str = "") -> list[str]:
    if isinstance(first, list | tuple):
        first, second = dict(enumerate(first)), dict(enumerate(second))
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        parts = (differing(first[k], second[k], f"{path}/{k}") for k in first)
        return [difference for part in parts for difference in part]
    is_equal = torch.equal(first, second) if isinstance(first, Tensor) else first == second
    return [] if is_equal else [path]


def toy(kind=Toy, *arguments):
    torch.manual_seed(4)
    return kind(*arguments)


def least_network():
    return CRDRNetwork(LEAST)


def learner_of(network, *stages, index=0, **settings):
    return Learner(network, recipe_of(*stages, **settings), index, photographs())


def seen_by(network):
    """What the network takes from here on: (crops, rates, betas, noisy) of each pass."""
    calls = []

    def note(_module, inputs, keywords):
        crops, controls = inputs
        levels = controls.rate.levels, controls.realism.levels
        calls.append((crops.clone(), *levels, keywords.get("noisy", True)))

    network.register_forward_pre_hook(note, with_kwargs=True)
    return calls


def of_journal(run, name):
    return [entry[name] for entry in read_reports(run) if name in entry]
