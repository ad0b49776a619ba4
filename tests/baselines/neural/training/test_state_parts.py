"""`tools/state_parts.py`: a state that travels in parts, with moments in bfloat16."""

import shutil

import pytest
import torch

from baselines.neural.training.run import load_state
from benchmark.errors import UsageError
from support.training.fixtures import CPU, least_network, of_journal, recipe_of, train_toy
from tools.state_parts import main, split

STEPS, LIMIT = 12, 20_000
MANNER = {"batch": 4, "mixed_levels": True, "learning_rate": 2e-3}


def trained(run, steps, minutes=None):
    recipe = recipe_of({**MANNER, "steps": STEPS}, report_every_steps=1, ema=0.9)
    torch.manual_seed(3)
    if minutes is None:
        return train_toy(run, recipe, least_network)
    for _ in range(steps):  # a call whose time is over does one step
        train_toy(run, recipe, least_network, max_minutes=0)
    return None


def moment_types(run):
    state = load_state(run, CPU)
    held = (of["state"].values() for of in state["optimisers"])
    moments = [one for values in held for one in values]
    return {one[name].dtype for one in moments for name in ("exp_avg", "exp_avg_sq")}


def test_a_state_that_travelled_goes_on_with_the_losses_of_an_unbroken_run(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    trained(first, 6, minutes=0)
    shutil.copytree(first, second)
    paths = split(first, tmp_path / "carried", LIMIT)
    assert len(paths) > 2
    assert {path.stat().st_size for path in paths[:-1]} == {LIMIT}
    joined = b"".join(path.read_bytes() for path in sorted(paths))
    (second / "state.pt").write_bytes(joined)
    assert moment_types(second) == {torch.bfloat16}
    before, after = (load_state(run, CPU) for run in (first, second))
    assert all(torch.equal(w, after["network"][name]) for name, w in before["network"].items())
    for run in (first, second):
        trained(run, STEPS)
    assert of_journal(second, "loss")[6] == of_journal(first, "loss")[6], "weights are whole"
    assert of_journal(second, "loss") == pytest.approx(of_journal(first, "loss"), rel=1e-3)
    assert moment_types(second) == {torch.float32}


def test_parts_are_made_of_a_run_and_never_beside_others(tmp_path, monkeypatch, capsys):
    with pytest.raises(UsageError, match=r"has no state\.pt"):
        split(tmp_path, tmp_path / "carried", LIMIT)
    trained(tmp_path / "run", 1, minutes=0)
    split(tmp_path / "run", tmp_path / "carried", LIMIT)
    with pytest.raises(UsageError, match="name another"):
        split(tmp_path / "run", tmp_path / "carried", LIMIT)
    (tmp_path / "file").touch()
    for given in (("carried", "--part-mib", "nan"), ("file",)):
        place = [str(tmp_path / "run"), str(tmp_path / given[0]), *given[1:]]
        monkeypatch.setattr("sys.argv", ["state_parts", *place])
        assert main() == 2
        assert capsys.readouterr().err.startswith("state_parts: ")
