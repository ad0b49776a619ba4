"""Rows that a run takes over: of settings whose own weights are unchanged."""

import json

import pytest

from benchmark.rows.store import Store
from support.bench.command import bench
from support.files.noise import noise_images

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
def mine(tmp_path):
    """A codec with a checkpoint for each of three settings; it logs what it encodes."""
    (tmp_path / "mine.py").write_text(CODEC)
    for number, step in ((1, 32), (2, 16), (3, 8)):
        (tmp_path / f"{number}.pth").write_text(str(step))
    return tmp_path / "mine.py"


@pytest.fixture
def measured(mine, tmp_path):
    """Measure with these further words and return the settings encoded, and what was printed."""
    images = noise_images(tmp_path / "photos", [(64, 48), (64, 49)])

    def run(*words):
        log = tmp_path / "encoded.txt"
        log.unlink(missing_ok=True)
        shared = ("--dataset", images, "--metrics", "psnr", "--jobs", "1")
        done = bench("run", "--codecs", f"{mine}:Mine", *shared, *words)
        text = log.read_text() if log.exists() else ""
        return {*text.split()}, done

    return run


def test_a_new_file_for_one_of_three_settings_measures_that_setting_alone(measured, tmp_path):
    words = "--results", tmp_path / "results"
    every, first = measured(*words)
    assert first.returncode == 0, first.stderr
    assert every == EVERY
    (tmp_path / "2.pth").write_text("64")
    again, second = measured(*words)
    assert second.returncode == 0, second.stderr
    assert again == {"quality=2"}
    assert "2 cells measured, 0 failed, 4 were finished before" in second.stdout
    assert "4 cells taken over: of unchanged weights" in second.stderr
    (folder,) = (tmp_path / "results").iterdir()
    rows = Store(folder).table()
    builds = rows.group_by("fingerprint").len().sort("fingerprint")
    assert builds["len"].to_list() == [6, 6], "both editions are whole"
    assert measured(*words)[0] == set()


def test_another_source_file_of_the_codec_measures_all(measured, mine, tmp_path):
    words = "--results", tmp_path / "results"
    measured(*words)
    mine.write_text(CODEC + "\n# another program\n")
    assert measured(*words)[0] == EVERY


def test_a_record_that_a_stranger_wrote_is_no_build(measured, tmp_path):
    words = "--results", tmp_path / "results"
    measured(*words)
    for path in tmp_path.glob("results/*/runs/*.json"):
        record = json.loads(path.read_text())
        for codec in record["codecs"].values():
            codec["parts"] = "none"
        path.write_text(json.dumps(record))
    (tmp_path / "2.pth").write_text("64")
    assert measured(*words)[0] == EVERY
