"""A folder to try commands in, as a reader of the help would have it."""

import shutil

import pytest
from PIL import Image

from support.bench.command import bench
from support.files.noise import effect_noise
from support.rows.bundled_results import copy_bundled_results


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with the bundled results, copies of them to compare and to merge, and an image."""
    folder = tmp_path_factory.mktemp("examples")
    bundled = copy_bundled_results(tmp_path_factory.mktemp("bundled") / "results")
    for name in ("kodak", "packs", "published"):
        shutil.copytree(bundled / name, folder / "results" / name)
    shutil.copytree(folder / "results" / "kodak", folder / "other" / "kodak")
    shutil.copy(folder / "results" / "packs" / "vtm-23.13.tar", folder / "vtm.tar")
    for name in ("results-a", "results-b"):
        shutil.copytree(bundled / "sample", folder / name / "sample")
    noise = effect_noise((96, 80), 30).convert("RGB")
    noise.save(folder / "in.png")
    Image.new("L", (6, 5), 90).save(folder / "importance.png")
    own = f"--results {folder / 'results'}"
    points = "--points jpeg.quality=10,30,webp.quality=5,60 --metrics psnr"
    for words in (
        f"run --codecs jpeg,webp --dataset sample {points} {own}",
        f"pack export {folder / 'webp.tar'} --codecs webp --dataset sample {own}",
    ):
        bench(*words.split(), code=0)
    return folder
