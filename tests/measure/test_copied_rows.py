"""Rows that a run copies: from checks, and from settings with unchanged weights."""

import json

import pytest

from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.network_codec import BUNDLED
from benchmark.rows.store import Store
from support.bench.command import bench
from support.files.noise import noise_images
from support.rows.stable_rows import only_store

EVERY = {"quality=1", "quality=2", "quality=3"}
CODEC = """
from pathlib import Path
import numpy as np
from benchmark.codec import Setting

HERE = Path(__file__).parent


class Mine:
    checkpoints = {1.0: str(HERE / "1.pth"), 2.0: str(HERE / "2.pth"), 3.0: str(HERE / "3.pth")}
    files = tuple(checkpoints.values())
    sweep = tuple(Setting("quality", value) for value in checkpoints)

    def encode(self, pixels, setting):
        step = int(Path(self.checkpoints[setting.value]).read_text())
        with (HERE / "encoded.txt").open("a") as log:
            log.write(f"{setting}\\n")
        head = np.array([*pixels.shape[:2], step], np.uint16).tobytes()
        return head + (pixels // step).tobytes()

    def decode(self, data):
        height, width, step = np.frombuffer(data[:6], np.uint16)
        return np.frombuffer(data[6:], np.uint8).reshape(height, width, 3) * np.uint8(step)
"""


@pytest.fixture
def codec_file(tmp_path):
    """File of a codec with a checkpoint for each of three settings, which logs its settings."""
    (tmp_path / "mine.py").write_text(CODEC)
    for number, step in ((1, 32), (2, 16), (3, 8)):
        (tmp_path / f"{number}.pth").write_text(str(step))
    return tmp_path / "mine.py"


@pytest.fixture
def measured(codec_file, tmp_path):
    """Function that measures with further words; it returns the encoded settings and output."""
    images = noise_images(tmp_path / "photos", [(64, 48), (64, 49)])

    def run(verb="run", *words):
        log = tmp_path / "encoded.txt"
        log.unlink(missing_ok=True)
        codecs = ("--codec" if verb == "check" else "--codecs", f"{codec_file}:Mine")
        shared = ("--dataset", images, "--metrics", "psnr", "--jobs", "1")
        result = bench(verb, *codecs, *shared, *words, code=None if verb == "check" else 0)
        assert result.returncode in (0, 1, 3, 4), result.stderr
        return {*(log.read_text() if log.exists() else "").split()}, result

    return run


def test_a_new_file_for_one_of_three_settings_measures_that_setting_alone(measured, tmp_path):
    words = "--results", tmp_path / "results"
    assert measured("run", *words)[0] == EVERY
    (tmp_path / "2.pth").write_text("64")
    settings, second = measured("run", *words)
    assert settings == {"quality=2"}
    assert "2 cells measured, 0 failed" in second.stdout
    assert "4 cells copied " in second.stderr
    builds = only_store(tmp_path / "results").table().group_by("fingerprint").len()
    assert builds["len"].to_list() == [6, 6], "both editions are whole"
    assert measured("run", *words)[0] == set()


def test_another_source_file_or_an_invalid_record_measures_all(measured, codec_file, tmp_path):
    words = "--results", tmp_path / "results"
    measured("run", *words)
    codec_file.write_text(CODEC + "\n# another program\n")
    assert measured("run", *words)[0] == EVERY
    for path in tmp_path.glob("results/*/runs/*.json"):
        record = json.loads(path.read_text())
        for codec in record["codecs"].values():
            codec["parts"] = "none"
        path.write_text(json.dumps(record))
    (tmp_path / "2.pth").write_text("64")
    assert measured("run", *words)[0] == EVERY


def test_a_run_copies_rows_of_checks_by_default_or_in_its_results(measured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured("run", "--results", "reference")
    (tmp_path / "2.pth").write_text("64")
    assert measured("check", "--against", "reference")[0] == EVERY
    settings, planned = measured("plan", "--results", "mine", "--json")
    assert (json.loads(planned.stdout)["to_do"], settings) == (0, set())
    assert measured("run", "--results", "mine")[0] == set()
    (folder,) = (tmp_path / "mine").iterdir()
    rows = Store(folder).table()
    assert rows.height == 6
    assert all(Store(folder).has_stream(digest) for digest in rows["stream_sha256"])
    assert {path.stem for path in folder.glob("runs/*.json")} >= {*rows["run"]}
    (tmp_path / "results").rename("others")
    assert measured("run", "--results", "others")[0] == set()


def test_a_new_name_for_one_of_two_checkpoints_measures_that_checkpoint_alone(tmp_path):
    """Networks of CompressAI, whose option `checkpoint` has a file for each quality."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("compressai", reason="needs the Python package compressai")
    for number in (1, 2, 3):
        trained = load_checkpoint(BUNDLED / f"hyperprior-{number}.safetensors.xz").network.codec
        torch.save(trained.state_dict(), tmp_path / f"{number}.pth")
    images = noise_images(tmp_path / "photos", [(64, 48)])
    model = "compressai:model=bmshj2018-hyperprior:name=Mine:checkpoint="

    def run(verb, *names):
        codec = model + ",".join(str(tmp_path / f"{name}.pth") for name in names)
        words = ("--dataset", images, "--metrics", "psnr", "--results", tmp_path / "results")
        return bench(verb, "--codecs", codec, *words, "--jobs", "1", "--json", code=0)

    run("run", 1, 2)
    planned = json.loads(run("plan", 1, 3).stdout)
    assert (planned["cells"], planned["to_do"]) == (2, 1)
