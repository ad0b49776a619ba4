"""The real command: finished, interrupted, resumed, misused."""

import json
import re
import signal

import polars as pl
import pytest

from benchmark.datasets.dataset import ImageFile, Source
from benchmark.measure.score import find_unscored_tasks
from support.bench.command import bench
from support.codecs.files import CODECS, FAKES
from support.files.noise import noise_images
from support.processes import started_bench, until
from support.rows.measured import row, table
from support.rows.stable_rows import only_store, stable


@pytest.fixture
def images(tmp_path):
    return noise_images(tmp_path / "my photos", [(64, 48 + number) for number in range(6)])


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def run(images, results):
    return lambda *options: bench(*run_words(images, results, *options))


def run_words(images, results, codec="Honest", *options):
    metrics = () if "--metrics" in options else ("--metrics", "psnr")
    words = ("run", "--codecs", f"{FAKES}:{codec}", "--dataset", images, "--results", results)
    return (*words, *metrics, *options)


def test_a_missing_codec_of_a_list_is_skipped_on_request_and_the_others_run(images, results):
    codecs = ("--codecs", f"raw,{FAKES}:Missing")
    words = ("--dataset", images, "--results", results)
    planned = bench("plan", *codecs, *words, "--skip-missing")
    result = bench("run", *codecs, *words, "--metrics", "psnr", "--skip-missing")
    for command in (planned, result):
        assert command.returncode == 0, command.stderr
        assert re.search(f"{FAKES}:Missing: .*'nonesuch'", command.stdout)
    (record,) = results.rglob("runs/*.json")
    assert list(json.loads(record.read_text())["skipped_codecs"]) == [f"{FAKES}:Missing"]
    bench("run", "--codecs", f"{FAKES}:Missing", *words, "--skip-missing", code=2)


def test_ctrl_c_keeps_finished_cells_and_reports_it(images, results):
    # Each row is stored at once.
    process = started_bench(*run_words(images, results, "Honest:pause=1.05"))
    assert until(lambda: list(results.glob("*/per_image")) and stable(only_store(results)), 120)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=900)
    assert process.returncode == 130
    assert message.splitlines()[-1].startswith("bench: interrupted")
    assert "Traceback" not in message
    assert 0 < len(stable(only_store(results))) < 18


def test_what_a_codec_raises_or_returns_fails_its_cells_and_no_others(images, results):
    codecs = ",".join(f"{FAKES}:{kind}" for kind in ("ReturnsOpaque", "Exits", "Honest"))
    words = ("--dataset", images, "--limit", 2, "--metrics", "psnr", "--results", results)
    assert bench("run", "--codecs", codecs, *words).returncode == 1
    kind = pl.col("codec").str.split(":").list.last()
    table = only_store(results).table().with_columns(kind=kind)
    assert {*table.filter(kind="ReturnsOpaque")["stage"]} == {"verify"}
    assert {*table.filter(kind="Honest").select("stage", "reason").rows()} == {(None, None)}
    rows = table.filter(kind="Exits").unique("setting_value").sort("setting_value", descending=True)
    assert rows["stage"].to_list() == [None, "encode", "decode"]
    assert rows["reason"][0] is None
    assert re.search(r"fakes\.py, line .*SystemExit: 0", rows["reason"][1])
    assert rows["reason"][2].endswith("in decode: KeyboardInterrupt")


@pytest.mark.parametrize("verb", ["run", "encode", "decode"])
def test_output_of_a_codec_is_not_part_of_the_result(verb, images, results, tmp_path):
    image, stream = next(images.iterdir()), tmp_path / "a.bin"
    words = {
        "run": (*run_words(images, results, "Prints"), "--limit", 1, "--json"),
        "encode": ("encode", image, stream, "--codec", f"{FAKES}:Prints", "--point", "step=16"),
        "decode": ("decode", stream, tmp_path / "a.png", "--codec", f"{FAKES}:Prints"),
    }
    if verb == "decode":
        bench(*words["encode"], code=0)
    process = started_bench(*words[verb])
    out, _ = process.communicate(timeout=900)
    assert process.returncode == 0
    assert json.loads(out)["measured"] == 3 if verb == "run" else out.count("\n") == 1


def test_single_images_name_the_line_of_a_codec_that_ends_the_program(images, tmp_path):
    stream, kind = tmp_path / "a.bin", ("--codec", f"{FAKES}:Exits", "--point")
    image = next(images.iterdir())
    process = started_bench("encode", image, stream, *kind, "step=16")
    _, message = process.communicate(timeout=900)
    assert (process.returncode, stream.exists()) == (1, False)
    assert "in encode: SystemExit: 0" in message
    bench("encode", image, stream, *kind, "step=1", code=0)
    process = started_bench("decode", stream, tmp_path / "a.png", *kind[:2])
    _, message = process.communicate(timeout=900)
    assert process.returncode == 2
    assert "in decode: KeyboardInterrupt" in message


def test_a_codec_seen_to_be_random_is_decoded_twice_from_then_on_and_marked(images, results):
    words = run_words(images, results, "Rolls", "--jobs", 1)
    bench(*words, code=1)
    rows = only_store(results).table()
    failed = rows.filter(status="failed")
    assert failed.height >= 3, "the first is found, and what was not at work yet"
    assert set(failed["stage"]) == {"decode"}
    if failed.height < rows.height:
        assert f"Not deterministic: {FAKES.name}:Rolls" in bench(*words).stdout
    second_run = json.loads(bench(*words, "--json").stdout)
    assert second_run["measured"] == only_store(results).table().filter(status="failed").height


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """Gate at which runs of `Traced` stand until it is removed, and a folder of their traces."""
    path, traces = tmp_path / "gate", tmp_path / "traces"
    path.touch()
    traces.mkdir()
    monkeypatch.setenv("BENCH_GATE", str(path))
    monkeypatch.setenv("BENCH_TRACES", str(traces))
    yield path, traces
    path.unlink(missing_ok=True)


def test_two_runs_in_one_folder_warn_and_lose_nothing(images, results, gate):
    path, traces = gate
    words = ("--dataset", images, "--metrics", "psnr", "--results", results, "--jobs", 1)

    def count_runs():
        return len({trace.name.split("-")[2] for trace in traces.iterdir()})

    first = started_bench("run", "--codecs", f"{CODECS}:Traced", *words)
    assert until(lambda: count_runs() == 1, 120)
    second = started_bench("run", "--codecs", f"{CODECS}:Traced", *words)
    assert until(lambda: count_runs() == 2, 120)
    path.unlink()
    messages = [process.communicate(timeout=900)[1] for process in (second, first)]
    assert "another run" in messages[0]
    assert (first.returncode, second.returncode) == (0, 0)
    rows = only_store(results).table()
    assert rows.filter(status="ok").height == rows["cell"].n_unique() == 18


def test_failed_cells_are_rows_exit_with_1_and_are_tried_again(results, run):
    first = run("CrashesOnDecode")
    assert first.returncode == 1
    assert "decode: ValueError: bad stream" in first.stdout
    assert {row["status"] for row in stable(only_store(results))} == {"failed"}
    assert json.loads(run("CrashesOnDecode", "--json").stdout)["measured"] == 18
    assert len(stable(only_store(results))) == 18


def test_a_bad_image_is_named_and_the_others_run(images, results, run):
    (images / "0.png").write_bytes((images / "0.png").read_bytes()[:-40])
    (images / "copy.png").write_bytes((images / "1.png").read_bytes())
    result = run("Honest", "--no-keep")
    assert result.returncode == 0, "a folder's pictures are left out, and `&&` goes on"
    assert "0.png: refused: " in result.stdout
    assert re.search(r"copy.png: refused: .* 1.png\b", result.stdout)
    assert len(stable(only_store(results))) == 15
    assert re.search(r", 15 .*\(--no-keep\)\n", result.stdout)
    assert list(results.rglob("streams/*/*")) == []
    (record,) = results.rglob("runs/*.json")
    refused_images = json.loads(record.read_text())["refused_images"]
    assert [name for name, _ in refused_images] == ["0.png", "copy.png"]


def test_a_folder_without_a_readable_picture_is_a_failure(images, run):
    for path in images.iterdir():
        path.write_bytes(b"GIF89a")
    result = run("Honest")
    assert (result.returncode, "no rows" in result.stdout) == (1, True)


@pytest.fixture
def rescore(images, results):
    selection = ("--codecs", f"{FAKES}:Honest", "--dataset", images, "--results", results)
    return lambda metrics, *options: bench("rescore", *selection, "--metrics", metrics, *options)


def test_rescoring_counts_what_it_filled_in(results, run, rescore):
    run()
    facts = json.loads(rescore("psnr_y,ms_ssim", "--json").stdout)
    assert (facts["rows"], facts["tried"], facts["filled"], facts["still_null"]) == (18, 18, 18, 18)
    rows = stable(only_store(results))
    assert all(row["psnr_y_db"] > 0 for row in rows)
    assert all("161" in row["ms_ssim_reason"] for row in rows)
    second_facts = json.loads(rescore("ms_ssim", "--json").stdout)
    assert second_facts["tried"] == 0, "small images were tried again"


def test_metrics_without_weights_decode_nothing(results, run, rescore, tmp_path, monkeypatch):
    """`bench run` and `bench rescore` say what is absent, and how to get it, before they begin."""
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert "not measured" not in run().stderr
    result = run("Honest", "--metrics", "psnr,lpips,fd_alex,dists")
    (absent,) = [line for line in result.stderr.splitlines() if line.startswith("not measured: ")]
    assert "`bench fetch alexnet`" in absent
    assert "`bench fetch dists`" in absent
    assert {*only_store(results).table()["lpips_alex_protocol"]} == {None}, "decoded again"
    rescored = rescore("lpips,fd_alex")
    assert rescored.returncode == 2
    assert "`bench fetch alexnet`" in rescored.stderr
    reported = json.loads(rescore("lpips,psnr_y", "--json").stdout)
    assert "alexnet" in reported["lacking"]["lpips"]
    assert (reported["tried"], reported["filled"], reported["still_null"]) == (18, 18, 0)
    assert json.loads(rescore("lpips,psnr_y", "--json").stdout)["tried"] == 0


def test_the_plan_counts_without_measuring(images, results, run):
    words = ("--codecs", f"{FAKES}:Honest", "--dataset", images, "--results", results, "--json")
    facts = json.loads(bench("plan", *words).stdout)
    assert (facts["cells"], facts["to_do"], facts["cells_without_estimate"]) == (18, 18, 18)
    assert not results.exists()
    run("Honest", "--limit", "2")
    facts = json.loads(bench("plan", *words).stdout)
    assert (facts["to_do"], facts["cells_without_estimate"]) == (12, 0)


def test_timed_rows_are_measured_one_by_one_and_are_in_the_table(results, run):
    run()
    assert json.loads(run("Honest", "--timing", "--json").stdout)["measured"] == 18
    assert [record["ended"] for record in only_store(results).records()] == [True, True]
    assert {(row["timing"], row["jobs"]) for row in stable(only_store(results))} == {(True, 1)}


@pytest.mark.parametrize(("words", "message"), [
    ("vtm:depth=10", "'EncoderAppStatic'"), ("vtm --timing", "'EncoderAppStatic'"),
    ("jpeg --weights-dir no", ": no "),
    ("hyperprior,jpeg", "bmshj2018-hyperprior-1-"),
    (f"{FAKES}:Missing", "'nonesuch'"), ("jpeg --dataset kodak", "kodak"),
])  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(words, message, tmp_path, monkeypatch):
    monkeypatch.delenv("VTM_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # without VTM either
    result = bench("run", "--codecs", *words.split(" "), "--results", tmp_path, code=2)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["vtm", "all"])
def test_a_folder_without_the_expected_program_is_refused(codec, tmp_path, monkeypatch):
    """Streams of the bundled pack are not used instead."""
    monkeypatch.setenv("VTM_DIR", "tests")
    result = bench("run", "--codecs", codec, "--results", tmp_path)
    assert (result.returncode, "'EncoderAppStatic'" in result.stderr) == (2, True)


@pytest.mark.parametrize(("value", "reason", "tried"), [
    (30.0, None, (0, 0)), (None, "pixels: flat", (0, 0)), (None, "weights: absent", (1, 1)),
    (None, "package (pip install x): no x", (1, 1)),
    (None, "not computed: no memory", (0, 1)), (None, None, (0, 1)),
])  # fmt: skip
def test_a_value_is_computed_again_if_its_reason_may_be_gone(value, reason, tried, tmp_path):
    rows = table([row("jpeg", 1.0, "a", psnr_db=value, psnr_db_reason=reason, recorded=False)])
    sources = [Source(ImageFile("a", tmp_path / "a"), rows["image_sha256"][0], 8, 8, False)]
    for retry in (False, True):
        unscored_rows = find_unscored_tasks(rows, sources, ["psnr"], tmp_path, retry, may_run=bool)
        assert len(unscored_rows) == tried[retry]
