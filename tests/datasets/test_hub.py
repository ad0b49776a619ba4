"""Datasets, weights and packs of the Hugging Face Hub, from its cache on this disk."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from benchmark.datasets.dataset import open_dataset
from benchmark.errors import Unavailable, UsageError
from support.bench.command import bench
from support.files.noise import effect_noise

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Returns a function that puts files into the Hub's cache, as its library lays them out."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def place(kind: str, repository: str, files: dict[str, bytes]) -> None:
        folder = cache / f"{kind}s--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(COMMIT)
        for name, content in files.items():
            path = folder / "snapshots" / COMMIT / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return place


def picture(side: int) -> bytes:
    path = Path("drawn.png")
    effect_noise((side, 64), 40).convert("RGB").save(path)
    return path.read_bytes()


def parquet(contents: dict[str | None, bytes]) -> bytes:
    rows = [{"path": path, "bytes": content} for path, content in contents.items()]
    path = Path("drawn.parquet")
    pl.DataFrame({"label": list(range(len(rows))), "image": rows}).write_parquet(path)
    return path.read_bytes()


def test_pictures_in_folders_are_measured_and_the_commit_is_recorded(hub):
    files = {f"data/test/{side}.png": picture(side) for side in (64, 80)}
    files["data/test/rows.parquet"] = parquet({"x.png": picture(72)})  # not read beside pictures
    hub("dataset", "me/photos", {**files, "data/train/96.png": picture(96), "README.md": b"#"})
    words = "run --codecs jpeg --dataset hf:me/photos:test --metrics psnr"
    result = bench(*words.split(), "--points", "jpeg.quality=10,30,50,80", code=0)
    assert "8 cells measured" in result.stdout
    (record,) = Path("results/me--photos/runs").glob("*.json")
    assert json.loads(record.read_text())["origin"] == f"hf:me/photos@{COMMIT}"
    report = bench("report", "--dataset", "hf:me/photos:test", "--json")
    assert json.loads(report.stdout)[0]["dataset"] == "me--photos:test"
    assert json.loads(report.stdout)[0]["images"] == 2
    assert len(open_dataset("hf:me/photos").images) == 3


def test_pictures_in_parquet_files_are_those_bytes_once(hub):
    contents = {"a.png": picture(64), "b c.png": picture(80)}
    hub("dataset", "me/rows", {
        "data/test-00000-of-00002.parquet": parquet(contents),
        "data/test-00001-of-00002.parquet": parquet({None: picture(96)}),
        "data/train-00000-of-00001.parquet": parquet({"x.png": picture(72)}),
    })  # fmt: skip
    dataset = open_dataset(f"hf:me/rows:test@{COMMIT}")
    names = ["test/00000-a.png", "test/00001-b_c.png", "test/00002.png"]
    assert [image.name for image in dataset.images] == names
    assert dataset.images[0].path.read_bytes() == contents["a.png"]
    assert (dataset.name, dataset.origin) == ("me--rows:test", f"hf:me/rows@{COMMIT}")
    write_times = [image.path.stat().st_mtime_ns for image in dataset.images]
    second_dataset = open_dataset("hf:me/rows:test")
    assert [image.path.stat().st_mtime_ns for image in second_dataset.images] == write_times
    with Image.open(second_dataset.images[2].path) as last:
        assert last.size == (96, 64)


def test_what_is_not_here_whole_is_said_with_the_command_that_fetches_it(hub):
    hub("dataset", "me/part", {"test-00000-of-00002.parquet": b""})
    hub("dataset", "me/text", {"data.txt": b"a"})
    hub("dataset", "me/table", {"test-00000-of-00001.parquet": b""})
    pl.DataFrame({"words": ["a"]}).write_parquet("drawn.parquet")
    hub("dataset", "me/table", {"test-00000-of-00001.parquet": Path("drawn.parquet").read_bytes()})
    with pytest.raises(Unavailable, match="hf:me/none:test"):
        open_dataset("hf:me/none:test")
    with pytest.raises(Unavailable, match="1 of 2 files"):
        open_dataset("hf:me/part:test")
    with pytest.raises(UsageError, match=r"parquet .* words"):
        open_dataset("hf:me/table")
    with pytest.raises(UsageError, match="parquet "):
        open_dataset("hf:me/text")
    with pytest.raises(UsageError, match=r"hf:USER/NAME\[:SPLIT\]"):
        open_dataset("hf:photos")


def test_a_parquet_file_that_is_damaged_is_named_with_its_remedy(hub):
    file_bytes = parquet({"a.png": picture(64)})
    for number, damaged in enumerate(
        (b"", file_bytes[:-9], file_bytes[:50] + file_bytes[-60:], b"PAR1" * 3)
    ):
        hub("dataset", f"me/cut{number}", {"test-00000-of-00001.parquet": damaged})
        with pytest.raises(Unavailable, match="test-00000"):
            open_dataset(f"hf:me/cut{number}")


def test_fetching_without_the_network_is_one_sentence(hub):
    result = bench("fetch", "hf:me/none:test", code=2)
    assert len(result.stderr.splitlines()) == 1
    assert " hf:me/none:test " in result.stderr


def test_a_weight_file_is_verified_and_copied_and_a_pack_stays(hub, tmp_path):
    content, weights = b"weights", tmp_path / "cache" / "torch" / "hub" / "checkpoints"
    digest = hashlib.sha256(content).hexdigest()
    hub("model", "me/net", {"low.pth": content, "deep/mine.tar": b"pack"})
    assert bench("fetch", "hf:me/net/low.pth", "--sha256", "0" * 64).returncode == 2
    assert not weights.exists()
    result = bench("fetch", f"hf:me/net/low.pth@{COMMIT}", "--sha256", digest[:12], code=0)
    assert digest in result.stdout
    assert (weights / "low.pth").read_bytes() == content
    assert "deep/mine.tar" in bench("fetch", "hf:me/net/deep/mine.tar").stdout
    (weights / "low.pth").write_bytes(b"other")
    assert "low.pth" in bench("fetch", "hf:me/net/low.pth", code=2).stderr
