"""Files of MS-ILLM: which they are, which of them are used, and how they become networks."""

import hashlib
import inspect
import re
import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from baselines import msillm as weights
from baselines.compressai.weights import importable
from baselines.msillm import MSILLM
from benchmark.codec import Setting
from benchmark.errors import Unavailable, UsageError
from benchmark.system.digest import record_sha256
from conftest import ROOT
from support.files.hostile_files import MakesFolder

needs_package = pytest.mark.skipif(
    find_spec("neuralcompression") is None, reason="neuralcompression is not installed"
)


@pytest.fixture(autouse=True)
def _nothing_kept():
    yield
    weights.network.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that is searched for weights; the package looks installed, and is not imported."""
    monkeypatch.setattr(weights, "require_package", lambda: None)
    monkeypatch.setattr("baselines.msillm.version", lambda package: "1.0")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    return tmp_path


def test_without_the_package_or_with_another_release_it_is_unavailable(monkeypatch):
    def absent(_package):
        raise PackageNotFoundError

    for version in (absent, lambda _: "0.4.0"):
        monkeypatch.setattr("importlib.metadata.version", version)
        with pytest.raises(Unavailable, match="run `pip install fvcore && pip"):
            MSILLM(weights="random")


@needs_package
@pytest.mark.parametrize("kind", ["published", "no-gan"])
def test_addresses_and_names_are_those_of_the_package(kind):
    with importable():
        from neuralcompression.zoo import _msillm, _noganms
    module = {"published": _msillm, "no-gan": _noganms}[kind]
    (built,) = (text for name, text in _sources(module) if name.startswith("_build"))
    before, after = re.search(r'url = \(\s*"(.*?)"\s*\+ f"(.*?)"', built, re.DOTALL).groups()
    entries = [text for name, text in _sources(module) if "_quality_" in name]
    asked = [re.search(r'weights = "(.*?)"', text)[1] for text in entries]
    theirs = [before + after.format(weights=target) for target in asked]
    assert [file.url for file in MSILLM.published_weights({"weights": kind})] == theirs
    assert set(asked) == set(module.VALID_WEIGHTS)


def _sources(module):
    functions = inspect.getmembers(module, inspect.isfunction)
    return sorted((name, inspect.getsource(one)) for name, one in functions)


def test_the_files_to_fetch_are_six_without_a_digest():
    files = MSILLM.published_weights({})
    assert files == MSILLM.published_weights({"weights": "published"})
    assert [file.name for file in files[:2]] == [
        "msillm_target_0.035bpp.ckpt",
        "msillm_target_0.07bpp.ckpt",
    ]
    assert all(file.url.endswith(f"/{file.name}") for file in files)
    assert {file.sha256 for file in files} == {""}
    assert len({file.name for file in files}) == 6
    of_worker = tomllib.loads((ROOT / "contenders" / "msillm.toml").read_text())["weights"]
    assert {file.url for file in files} < {weight["url"] for weight in of_worker.values()}


@pytest.mark.parametrize("options", [{"weights": "random"}, {"weights": "hific"}, {"quality": "1"}])
def test_options_without_published_files_are_refused(options):
    with pytest.raises(UsageError, match="names no published weights: fetch msillm"):
        MSILLM.published_weights(options)


@pytest.mark.parametrize(
    ("kind", "command"),
    [("published", "bench fetch msillm"), ("no-gan", "bench fetch msillm:weights=no-gan")],
)
def test_missing_weights_say_how_to_get_them(folder, kind, command):
    with pytest.raises(Unavailable, match=rf"0\.035bpp\.ckpt in .*: run `{command}`$"):
        MSILLM(weights=kind)


def test_files_that_are_here_make_the_sweep_and_missing_ones_are_told(folder):
    for target in ("0.3", "0.07"):
        (folder / f"msillm_target_{target}bpp.ckpt").write_bytes(target.encode())
    codec = MSILLM()
    info = codec.describe()
    assert codec.sweep == (Setting("quality", 2), Setting("quality", 4))
    assert info.caveat == "no weights for quality 1, 3, 5, 6"
    assert info.licence == "MIT AND CC-BY-NC-4.0"
    hashes = b"".join(hashlib.sha256(text).digest() for text in (b"0.07", b"0.3"))
    assert info.fingerprint == hashlib.sha256(hashes).hexdigest()


def test_a_file_that_changed_since_it_was_fetched_is_refused(folder):
    path = folder / "msillm_target_0.14bpp.ckpt"
    path.write_bytes(b"as fetched")
    record_sha256(path)
    assert MSILLM().sweep == (Setting("quality", 3),)
    path.write_bytes(b"as changed")
    with pytest.raises(
        Unavailable, match=r"0\.14bpp\.ckpt is not the file .* `bench fetch msillm`"
    ):
        MSILLM()


@needs_package
def test_a_file_of_the_time_of_publication_gives_its_network(folder, photo):
    """CompressAI named the parameters of its entropy model otherwise then, and files had tables."""
    made = weights.network(weights.NetworkSource("msillm", 3, "random", None, "", "cpu"))
    state = {_as_then(name): tensor for name, tensor in made.state_dict().items()}
    assert "hyper_bottleneck._matrix0" in state
    torch.save(state, folder / "msillm_target_0.14bpp.ckpt")
    codec, crop = MSILLM(), photo[:70, :50]
    stream = codec.encode(crop, Setting("quality", 3))
    assert stream == MSILLM(weights="random").encode(crop, Setting("quality", 3))


def _as_then(name: str) -> str:
    for now, then in (("matrices.", "_matrix"), ("biases.", "_bias"), ("factors.", "_factor")):
        name = name.replace(f"hyper_bottleneck.{now}", f"hyper_bottleneck.{then}")
    return name


@needs_package
@pytest.mark.parametrize(
    ("held", "told"),
    [
        (
            {"weights": MakesFolder(Path("boom"))},
            "cannot be read as weights: it is damaged, or holds more than",
        ),
        ({"g_a.0.weight": torch.zeros(3)}, "holds no MS-ILLM: .*Missing key"),
        ([1, 2], "holds no MS-ILLM"),
    ],
    ids=["code", "another network", "no tensors"],
)
def test_a_file_of_something_else_is_refused(held, told, folder, monkeypatch, photo):
    monkeypatch.chdir(folder)
    torch.save(held, folder / "msillm_target_0.14bpp.ckpt")
    with pytest.raises(Unavailable, match=rf"0\.14bpp\.ckpt {told}"):
        MSILLM().encode(photo, Setting("quality", 3))
    assert not (folder / "boom").exists()
