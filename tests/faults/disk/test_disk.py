"""Results where a disk ends, may only be read, or has an odd name."""

import sys
from contextlib import contextmanager

import pytest

from benchmark.rows.store import Store
from support.bench.command import bench
from support.codecs.files import FAKES
from support.files.noise import effect_noise, noise_images
from support.processes import ran
from support.quick import quick
from support.rows.stable_rows import losses_of, only_store, stable

HONEST = f"{FAKES}:Honest"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    sizes = [(120, 100 + number) for number in range(4)]
    return noise_images(tmp_path_factory.mktemp("photos") / "images", sizes)


def words(*arguments):
    """Return a command that keeps nothing that Python compiles: a part of it would stay."""
    return [sys.executable, "-B", "-m", "benchmark", *map(str, arguments)]


def run_words(images, results, codec=HONEST, *options):
    return (
        "run", "--codecs", codec, "--dataset", images, "--metrics", "psnr", "--results", results,
        "--json", *options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def expected(images, tmp_path_factory):
    results = tmp_path_factory.mktemp("whole")
    assert bench(*run_words(images, results)).returncode == 0
    return stable(only_store(results))


@contextmanager
def mounted(folder, options):
    """Mount a file system of its own; skip the test where that is not allowed."""
    folder.mkdir()
    result = ran("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)
    if result.returncode:
        pytest.skip(f"needs the right to mount a file system: {result.stderr.strip()}")
    try:
        yield folder
    finally:
        ran("umount", "-l", folder)


def one_sentence(result, sentence):
    return (
        result.returncode == 1
        and sentence in result.stderr.splitlines()[-1]
        and result.stderr.count("bench: ") == 1
        and "Traceback" not in result.stderr
    )


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_a_sentence_and_more_room_lets_it_resume(images, tmp_path):
    """Six rows and streams of 40 kB do not fit; ever larger disks take it to the end."""
    slow = (f"{HONEST}:pause=1.05", "--limit", 2)  # each row is stored as soon as it is there
    assert bench(*run_words(images, tmp_path / "whole", *slow)).returncode == 0
    expected = stable(only_store(tmp_path / "whole"))
    faults = grown = 0
    with mounted(tmp_path / "small", "size=48k") as results:
        cells: set[str] = set()
        for kilobytes in (60, 150, 300, 4096):
            larger = ("mount", "-o", f"remount,size={kilobytes}k", results)
            assert ran(*larger).returncode == 0
            stored = len(cells)
            ended = ran(*words(*run_words(images, results, *slow)))
            (store,) = map(Store, results.iterdir())
            lost, cells = losses_of(store, cells)
            assert lost == 0
            grown += len(cells) > stored
            if ended.returncode:
                faults += 1
                assert one_sentence(ended, "No space left on device")
        assert ended.returncode == 0
        assert stable(store) == expected
    assert faults >= 2
    assert grown >= 2, "no row was stored before the disk was full"


def test_files_that_may_not_grow_end_the_run_in_a_sentence(images, expected, tmp_path):
    """A limit of the process stands in for a full disk where mounting is not allowed."""
    results = tmp_path / "results"
    ended = ran("prlimit", "--fsize=20000", *words(*run_words(images, results)))
    assert one_sentence(ended, "File too large"), ended.stderr
    (store,) = map(Store, results.iterdir())
    assert losses_of(store, set())[0] == 0
    assert bench(*run_words(images, results)).returncode == 0
    assert stable(store) == expected


@pytest.mark.slow
def test_a_compiled_file_that_a_full_disk_cut_short_is_a_sentence(tmp_path):
    """Python itself keeps such a file and stumbles over it ever after."""
    call = [sys.executable, "-m", "benchmark", "--version"]
    environment = {"PYTHONPYCACHEPREFIX": tmp_path, "PYTHONDONTWRITEBYTECODE": ""}
    assert ran(*call, **environment).returncode == 0
    (compiled,) = tmp_path.rglob("benchmark/system/machine.*.pyc")
    compiled.write_bytes(compiled.read_bytes()[:-40])
    assert one_sentence(ran(*call, **environment), "__pycache__")


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A PNG of 100 kB and a stream of it."""
    folder = tmp_path_factory.mktemp("noise")
    effect_noise((200, 200), 60).convert("RGB").save(folder / "in.png")
    result = ran(*words("encode", folder / "in.png", folder / "in.webp", "--codec", "webp"))
    assert result.returncode == 0
    return folder


@pytest.mark.parametrize("verb", quick(["encode", "decode", "train"], "encode", "decode"))
def test_a_file_that_does_not_fit_leaves_no_draft(verb, noise, tmp_path, monkeypatch):
    calls = {
        "encode": ("encode", noise / "in.png", "out.jpg", "--point", "quality=95"),
        "decode": ("decode", noise / "in.webp", "out.png"),
        "train": ("train", "--recipe", "smoke", "--data", "sample", "--out", "run"),
    }
    options = ("--codec", "jpeg") if verb == "encode" else ()
    monkeypatch.chdir(tmp_path)
    ended = ran("prlimit", "--fsize=8192", *words(*calls[verb], *options))
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".part"]
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (1, 2)


@pytest.mark.slow
def test_results_that_may_only_be_read_are_shown_and_never_written(images, expected, tmp_path):
    with mounted(tmp_path / "shelf", "size=4m") as results:
        assert bench(*run_words(images, results)).returncode == 0
        assert ran("mount", "-o", "remount,ro", results).returncode == 0
        assert bench(*run_words(images, results)).returncode == 0
        assert bench("audit", "decode", results, "--codecs", HONEST).returncode == 0
        for writes in (run_words(images, results, "jpeg"), ("report", "--results", results)):
            assert one_sentence(bench(*writes), "Read-only file system")
        assert stable(only_store(results)) == expected
