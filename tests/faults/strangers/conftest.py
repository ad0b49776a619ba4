"""Results of two codecs and a pack of them, as a stranger may have changed them."""

import shutil

import pytest

from support.bench.command import bench
from support.bench.reading_verbs import POINTS, RUN
from support.files.noise import effect_noise


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Three photographs, their rows by two codecs, and a pack of them."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "photos").mkdir()
    for number, size in enumerate(((176, 168), (168, 180), (170, 170))):
        effect_noise(size, 8 + number).convert("RGB").save(folder / "photos" / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ("run", *RUN, "--metrics", "psnr,ms_ssim", "--jobs", "1"),
            ("pack", "export", "pack.tar", *POINTS[:2], "--results", "results"),
        ):
            bench(*words, code=0)
    return folder


@pytest.fixture
def work(sound, tmp_path, monkeypatch):
    """A copy of that folder, which is the current one, and the folder of its shards."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (shards,) = tmp_path.glob("results/*/per_image")
    return shards
