"""The real command: finished, interrupted, killed, resumed, misused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmark.rows.store import Store
from support.bench.command import bench
from support.files.noise import effect_noise
from support.processes import running, until

FAKES = Path(__file__).parents[1] / "support" / "codecs" / "fakes.py"
VOLATILE = {"run", "encode_seconds", "decode_seconds", "finished_utc"}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "my photos"
    folder.mkdir()
    for number in range(6):
        effect_noise((64, 48 + number), 40).convert("RGB").save(folder / f"{number}.png")
    return folder


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def command(*words):
    return [sys.executable, "-m", "benchmark", *map(str, words)]


HONEST = ("--codecs", f"{FAKES}:Honest")


def run_words(images, results, codec="Honest", *more):
    return (
        "run", "--codecs", f"{FAKES}:{codec}", "--dataset", images, "--metrics", "psnr",
        "--results", results, *more,
    )  # fmt: skip


def stable_rows(results):
    (folder,) = results.iterdir()
    rows = Store(folder).table().to_pylist()
    kept = [{k: v for k, v in row.items() if k not in VOLATILE} for row in rows]
    return sorted(kept, key=lambda row: row["cell"])


def test_a_run_measures_every_cell_and_a_second_one_finds_everything_done(images, results):
    words = command(*run_words(images, results, "Honest", "--json"))
    first = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert (summary["cells"], summary["measured"], summary["failed"]) == (18, 18, [])
    rows = stable_rows(results)
    second = json.loads(bench(*run_words(images, results, "Honest", "--json")).stdout)
    assert (second["cells"], second["measured"]) == (18, 0)
    assert stable_rows(results) == rows
    assert len(list(results.rglob("*.parquet"))) == 1
    assert len(list(results.rglob("runs/*.json"))) == 1


def test_the_psnr_in_the_table_is_that_of_the_kept_stream(images, results):
    assert bench(*run_words(images, results)).returncode == 0
    sys.path.insert(0, str(FAKES.parent))
    import numpy as np

    from support.codecs import fakes

    (folder,) = results.iterdir()
    store = Store(folder)
    row = next(row for row in store.table().to_pylist() if row["setting_value"] == 16)
    source = np.asarray(Image.open(images / row["image"]), float)
    decoded = fakes.Honest().decode(store.stream(row["stream_sha256"]))
    expected = 10 * np.log10(255**2 / np.mean((source - decoded) ** 2))
    assert row["psnr_db"] == pytest.approx(expected, abs=1e-9)


def test_a_missing_codec_of_a_list_is_skipped_if_so_wanted_and_the_others_run(images, results):
    both = ("--codecs", f"raw,{FAKES}:Missing")
    words = ("--dataset", images, "--results", results)
    blocked = bench("run", *both, *words, "--metrics", "psnr")
    assert blocked.returncode == 2
    assert "nonesuch' is not on the PATH: install it; --skip-missing runs" in blocked.stderr
    assert not results.exists()
    planned = bench("plan", *both, *words, "--skip-missing")
    assert planned.returncode == 0, planned.stderr
    assert f"skipped  {FAKES}:Missing: the program 'nonesuch' is not on" in planned.stdout
    done = bench("run", *both, *words, "--metrics", "psnr", "--skip-missing")
    assert done.returncode == 0, done.stderr
    assert f"skipped  {FAKES}:Missing: the program 'nonesuch' is not on" in done.stdout
    (record,) = results.rglob("runs/*.json")
    assert list(json.loads(record.read_text())["skipped_codecs"]) == [f"{FAKES}:Missing"]
    nothing = bench("run", "--codecs", f"{FAKES}:Missing", *words, "--skip-missing")
    assert nothing.returncode == 2
    assert "none of the codecs can run here" in nothing.stderr


def test_vtm_can_be_skipped_where_neither_its_program_nor_a_stream_of_the_images_is(
    images, results, monkeypatch, tmp_path
):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ("plan", "--codecs", "raw,vtm", "--dataset", images, "--results", results)
    blocked = bench(*words)
    assert blocked.returncode == 2
    assert "EncoderAppStatic" in blocked.stderr
    assert "of 6 of 6 images: 0.png" in blocked.stderr
    assert blocked.stderr.endswith("; --skip-missing runs the other codecs\n")
    planned = bench(*words, "--skip-missing")
    assert (planned.returncode, "skipped  vtm: the program" in planned.stdout) == (0, True)
    nothing = bench(*words[:2], "vtm", *words[3:], "--skip-missing")
    assert nothing.returncode == 2
    assert "none of the codecs can run here: vtm: the program" in nothing.stderr


def start(*words, own_group=False):
    return subprocess.Popen(
        command(*words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def wait_for_rows(results, more_than):
    """Until the run has stored more rows than that; slow cells are stored at once."""

    def more():
        return list(results.glob("*/per_image")) and len(stable_rows(results)) > more_than

    assert until(more, 120), "no row was stored"


def test_a_run_killed_again_and_again_ends_with_the_table_of_an_unbroken_one(images, tmp_path):
    slow = ("Honest:pause=1.05", "--limit", "2", "--jobs", "2")
    bench(*run_words(images, tmp_path / "unbroken", *slow))
    broken = tmp_path / "broken"
    seen = 0
    for _ in range(2):
        process = start(*run_words(images, broken, *slow), own_group=True)
        wait_for_rows(broken, seen)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        stored = len(stable_rows(broken))
        assert stored > seen, "no finished cell is lost"
        seen = stored
    last = bench(*run_words(images, broken, *slow, "--json"))
    assert last.returncode == 0
    assert json.loads(last.stdout)["measured"] == 6 - seen, "no finished cell is repeated"
    assert stable_rows(broken) == stable_rows(tmp_path / "unbroken")


def test_ctrl_c_keeps_what_is_finished_and_says_so(images, results):
    process = start(*run_words(images, results, "Honest:pause=1.05"))
    wait_for_rows(results, 0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=900)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("bench: interrupted; finished cells are kept")
    assert "Traceback" not in said
    assert 0 < len(stable_rows(results)) < 18


def test_ctrl_c_ends_the_external_program_that_is_running(images, results):
    sleeping = f"sleep 301.{os.getpid()}"  # told apart from that of another test run
    codec = f"command:encode=sh -c '{sleeping}' {{in}} {{out}}:decode=cp {{in}} {{out}}:values=1"
    process = start("run", "--codecs", codec, "--dataset", images, "--results", results)
    assert until(lambda: running(f"^{sleeping}"), 120)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=900)
    assert process.returncode == 130
    assert not running(f"^{sleeping}")


def test_two_runs_at_once_on_one_folder_lose_nothing(images, results):
    both = [
        start(*run_words(images, results, codec)) for codec in ("Honest:pause=0.02", "Scribbles")
    ]
    for process in both:
        _, said = process.communicate(timeout=900)
        assert process.returncode == 0, said
    assert len(stable_rows(results)) == 36


def test_failed_cells_are_rows_exit_with_1_and_are_tried_again(images, results):
    first = bench(*run_words(images, results, "CrashesOnDecode"))
    assert first.returncode == 1
    assert "decode: ValueError: bad stream" in first.stdout
    assert {row["status"] for row in stable_rows(results)} == {"failed"}
    second = json.loads(bench(*run_words(images, results, "CrashesOnDecode", "--json")).stdout)
    assert second["measured"] == 18
    assert len(stable_rows(results)) == 18


def test_a_bad_image_is_named_and_the_others_run(images, results):
    whole = (images / "0.png").read_bytes()
    (images / "0.png").write_bytes(whole[:-40])
    (images / "copy.png").write_bytes((images / "1.png").read_bytes())
    done = bench(*run_words(images, results))
    assert done.returncode == 1
    assert "refused  0.png" in done.stdout
    assert "refused  copy.png has the same pixels as 1.png" in done.stdout
    assert len(stable_rows(results)) == 15
    (record,) = results.rglob("runs/*.json")
    refused = json.loads(record.read_text())["refused_images"]
    assert [name for name, _ in refused] == ["0.png", "copy.png"]


def test_without_kept_streams_nothing_but_rows_is_left(images, results):
    assert bench(*run_words(images, results, "Honest", "--no-keep")).returncode == 0
    assert list(results.rglob("streams/*/*")) == []


def test_a_metric_asked_for_later_is_filled_in_from_the_streams(images, results):
    bench(*run_words(images, results))
    words = list(run_words(images, results, "Honest", "--json"))
    words[words.index("psnr")] = "psnr,psnr_y"
    summary = json.loads(bench(*words).stdout)
    assert (summary["measured"], summary["rescored"]) == (0, 18)
    assert all(row["psnr_y_db"] for row in stable_rows(results))


def test_rescoring_counts_what_it_filled_in(images, results):
    bench(*run_words(images, results))
    done = bench(
        "rescore", *HONEST, "--dataset", images, "--results", results, "--metrics", "psnr_y,ms_ssim"
    )
    assert done.returncode == 0, done.stderr
    told = "18 rows, 18 lacked a metric that can be computed; 18 values filled in, 18 rows still "
    assert told in done.stdout
    rows = stable_rows(results)
    assert all(row["psnr_y_db"] > 0 for row in rows)
    assert all("161" in row["ms_ssim_reason"] for row in rows)
    again = bench(
        "rescore", *HONEST, "--dataset", images, "--results", results, "--metrics", "ms_ssim"
    )
    assert "18 rows, 0 lacked a metric" in again.stdout, "small images were tried again"


def test_nothing_is_decoded_for_metrics_without_their_weights(
    images, results, tmp_path, monkeypatch
):
    """`bench run` and `bench rescore` say what is absent, and how to get it, before they begin."""
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    done = bench(*run_words(images, results))
    assert "not measured" not in done.stderr
    words = list(run_words(images, results))
    words[words.index("psnr")] = "psnr,lpips,fd_alex,dists"
    run = bench(*words)
    absent = (
        "LPIPS (AlexNet), FD (AlexNet), DISTS: weights absent (`bench fetch alexnet`, `bench fetch "
        "dists`)"
    )
    assert f"not measured: {absent}" in run.stderr.splitlines()
    assert all(row["lpips_alex_protocol"] is None for row in stable_rows(results)), "decoded again"
    where = (*HONEST, "--dataset", images, "--results", results)
    refused = bench("rescore", *where, "--metrics", "lpips,fd_alex")
    assert refused.returncode == 2
    assert refused.stderr == (
        "bench: nothing can be computed here: LPIPS (AlexNet), FD (AlexNet): weights absent "
        "(`bench fetch alexnet`)\n"
    )
    some = bench("rescore", *where, "--metrics", "lpips,psnr_y")
    assert "not measured: LPIPS (AlexNet): weights absent (`bench fetch alexnet`)" in some.stderr
    assert "18 lacked a metric that can be computed; 18 values filled in, 0 rows" in some.stdout
    none_left = bench("rescore", *where, "--metrics", "lpips,psnr_y")
    assert "18 rows, 0 lacked a metric" in none_left.stdout
    again = bench("rescore", *where, "--metrics", "lpips,psnr_y", "--json", "-v")
    told = json.loads(again.stdout)
    assert "no weight file alexnet-owt-*.pth" in told["lacking"]["lpips"]
    assert (told["tried"], told["filled"]) == (0, 0)


def test_the_plan_counts_without_measuring(images, results):
    words = list(run_words(images, results, "Honest", "--json"))
    del words[words.index("--metrics") : words.index("--metrics") + 2]
    facts = json.loads(bench("plan", *words[1:]).stdout)
    assert (facts["cells"], facts["to_do"], facts["cells_without_estimate"]) == (18, 18, 18)
    assert not results.exists()
    bench(*run_words(images, results, "Honest", "--limit", "2"))
    facts = json.loads(bench("plan", *words[1:]).stdout)
    assert (facts["to_do"], facts["cells_without_estimate"]) == (12, 0)


def test_timed_rows_are_measured_one_by_one_and_stand_in_the_table(images, results):
    bench(*run_words(images, results))
    timed = json.loads(bench(*run_words(images, results, "Honest", "--timing", "--json")).stdout)
    assert timed["measured"] == 18
    assert {(row["timing"], row["jobs"]) for row in stable_rows(results)} == {(True, 1)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--codecs", "jpg"), "No codec 'jpg'. Did you mean 'jpeg'?"),
        (("run", "--codecs", "vtm:depth=10"), "the program 'EncoderAppStatic' is not on the PATH"),
        (("run", "--codecs", "vtm", "--timing"), "vtm cannot run here: the program 'EncoderApp"),
        (("run", "--codecs", "vtm", "--vtm-dir", "nowhere"), "nowhere is not a folder of programs"),
        # not the streams of the bundled pack instead
        (
            ("run", "--codecs", "vtm", "--vtm-dir", "tests"),
            "program 'EncoderAppStatic' and has none",
        ),
        (
            ("run", "--codecs", "all", "--vtm-dir", "tests"),
            "program 'EncoderAppStatic' and has none",
        ),
        (("run", "--codecs", "jpeg", "--weights-dir", "no"), "no was named as a folder of weight"),
        (("run", "--codecs", "vtm", "--pack", "no.tar"), "the pack no.tar cannot be used: it can"),
        (
            ("run", "--codecs", "hyperprior,jpeg"),
            "hyperprior cannot run here: no weight file bmshj2018-hyperprior-1-",
        ),
        (
            ("run", "--codecs", "jpeg", "--dataset", "kodka"),
            "No dataset or folder 'kodka'. Did you mean",
        ),
        (("run", "--codecs", "jpeg", "--metrics", "psn"), "No metric 'psn'. Did you mean"),
        (("run", "--codecs", "jpeg:speed=1"), "no option 'speed'; it has: subsampling, optimize"),
        (("run", "--codecs", "jpeg", "--points", "jpeg.q=3"), "No setting of jpeg 'q'"),
        (("run", "--codecs", f"{FAKES}:Missing"), "the program 'nonesuch' is not on the PATH"),
        (("run", "--codecs", "jpeg", "--device", "tpu"), "--device 'tpu' is none of"),
        (("run", "--codecs", "jpeg", "--dataset", "kodak"), "kodak"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(words, says, tmp_path, monkeypatch):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # nor is VTM there
    done = bench(*words, "--results", tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_results_that_cannot_be_written_are_one_sentence_before_any_work(images, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = bench(*run_words(images, tmp_path / "file"))
    assert (done.returncode, done.stdout) == (2, "")
    (sentence,) = done.stderr.splitlines()
    assert "cannot be written" in sentence
