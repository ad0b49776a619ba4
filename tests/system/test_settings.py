"""Settings are passed, not set: calls leave the process as it was, and workers get them."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import benchmark
from benchmark.errors import Unavailable, UsageError
from benchmark.system import settings
from support.codecs.files import FAKES
from support.files.noise import noise_images
from support.processes import ran

# A plain script, without a guard against being imported by workers.
SCRIPT = """
import os, sys
import polars  # which sets a variable of its allocator when it is imported
import torch
import benchmark

def process():
    return dict(os.environ), torch.get_num_threads()

results, weights, photographs = sys.argv[1:]
before = process()
done = benchmark.run(
    "jpeg,ours:beta=0:size=micro", photographs, points="ours.q=1", metrics="psnr", device="cpu",
    weights_dir=weights, results=results, jobs=1,
)
assert done.measured and not done.failures, done.failures
row = done.rows.rows(named=True)[0]
folder = f"{results}/{row['dataset']}"
setting = {row["setting_name"]: row["setting_value"]}
pixels = benchmark.decoded(folder, row["codec"], row["image"], device="cpu", **setting)
assert pixels.shape == (row["height_px"], row["width_px"], 3)
assert len(benchmark.load(folder)) == done.measured
changed = [one for one in zip(before, process()) if one[0] != one[1]]
print(changed)
"""


def test_a_run_leaves_the_process_of_its_caller_as_it_was(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "none.pth").touch()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    noise_images(tmp_path / "photographs", [(64, 80)])
    folders = (tmp_path / name for name in ("results", "weights", "photographs"))
    process = ran(sys.executable, script, *folders, OMP_NUM_THREADS=2)
    assert (process.stdout, process.returncode) == ("[]\n", 0), process.stderr


def test_workers_get_the_settings_of_the_call(tmp_path, monkeypatch):
    """The codec says where it runs by the device that it is given; the variable says otherwise."""
    monkeypatch.setenv("BENCH_DEVICE", "cuda")
    options = {"metrics": "psnr", "limit": 1, "jobs": 1, "device": "cpu", "results": tmp_path}
    outcome = benchmark.run(f"{FAKES}:Drifts", "sample", **options)
    assert set(outcome.rows["device"].to_list()) == {"cpu"}
    assert os.environ["BENCH_DEVICE"] == "cuda"


@settings.isolated
def use_settings_in(folder: Path) -> dict[str, str]:
    settings.use_device("cpu")
    settings.use_weights_folder(folder)
    assert settings.chosen_device() == "cpu"
    assert settings.weight_folders()[0] == folder
    return settings.worker_environment(MORE="1")


def test_settings_end_with_the_call_that_used_them(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    monkeypatch.setenv("BENCH_DEVICE", "cuda")
    monkeypatch.setenv("BENCH_WEIGHTS", "/elsewhere")
    environment_before = dict(os.environ)
    result = use_settings_in(tmp_path)
    assert result.items() >= {
        "BENCH_DEVICE": "cpu", "BENCH_WEIGHTS": f"{tmp_path}{os.pathsep}/elsewhere",
        "OMP_NUM_THREADS": "1", "MORE": "1",
    }.items()  # fmt: skip
    assert dict(os.environ) == environment_before
    assert (settings.chosen_device(), settings.settings()) == ("cuda", settings.Settings())
    assert settings.weight_folders()[0] == Path("/elsewhere")


@pytest.fixture
def two_cards(monkeypatch):
    """What torch says of a machine with two GPUs."""
    monkeypatch.setattr(settings, "GPU_MARKS", ("/",))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda card: f"H{card + 1}00")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@settings.isolated
def devices_on(device):
    if device is not None:
        assert settings.use_device(device) == "cuda"
    return settings.chosen_device(), settings.worker_environment()


SECOND_CARDS = {None: "1", "GPU-a, GPU-b": "GPU-b", "3,0": "0"}  # by CUDA_VISIBLE_DEVICES


@pytest.mark.parametrize("visible", SECOND_CARDS)
@pytest.mark.parametrize(("device", "variable"), [("cuda:1", "cpu"), (None, "cuda:1")])
def test_a_card_is_all_that_a_worker_sees(visible, device, variable, two_cards, monkeypatch):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("BENCH_DEVICE", variable)
    process_device, worker_device = devices_on(device)
    assert process_device == "cuda:1"
    expected = {"BENCH_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": SECOND_CARDS[visible]}
    assert expected.items() <= worker_device.items()


def test_an_absent_card_is_refused_and_without_one_workers_see_all(two_cards, monkeypatch):
    cards = r"cuda:0 \(H100\), cuda:1 \(H200\)"
    message = f"cuda:2: .* {cards} "
    with pytest.raises(Unavailable, match=f"^--device {message}"):
        devices_on("cuda:2")
    with pytest.raises(UsageError, match=r"^--device cuda:1: Ray"):
        settings.isolated(settings.use_device)("cuda:1", has_gpu=True)
    monkeypatch.setenv("BENCH_DEVICE", "cuda:2")
    with pytest.raises(Unavailable, match=rf"^\$BENCH_DEVICE {message}"):
        devices_on(None)
    assert "CUDA_VISIBLE_DEVICES" not in devices_on("cuda")[1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,0")
    assert devices_on("cuda")[1]["CUDA_VISIBLE_DEVICES"] == "3,0"


def test_a_codec_keeps_its_settings_in_every_thread(tmp_path, monkeypatch, photo):
    """Both threads are inside of `encode` at the same time."""
    monkeypatch.setenv("BENCH_DEVICE", "cuda")
    codec = benchmark.open_codec(f"{FAKES}:Honest:pause=0.2", device="cpu")
    with ThreadPoolExecutor(2) as pool:
        streams = list(pool.map(lambda _: codec.encode(photo, step=16), range(2)))
    assert streams[0] == streams[1]
    assert benchmark.open_codec(f"{FAKES}:Drifts", device="cpu").info.device == "cpu"
