"""Precision of training: decided by the processor, counted in states and on cards."""

import json

from baselines.neural.checkpoint.card import load_card
from baselines.neural.training import objective
from baselines.neural.training.loop import run_request
from baselines.neural.training.run_folder import load_state
from baselines.neural.training.workers import Workers
from support.training.fixtures import CPU, recipe_of, request_for
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


def on_a_processor(monkeypatch, *, with_bfloat16):
    monkeypatch.setattr(objective, "has_bfloat16", lambda _device: with_bfloat16)


def test_a_run_resumes_in_the_other_precision_and_counts_both(tmp_path, monkeypatch):
    recipe = recipe_of({"steps": 3}, {"steps": 2, "float32": True}, autocast=True)
    on_a_processor(monkeypatch, with_bfloat16=True)
    run_request(Workers(), request_for(tmp_path, recipe, deadline=0.0))
    on_a_processor(monkeypatch, with_bfloat16=False)
    run_request(Workers(), request_for(tmp_path, recipe, deadline=0.0))
    on_a_processor(monkeypatch, with_bfloat16=True)
    run_request(Workers(), request_for(tmp_path, recipe))
    state = load_state(tmp_path, CPU)
    assert state["precision_steps"] == {"bfloat16": 2, "float32": 3}
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    said = [(line["stage"], line["step"], line["precision"]) for line in lines]
    assert said == [
        (0, 1, "bfloat16"), (0, 2, "float32"), (0, 3, "bfloat16"), (1, 2, "float32"),
    ]  # fmt: skip


def test_the_first_line_says_the_precision_and_the_card_the_steps_of_each(tmp_path, monkeypatch):
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml", 2, 0, autocast="true")
    words = training(tmp_path, tmp_path / "run")
    on_a_processor(monkeypatch, with_bfloat16=True)
    first = bench(*words, "--max-minutes", 0).stderr.splitlines()[0]
    assert first == "run: 0 of 2 steps (0 %), on cpu in bfloat16"
    on_a_processor(monkeypatch, with_bfloat16=False)
    second = bench(*words).stderr.splitlines()[0]
    assert second.endswith(
        "on cpu in float32, since the processor has no instructions for bfloat16"
    )
    card = load_card(tmp_path / "run" / "ours.safetensors")
    assert card.precision_steps == {"bfloat16": 1, "float32": 1}
