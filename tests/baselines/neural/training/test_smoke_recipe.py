"""The recipe `smoke` from end to end, as its documentation has it."""

import json

import pyarrow.parquet as pq

from support.training.tiny_runs import bench


def test_all_three_stages_are_trained_and_the_harness_measures_what_comes_out(tmp_path):
    run, results = tmp_path / "smoke", tmp_path / "results"
    given = ("--recipe", "smoke", "--data", "sample", "--out", str(run), "--device", "cpu")
    trained = bench("train", *given, "--quiet")
    assert "finished, 60 steps" in trained.output
    card = json.loads((run / "ours.json").read_text())
    assert card["steps"] == 60
    assert card["training_data"].startswith("3 photographs of sample, 240 crops")
    assert set(pq.read_table(run / "losses.parquet")["stage"].to_pylist()) == {1, 2, 3}

    told = ("--results", str(results), "--weights-dir", str(run), "--device", "cpu")
    chosen = ("--codecs", "ours", "--dataset", "sample", "--metrics", "psnr", "--limit", "1")
    measured = bench("run", *chosen, *told)
    assert measured.exit_code == 0, measured.output
    rows = pq.read_table(results / "sample" / "per_image").to_pylist()
    assert {(row["variant"], row["setting_value"]) for row in rows} == {
        (f"beta={beta}", float(q)) for beta in (0, 3.84) for q in range(5)
    }
    assert all(row["status"] == "ok" and row["psnr_db"] > 15 for row in rows)
