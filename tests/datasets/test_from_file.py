"""A dataset of a function in a user's file: found by every command, each mistake one sentence."""

import pytest

from benchmark.datasets.dataset import ImageFile, open_dataset
from benchmark.errors import UsageError
from support.bench.command import bench
from support.files.noise import effect_noise

HEAD = """from pathlib import Path

from benchmark.datasets.dataset import Dataset, ImageFile


"""
WHOLE = """def open_mine():
    found = Path(__file__).parent.glob("*.png")
    return Dataset("mine", tuple(ImageFile(path.name, path) for path in found))
"""
NAME = "./sets.py:open_mine"


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 0):
        effect_noise((40, 30), 50 + number).convert("RGB").save(tmp_path / f"{number}.png")
    (tmp_path / "sets.py").write_text(HEAD + WHOLE)
    return tmp_path


IMAGES = "tuple(ImageFile(path.name, path) for path in found)"
MISTAKES = {
    "a syntax error": (WHOLE.replace("():", "(:"), "line 6"),
    "no such function": (WHOLE.replace("open_mine", "open_mine_too"),
        "'open_mine'", "Did you mean 'open_mine_too'?"),
    "a class": ("class open_mine:\n    pass\n", "'open_mine'"),
    "an exception": (WHOLE.replace("found =", "found = 1 / 0, "),
        "line 7", NAME, "ZeroDivisionError"),
    "a list": (WHOLE.replace(f'Dataset("mine", {IMAGES})', "list(found)"),
        "line 6", NAME, "Dataset", "list"),
    "a name of ours": (WHOLE.replace('"mine"', '"kodak"'),
        "line 6", "'kodak'"),
    "a part of one of ours": (WHOLE.replace('"mine"', '"clic2020:mine"'),
        "line 6", "'clic2020:mine'"),
    "a name that leads elsewhere": (WHOLE.replace('"mine"', '"../mine"'),
        "line 6", "'../mine'"),
    "no image": (WHOLE.replace("*.png", "*.tif"), "line 6", "ImageFile"),
    "paths": (WHOLE.replace(IMAGES, "tuple(found)"), "line 6", "ImageFile"),
    "two of a name": (WHOLE.replace("path.name, path", "'a', path"),
        "line 6", "'a'"),
    "an image that is not there": (WHOLE.replace("path.name, path", "path.name, path / 'a'"),
        "line 6", ".png/a"),
    "a path among images": (WHOLE.replace(IMAGES, "(ImageFile('a', 'a'), *found)"),
        "line 6", "ImageFile"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_dataset_file_is_one_sentence_before_anything_runs(mistake, work_folder):
    source, *names = mistake
    (work_folder / "sets.py").write_text(HEAD + source)
    result = bench("run", "--codecs", "raw", "--dataset", NAME, "--results", "r", code=2)
    (sentence,) = result.stderr.splitlines()
    assert all(name in sentence for name in ("sets.py", *names)), sentence
    assert not (work_folder / "r").exists()


def test_images_are_sorted_and_a_function_may_take_the_data_folders(work_folder):
    assert [image.name for image in open_dataset(NAME).images] == ["0.png", "1.png"]
    (work_folder / "sets.py").write_text(HEAD + WHOLE.replace("tuple(", "("))  # a generator
    assert [image.name for image in open_dataset(NAME).images] == ["0.png", "1.png"]
    (work_folder / "sets.py").write_text(HEAD + WHOLE.replace("()", "(folders)").replace(
        "Path(__file__).parent", "folders[0]"))  # fmt: skip
    (work_folder / "data").mkdir()
    (work_folder / "0.png").rename(work_folder / "data" / "0.png")
    result = open_dataset(NAME, work_folder / "data")
    assert result.images == (ImageFile("0.png", work_folder / "data" / "0.png"),)
    (work_folder / "data" / "0.png").unlink()
    with pytest.raises(UsageError, match="ImageFile"):
        open_dataset(NAME, work_folder / "data")
