"""States over time: BD-rates are those of two codecs, and a planted fault is named where it is."""

import json
import lzma
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from baselines.commands import history as verb
from baselines.neural.checkpoint import load_checkpoint, save_checkpoint
from baselines.neural.network_codec import BUNDLED as SHIPPED
from baselines.neural.training import run as of_training
from benchmark.commands import history as over_time
from benchmark.compare.bd import compare
from benchmark.compare.check.pairing import RowSet
from benchmark.compare.curves import Delta
from benchmark.compare.history import FIRST, State, history_of, states_of_rows
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.show.figures.history import draw_history, headline
from support.bench.invoked import bench
from support.rows.measured import row, table

GAINS = (0.0, 1.0, 1.5, 0.6, 1.7, 1.9)  # dB of six states; a fault enters with the fourth
IMAGES = [f"image-{n}" for n in range(8)]
NOISE = np.random.default_rng(0).normal(0, 0.02, (len(GAINS), len(IMAGES)))


def rows_of_state(number, codec="ours", variant=None, **columns):
    variant = f"beta=0:checkpoint=/runs/{number}.safetensors" if variant is None else variant
    day = f"2025-01-0{number + 1}T00:00:00.000+00:00"
    return [
        row(codec, q, image, variant=variant, finished_utc=day, num_bytes=100 * q,
            fingerprint=f"{number}" * 64, **columns,
            psnr_db=20 + 6 * np.log2(q / 5) + place / 3 + GAINS[number] + NOISE[number, place])
        for q in (5, 10, 20, 40, 80) for place, image in enumerate(IMAGES)
    ]  # fmt: skip


def states():
    rows = [RowSet("x", Path("nowhere"), table(rows_of_state(n))) for n in range(len(GAINS))]
    return [State(f"step {n}00", 100 * n, of) for n, of in enumerate(rows)]


def test_bd_rates_of_states_are_those_of_codecs_and_the_fault_is_the_one_that_is_worse():
    anchor = table(rows_of_state(0, "vtm", ""))
    accepted = states()[5].rows
    references = {"accepted": accepted, "vtm": RowSet("r", Path("nowhere"), anchor)}
    result = history_of(states(), references, ["psnr"])
    both = pl.concat([states()[0].rows.rows, states()[3].rows.rows])
    (expected,) = compare(
        summarise(both), Metric.named("psnr"), "ours:beta=0:checkpoint=/runs/0.safetensors"
    )
    found = {(c.state.step, c.against): c for c in result.changes}
    assert found[300, FIRST].rate == expected.rate
    assert found[300, FIRST].interval == expected.rate_interval
    assert found[300, "vtm"].rate == expected.rate  # its rows are those of the first state
    assert found[500, "accepted"].rate.value == pytest.approx(0)
    assert found[0, FIRST].rate == Delta(0.0, 1.0)
    ((state, best, finding),) = result.worse
    assert (state.name, best.name, finding.metric) == ("step 300", "step 200", "psnr")
    assert finding.lower_percent < 100 * (2 ** (0.9 / 6) - 1) < finding.upper_percent
    assert [of.best.step for of in result.judged] == [0, 100, 200, 200, 400]
    wider = history_of(states(), {}, ["psnr"], "bd_rate=20%")
    assert not wider.worse


def test_a_state_whose_curve_meets_no_other_is_named_and_has_its_cross():
    rows = [{**one, "psnr_db": one["psnr_db"] - 40} for one in rows_of_state(3)]
    far = states()
    far[3] = far[3]._replace(rows=RowSet("x", Path("nowhere"), table(rows)))
    result = history_of(far, {}, ["psnr"])
    worse = 40 + GAINS[2] - GAINS[3] + (NOISE[2] - NOISE[3])
    said = re.fullmatch(
        r"regressed at step 300: PSNR (-\S+) dB at equal rate \[(-\S+), (-\S+)\] \(on 8 images "
        r"\(image-0, ...\) it never reaches the reference's lowest quality\), image (\S+), beside "
        "step 200",
        headline(result),
    )
    change, low, high = map(float, said.groups()[:3])
    assert change == pytest.approx(-worse.mean(), abs=0.02)
    assert low < change < high
    assert said[4] == IMAGES[np.argmax(worse)]
    (axes,) = draw_history(result, "ours", "set").figure.axes
    crosses = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "x"]
    assert crosses == [300]


def changed(number, change, images=IMAGES):
    """A state whose rows of some images are changed."""
    rows = [one | change(one) for one in rows_of_state(number) if one["image"] in images]
    return states()[number]._replace(rows=RowSet("x", Path("nowhere"), table(rows)))


@pytest.mark.parametrize("metric", ["psnr", "lpips"])
def test_nothing_is_beside_a_state_without_curves_and_the_fault_after_it_is_found(metric):
    absent = {"lpips_alex": None, "lpips_alex_protocol": None, "lpips_alex_reason": "no weights"}
    lost = changed(  # in PSNR two of five points lie below the others
        2, lambda one: absent | {"psnr_db": one["psnr_db"] - 20 * (one["setting_value"] > 20)}
    )
    later = changed(3, lambda one: {"lpips_alex": 1.5 * one["lpips_alex"]})
    result = history_of([states()[1], lost, later], {}, [metric])
    first = "undecided" if metric == "psnr" else "nothing measured"
    assert [of.finding.verdict for of in result.judged] == [first, "regressed"]
    assert [of.best.step for of in result.judged] == [100, 100]


def test_of_an_image_out_of_reach_the_line_has_the_change_over_all_images_and_its_name():
    better = changed(4, lambda one: {"psnr_db": one["psnr_db"] - 60 * (one["image"] == "image-5")})
    said = headline(history_of([states()[2], better], {}, ["psnr"]))
    gain = GAINS[4] - GAINS[2] - 60 / 8 + (NOISE[4] - NOISE[2]).mean()
    assert said.startswith(f"regressed at step 400: PSNR {gain:+.2f} dB at equal rate [")
    assert "(on image-5 it never reaches" in said
    assert said.endswith(", image image-5, beside step 200")


def test_a_change_that_is_not_decided_is_said():
    one = [changed(n, dict, IMAGES[:1]) for n in (2, 3)]
    assert headline(history_of(one, {}, ["psnr"])) == (
        "no state is known to be worse than one before: 2 states, 1 image; 1 of 1 comparison "
        "without verdict: one image says nothing of the next: measure more"
    )


def test_a_variant_is_compared_where_it_has_two_states():
    """Rows of two variants, measured at different times, are states of neither together."""
    one, other = (
        State(
            name, number, RowSet("x", Path("nowhere"), table(rows_of_state(number, "ours", name)))
        )
        for number, name in enumerate(("beta=0", "beta=1"))
    )
    with pytest.raises(UsageError, match="needs two states, and there is one of a codec variant"):
        history_of([one, other], {}, ["psnr"])
    again = State("again", 2, one.rows._replace(rows=table(rows_of_state(3, "ours", "beta=0"))))
    result = history_of([one, other, again], {}, ["psnr"])
    assert [(of.state.name, of.variant) for of in result.changes] == [
        ("beta=0", "ours:beta=0"), ("again", "ours:beta=0")
    ]  # fmt: skip
    assert set(result.notes) == {
        "beta=1 has no ours:beta=0", "beta=0 has no ours:beta=1", "again has no ours:beta=1"
    }  # fmt: skip


def test_states_of_earlier_checks_are_in_the_order_of_their_rows_by_weights_not_by_name():
    """Two checkpoints had one file name, one after the other."""
    name = "beta=0:checkpoint=/runs/new.safetensors"
    whole = [*rows_of_state(2, variant=name), *rows_of_state(1, variant=name), *rows_of_state(0)]
    found = states_of_rows(RowSet("x", Path("nowhere"), table(whole)), "ours")
    assert [of.rows.rows["fingerprint"][0][0] for of in found] == ["0", "1", "2"]
    assert [of.step for of in found] == [1, 2, 3]
    assert found[1].name == "state 2, new.safetensors 11111111"
    assert not states_of_rows(found[0].rows, "elic")


def test_a_folder_of_checks_becomes_figure_table_and_one_line_with_exit_code_1(tmp_path):
    for number in range(len(GAINS)):
        Store(tmp_path / "checks" / "set").append(rows_of_state(number))
    results = tmp_path / "results"
    Store(results / "set").append(rows_of_state(0, "ours", "beta=0"))
    bench("baseline", "save", "v1", "--results", results)
    (tmp_path / "mine.py").write_text(
        "def log(report):\n    print('logged', report['run_step'], len(report))\n"
    )
    words = ("--metrics", "psnr", "--baselines", results, "--results", tmp_path / "checks")
    log = ("--log", f"{tmp_path / 'mine.py'}:log", "--codec", "ours:beta=0")
    said = bench("history", tmp_path / "checks/set", *words, "--against", "v1", *log, code=1)
    first = said.splitlines()[0]
    assert first.startswith("regressed at state 4, 3.safetensors 33333333: PSNR +")
    assert ", image image-" in first
    assert "beside state 3" in first
    assert [line for line in said.splitlines() if line.startswith("logged")] == [
        f"logged {n} 5" for n in range(1, 7)
    ]
    folder = tmp_path / "checks" / "history"
    assert {"history.png", "history.pdf", "history.csv", "history.details.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert (folder / "history.csv").read_text().count("v1") == 6
    with pytest.raises(UsageError, match=r"--log csv: history\.csv has"):
        bench("history", tmp_path / "checks" / "set", *words, "--log", "csv")


def test_a_run_is_followed_until_it_is_finished_and_no_state_is_measured_twice(
    tmp_path, monkeypatch
):
    """Milestones appear while it waits; the finished checkpoint takes the place of its own step."""
    run, shipped = tmp_path / "run", load_checkpoint(SHIPPED / "ours.safetensors.xz")
    (run / "recipe.json").parent.mkdir()
    record = {"start": None, "photographs": 1, "names_and_sizes": ""}
    recipe = {"name": "smoke", "sizes": "tiny", "stages": [
        {"objective": "single_rate", "steps": 500, "batch": 1, "crop_px": 64, "learning_rate": 1e-3,
         "decay_at": 0.8, "lambdas": [0.05]}]}  # fmt: skip
    (run / "recipe.json").write_text(json.dumps({**record, "recipe": recipe}))
    measured, exported, lines = [], [], []

    def checkpoint(path, steps):
        save_checkpoint(path, shipped.network, replace(shipped.card, steps=steps), shipped.tables)

    def milestones(*steps):
        for step in steps:
            (run / f"state-{step}.pt").touch()

    def export(of, how, name):
        exported.append(name)
        checkpoint(of.target, int(name[6:-3]))

    def measure(name, step, path, request, codec):
        measured.append((name, path.parent.name))
        return State(name, step, states()[step // 100].rows)

    def later(seconds):
        milestones(300, 400)
        checkpoint(run / "ours.safetensors", 400)
        monkeypatch.setattr(of_training.Run, "is_complete", lambda run: True)

    monkeypatch.setattr(of_training, "export", export)
    monkeypatch.setattr(over_time, "measured", measure)
    monkeypatch.setattr(verb, "sleep", later)
    monkeypatch.setattr(over_time, "write", lambda history, *_: lines.append(headline(history)))
    milestones(0, 100, 200)
    words = ("history", run, "--metrics", "psnr", "--dataset", "sample", "--baselines", tmp_path)
    bench(*words, "--follow", code=1)
    assert lines[0] == "no state is worse than one before: 3 states, 8 images"
    assert lines[1].startswith("regressed at step 300: PSNR +")
    assert [name for name, _ in measured] == [f"step {100 * n}" for n in range(5)]
    assert measured[-1] == ("step 400", "run")
    assert sorted(exported) == [f"state-{100 * n}.pt" for n in range(5)]
    bench(*words, code=1)
    assert len(exported) == 5
    whole = run / "ours.safetensors"
    whole.with_suffix(".safetensors.xz").write_bytes(lzma.compress(whole.read_bytes()))
    whole.unlink()
    bench(*words, code=1)
    assert (measured[-1], len(exported)) == (("step 400", "run"), 5)
    milestones(200)  # reached again, from an earlier one
    checkpoint(tmp_path / "run.safetensors", 450)  # where a suite has that of a member
    bench(*words, code=1)
    assert (measured[-1], exported[5:]) == (("step 450", tmp_path.name), ["state-200.pt"])


def test_files_that_are_no_checkpoints_of_a_training_are_answered_with_what_it_takes(tmp_path):
    states = [tmp_path / f"{number}.pth.tar" for number in (1, 3)]
    for state in states:
        state.write_bytes(b"of CompressAI")
    with pytest.raises(UsageError, match=r"1\.pth\.tar is no checkpoint of `bench train`.*check`"):
        bench("history", *states, "--dataset", "kodak")
