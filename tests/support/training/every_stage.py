"""A recipe of one stage for every kind of stage, on the smallest networks and few pixels."""

from typing import Any

import torch

from baselines.neural.architecture import load_architecture, rate_levels
from baselines.neural.network import make_images
from baselines.neural.training.objective import Batch, Setup
from baselines.neural.training.recipe import Recipe, objective_class, recipe_from
from support.networks.tiny_checkpoint import noise
from support.training.fixtures import CPU, LAMBDAS

GAN = {"discriminator_channels": [4, 4]}
ONE = {"lambdas": [0.05]}
# Kind of a stage -> the method, and fields of the stage.
STAGES = {
    "single_rate": ("crdr", ONE),
    "multi_rate": ("crdr", {"lambdas": LAMBDAS, "mixed_levels": True}),
    "realism": (
        "crdr",
        {"lambdas": LAMBDAS, "gan_per_beta": 0.01, "discriminator_channels": [4, 4, 4, 4]},
    ),
    "elic": ("elic", {**ONE, "noisy_contexts": True}), "ivr": ("ivr", {}),
    "hific": ("hific", {**ONE, **GAN, "target_bpp": 0.1, "lpips": 0, "gan": 0.15}),
    "multirealism": ("multirealism", {**ONE, **GAN, "gan_per_beta": 0.2, "balanced": True}),
    "pqmim_autoencoder": ("pqmim", {**ONE, **GAN, "gan": 0.15}),
    "pqmim_transformer": ("pqmim", {**ONE, "clip_norm": 1.0}), "dirac": ("dirac", {}),
    "hfd": ("hfd", {}),
}  # fmt: skip


def recipe_for(method: str, kind: str, fields: dict[str, Any]) -> Recipe:
    """Return the recipe of a kind of stage; `fields` are those in which it differs."""
    levels = rate_levels(load_architecture(method).sizes["tiny"])
    stage = {
        "objective": kind, "float32": True, "steps": 9, "batch": 2, "crop_px": 128,
        "learning_rate": 1e-3, "decay_at": 1.0, "lambdas": [0.05] * levels, **fields,
    }  # fmt: skip
    return recipe_from("test", {"architecture": method, "sizes": "tiny", "stage": [stage]})


def objective_of(kind: str, **fields: Any) -> tuple[Any, Any, Batch]:
    """Return an objective, the tiny network fitted to noise, and a batch of two crops of it."""
    method = STAGES[kind][0]
    recipe = recipe_for(method, kind, fields)
    stage, architecture = recipe.stages[0], load_architecture(method)
    torch.manual_seed(1)
    network = architecture.build(architecture.sizes["tiny"])
    side = stage.crop_px
    crops = torch.cat([make_images(noise(side, side, seed), CPU) for seed in (1, 2)])
    network.initialise(crops, stage.lambdas)
    return objective_class(kind)(stage, Setup(recipe, 0, CPU)), network, Batch(crops)
