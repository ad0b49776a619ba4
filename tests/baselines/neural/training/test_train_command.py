"""`bench train`, with networks of some thousand parameters and runs of some steps."""

import fcntl
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import torch

from baselines.commands.training import losses_table, make_log, report_text, select_device
from baselines.neural.card import load_card, save_card
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.costs import macs_per_pixel
from baselines.neural.network_codec import BUNDLED
from baselines.neural.training import trainer
from baselines.neural.training.run import TrainingRun, read_reports
from benchmark.commands import output
from benchmark.errors import Unavailable, UsageError
from support.networks.tiny_checkpoint import NAMED, TINY
from support.processes import started_bench, until
from support.training.fixtures import of_journal, photographs, recipe_of, train_toy
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos/, unseen/ and recipe.toml."""
    folder = tmp_path_factory.mktemp("training")
    write_photographs(folder)
    write_recipe(folder / "recipe.toml")
    return folder


@pytest.fixture(scope="module")
def unbroken(place):
    folder = place / "unbroken"
    return folder, bench(*training(place, folder))


def test_a_finished_run_is_a_checkpoint_whose_card_tells_how_to_make_it_again(place, unbroken):
    folder, process = unbroken
    assert process.exit_code == 0
    loaded = load_checkpoint(folder / "ours.safetensors")
    assert (loaded.card.steps, loaded.network.sizes) == (4, NAMED["tiny"])
    assert loaded.tables
    data = f"{place.name}/photos"
    assert loaded.card.training_data == f"3 photographs of {data}, 8 crops of 64 px"
    words = f"--recipe {place}/recipe.toml --data {place}/photos --validation {place}/unseen"
    assert loaded.card.command == f"bench train {words}"  # else fewer are trained on
    assert f"checkpoint {loaded.card.sha256[:8]}, finished, 4 steps" in process.stdout
    time_before = (folder / "state.pt").stat().st_mtime_ns
    message = bench(*training(place, folder)).stdout
    assert message == f"{folder}/ours.safetensors: already finished, 4 steps\n"
    assert (folder / "state.pt").stat().st_mtime_ns == time_before


def test_the_losses_are_a_drawing_and_a_table_of_the_journals_numbers(unbroken):
    folder, _ = unbroken
    assert (folder / "losses.png").stat().st_size > 0
    table = pl.read_csv(folder / "losses.csv")
    assert table["run_step"].to_list() == [1, 2, 3, 4]
    assert table["crops"].to_list() == [2, 4, 6, 8]
    assert table["stage"].to_list() == [1, 1, 2, 2]
    reports = read_reports(folder)
    assert table["loss"].to_list() == [report["loss"] for report in reports]
    assert table["discriminator"].null_count() == 2
    assert table["validation_loss"][1] == reports[1]["validation_loss"]


def test_a_seed_takes_the_place_of_the_recipes(place, unbroken, tmp_path):
    bench(*training(place, tmp_path / "run", "--seed", 7))
    folders = unbroken[0], tmp_path / "run"
    first, by_option = (load_card(path / "ours.safetensors") for path in folders)
    assert first.sha256 != by_option.sha256
    assert by_option.seed == 7
    assert "--seed 7" in by_option.command
    recipe = write_recipe(tmp_path / "seven.toml", seed=7)  # with another, it were another run
    assert "already finished" in bench(*training(place, tmp_path / "run", recipe=recipe)).stdout


def test_a_journal_of_a_killed_run_has_each_step_once(tmp_path):
    journal = tmp_path / "journal.jsonl"
    reports = [{"stage": 0, "step": step, "loss": float(step)} for step in (1, 2, 3)]
    repeated_entry = {"stage": 0, "step": 2, "loss": float("nan"), "gradient": 1.5}
    lines = [*map(json.dumps, reports), '{"stage": 0, "st', json.dumps(repeated_entry), '{"stage"']
    journal.write_text("\n".join(lines))
    reports = read_reports(tmp_path)
    assert [entry["step"] for entry in reports] == [1, 2]
    rows = losses_table(reports, recipe_of({})).to_dicts()
    assert [row["loss"] for row in rows] == [1.0, None]
    assert [row["gradient"] for row in rows] == [None, 1.5]


def test_an_unfinished_run_can_be_exported_as_it_is(place, tmp_path):
    out = tmp_path / "r"
    with pytest.raises(UsageError, match=r"r .*--export-now"):
        bench(*training(place, out, "--export-now"))
    bench(*training(place, out, "--max-minutes", 0))
    assert not (out / "ours.safetensors").exists()
    earlier = (out / "state.pt").read_bytes()
    goes_on = bench(*training(place, out, "--max-minutes", 0, "--milestone-steps", 2))
    assert "after 2 of 4 steps" in goes_on.stdout
    milestone, written = out / "milestones" / "crdr-2.safetensors", []
    for step, options in ((2, ()), (2, ()), (1, ("--data", place / "unseen"))):
        assert f"{step} of 4 steps" in bench(*training(place, out, "--export-now", *options)).stdout
        card, exported = load_card(milestone), load_card(out / "ours.safetensors")
        assert card.steps == sum(card.precision_steps.values()) == 2
        assert (exported.steps, len(read_reports(out))) == (step, 2)
        written.append(milestone.stat().st_mtime_ns)
        if len(written) == 2:
            (out / "state-2.pt").touch()  # reached again
            (out / "state.pt").write_bytes(earlier)  # saved before the last report
    assert written[0] == written[1] < written[2]
    assert exported.training_data.startswith(f"3 photographs of {place.name}/photos, 2 crops")
    assert f"{place}/photos --validation" in exported.command


def test_photographs_weights_and_folders_that_cannot_be_used_are_named(place, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    recipe = place / "recipe.toml"
    with pytest.raises(UsageError, match=r"validation .*\.png"):
        bench("train", "--recipe", recipe, "--data", tmp_path, "--out", tmp_path / "run")
    recipe = write_recipe(tmp_path / "recipe.toml")
    recipe.write_text(recipe.read_text() + "lpips_per_beta = 0.390625\n")
    with pytest.raises(Unavailable, match="alexnet"):
        bench(*training(place, tmp_path / "r", recipe=recipe))
    assert not (tmp_path / "r").exists()
    (folder := tmp_path / "used").mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="/used "):
        bench(*training(place, folder))
    os.close(handle)
    with pytest.raises(UsageError, match=r"recipe\.toml"):
        bench(*training(place, place / "recipe.toml"))


def test_a_signal_stops_a_run_after_a_step_with_everything_saved(place, tmp_path):
    recipe = write_recipe(tmp_path / "long.toml", 100_000, 0)
    out = tmp_path / "r"
    process = started_bench(*training(place, out, recipe=recipe))
    assert until((out / "journal.jsonl").exists, 60)
    os.kill(process.pid, signal.SIGINT)  # this process alone, not its group
    message, errors = process.communicate(timeout=900)
    assert process.returncode == 130, errors
    result = re.search(r"interrupted after (\d+) of 100000 steps", message)
    assert result, message
    assert "Traceback" not in errors
    reached = pl.read_csv(out / "losses.csv")["run_step"].to_list()[-1]
    assert reached == int(result[1]) > 0
    goes_on = bench(*training(place, out, "--max-minutes", 0, recipe=recipe))
    assert f"after {reached + 1} of 100000 steps" in goes_on.stdout


def test_a_card_that_is_named_is_torchs_current_one(monkeypatch):
    current = []
    monkeypatch.setattr("baselines.commands.training.use_device", lambda _: "cuda")
    monkeypatch.setattr("baselines.commands.training.chosen_device", lambda: "cuda:1")
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    assert [select_device(device) for device in ("cuda:1", "cuda")] == ["cuda", "cuda"]
    assert current == ["cuda:1"]


def test_reports_have_the_time_left_and_are_shown_each_minute_and_at_the_end(capsys, monkeypatch):
    report = {
        "stage": 0, "step": 75, "loss": 2, "bpp": 0.25, "skipped": 1,
        "steps_per_second": 0.25, "crops_per_second": 1.0,
    }  # fmt: skip
    stages = {"steps": 100, "batch": 4}, {"steps": 1000, "batch": 8}
    assert report_text(report, recipe_of(stages[0])) == (  # 25 x 4 crops, one a second
        "stage 1 of 1, step 75 of 100, loss 2, 0.250 bpp, 0.2 steps/s, 1.0 crops/s, 2 min left, "
        "1 steps skipped"
    )
    assert "2.2 h left" in report_text(report, recipe_of(*stages))  # and 1000 x 8 of the next stage
    clock = [0.0]
    monkeypatch.setattr(output, "monotonic", lambda: clock[0])
    log = make_log((), False, Path("smoke"), recipe_of({"steps": 100, "batch": 4}))
    for clock[0], step in ((1.0, 5), (20.0, 20), (70.0, 60), (80.0, 100)):
        log({"stage": 0, "step": step, "skipped": 0, "steps_per_second": 1.0,
             "crops_per_second": 4.0})  # fmt: skip
    lines = [line.partition(", 1.0")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == [f"smoke: stage 1 of 1, step {step} of 100" for step in (5, 60, 100)]


@pytest.fixture(scope="module")
def start_folder(place, unbroken):
    recipe_text = write_recipe(place / "still.toml", rate_steps=0, realism_steps=1).read_text()
    recipe_text = recipe_text.replace("1e-3", "0.0\nquantile_learning_rate = 0.0")
    (place / "still.toml").write_text(recipe_text)
    return place


def words(start_folder, recipe, out, *options):
    return training(start_folder, start_folder / out, *options, recipe=f"{recipe}.toml")


def copied(folder, name):
    for suffix in (".safetensors", ".json"):
        shutil.copy(folder / "unbroken" / f"ours{suffix}", folder / f"{name}{suffix}")
    return folder / f"{name}.safetensors"


@pytest.mark.parametrize("initialise", ["random", "pca"])
def test_a_run_begins_with_the_weights_of_the_checkpoint_and_resumes_with_its_start_alone(
    start_folder, initialise
):
    recipe = (start_folder / "still.toml").read_text()
    (start_folder / f"{initialise}.toml").write_text(f'initialise = "{initialise}"\n{recipe}')
    first, out = start_folder / "unbroken" / "ours.safetensors", f"from-{initialise}"
    bench(*words(start_folder, initialise, out, "--start", first))
    before, after = map(load_checkpoint, (first, start_folder / out / "ours.safetensors"))
    states = after.network.state_dict(), before.network.state_dict()
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert (after.card.crops, after.card.steps) == (before.card.crops + 2, before.card.steps + 1)
    assert f"{after.card.crops} crops" in after.card.training
    assert f"checkpoint {before.card.sha256[:8]} of 8 crops" in after.card.training_data
    assert f"--start {first}" in after.card.command
    with pytest.raises(UsageError, match="start"):
        bench(*words(start_folder, initialise, out))
    again = words(start_folder, initialise, out, "--start", copied(start_folder, "moved"))
    assert "already finished" in bench(*again).stdout


def test_training_from_a_start_of_unknown_training_is_unknown(start_folder):
    mailed = copied(start_folder, "mailed")
    save_card(mailed, replace(load_card(mailed), steps=None, crops=0, training_data="unknown"))
    bench(*words(start_folder, "still", "unknown", "--start", mailed))
    card = load_card(start_folder / "unknown" / "ours.safetensors")
    assert (card.crops, card.caveat) == (0, "training unknown")
    assert card.training_data.endswith(" of unknown training")


@pytest.mark.parametrize(("options", "message"), [
    (("--start", "damaged.safetensors"), "damaged.safetensors "),
    (("--start", "recipe.toml"), "recipe.toml .*recipe.json"),
    (("--suite", "field", "--start", "unbroken/ours.safetensors"), "--start"),
    (("--start", BUNDLED / "elic-1.safetensors.xz"), "elic-1.safetensors.xz .*tiny"),
])  # fmt: skip
def test_a_start_that_cannot_be_is_told_in_a_sentence(start_folder, monkeypatch, options, message):
    monkeypatch.chdir(start_folder)
    with copied(start_folder, "damaged").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UsageError, match=message):
        bench(*words(start_folder, "recipe", "refused", *options))
    assert not (start_folder / "refused").exists()


def test_a_step_has_the_work_of_three_forward_passes_of_its_crops(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "MAX_TIMED_STEPS", 1)
    recipe = recipe_of(*({"crop_px": 128, "batch": batch} for batch in (1, 2)))
    run = TrainingRun(tmp_path, tmp_path, recipe)
    small, large = trainer.stage_costs(run, "cpu", photographs())
    assert large.macs == pytest.approx(2 * small.macs, rel=1e-3)
    assert small.macs == pytest.approx(3 * macs_per_pixel("crdr", TINY) * 128**2, rel=0.1)
    assert min(small.seconds, large.seconds) > 0
    assert (small.objective, small.steps, small.memory_bytes) == ("multi_rate", 3, 0)


def test_a_check_prints_each_stage_of_the_device_and_writes_nothing(place, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "MAX_TIMED_STEPS", 1)
    output = bench(*training(place, tmp_path / "run", "--check", "--device", "cpu")).stdout
    assert not (tmp_path / "run").exists()
    assert "each stage on cpu" in output
    pattern = r"stage \d, (\w+): 2 steps, .* steps/s, [\d.e-]+ hours"
    assert re.findall(pattern, output) == ["multi_rate", "realism"]


RECIPE = recipe_of({"steps": 3}, {"steps": 2}, report_every_steps=1)
FUNCTION = """
from pathlib import Path

seen = []

def log(report):
    seen.append((report["run_step"], report["loss"]))
    Path("seen.txt").write_text(repr(seen))
"""


def test_reports_are_given_to_the_users_function_whose_fault_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FUNCTION)
    run = tmp_path / "run"
    train_toy(run, RECIPE, log=partial(make_log, ["mine.py:log"], True))
    losses = of_journal(run, "loss")
    assert eval((tmp_path / "seen.txt").read_text()) == list(zip(range(1, 6), losses, strict=True))
    (tmp_path / "bad.py").write_text("def log(report):\n    report['nothing']\n")
    log = make_log(["bad.py:log"], True, tmp_path, RECIPE)
    with pytest.raises(UsageError, match=r"bad\.py.*KeyError"):
        log({"stage": 0, "step": 1})
