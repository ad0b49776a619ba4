"""A folder to try commands in, as a reader of the help would have it."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from support.bench.command import bench

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with the bundled results, copies of them to compare and to merge, and an image."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("kodak", "packs", "published"):
        shutil.copytree(ROOT / "results" / name, folder / "results" / name)
    shutil.copytree(folder / "results" / "kodak", folder / "other" / "kodak")
    shutil.copy(folder / "results" / "packs" / "vtm-23.13.tar", folder / "vtm.tar")
    for name in ("results-a", "results-b"):
        shutil.copytree(ROOT / "results" / "sample", folder / name / "sample", ignore=_own_rows)
    noise = Image.effect_noise((96, 80), 30).convert("RGB")
    noise.save(folder / "in.png")
    Image.new("L", (6, 5), 90).save(folder / "importance.png")
    own = f"--results {folder / 'results'}"
    for words in (
        f"run --codecs jpeg,webp --dataset sample {own}",
        f"pack export {folder / 'webp.tar'} --codecs webp --dataset sample {own}",
        f"encode {folder / 'in.png'} {folder / 'out.crdr'}",
    ):
        done = bench(*words.split())
        assert done.returncode == 0, done.stderr
    return folder


def _own_rows(folder, names):
    """What a run in this checkout has stored, which may differ from the bundled rows."""
    own = {name for name in names if not name.lstrip(".").startswith("shipped-")}
    return own if Path(folder).name in ("per_image", "sets") else own & {"report", "streams"}
