"""Verbs write into the folder of results unless another place is named."""

import pytest

from support.bench.command import bench
from support.files.noise import effect_noise

RUN = "run --codecs jpeg --dataset photos --metrics psnr --points jpeg.quality=10,30,50,80"
EXPORT = "pack export mine.tar --codecs jpeg --dataset photos"
COMMANDS = {
    "audit rows --dataset photos": "again",
    "review mine.tar --dataset photos --metrics psnr": "review",
    "site --submissions . --metrics psnr": "site",
    "worker new toy": "contenders",
    "figures rd --dataset photos --metrics psnr": "figures",
}


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for side in (64, 80):
        effect_noise((90, side), 40).convert("RGB").save(tmp_path / "photos" / f"{side}.png")
    assert bench(*RUN.split()).returncode == 0
    assert bench(*EXPORT.split()).returncode == 0
    return tmp_path


def test_folders_that_verbs_make_are_inside_the_results(work_folder):
    for words, folder in COMMANDS.items():
        result = bench(*words.split())
        assert (work_folder / "results" / folder).is_dir(), result.stderr
    assert {path.name for path in work_folder.iterdir()} == {"photos", "results", "mine.tar"}
