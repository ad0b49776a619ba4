"""A run of several processes that saves in the background after every step, slowly."""

import time
from pathlib import Path

import torch

from baselines.neural.training.loop import run_request
from baselines.neural.training.workers import Workers
from support.training.fixtures import fresh_toy, recipe_of, request_for

STEPS, COUNT = 60, 8


def train(workers: Workers, folder: Path, slow: bool = False) -> None:
    """Train in one of `COUNT` processes; a slow save writes a half first."""
    if slow:
        whole = torch.save

        def save(state, draft):
            draft.write_bytes(b"half of it")
            time.sleep(0.3)
            whole(state, draft)

        torch.save = save
    stage = {"steps": STEPS, "batch": COUNT, "mixed_levels": True}
    recipe = recipe_of(stage, processes=COUNT, report_every_steps=1)
    minutes = 0.0 if slow else None
    run_request(workers, request_for(folder, recipe, fresh_toy, save_minutes=minutes))
