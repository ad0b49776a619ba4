"""What is typed behind --dataset: every kind of place, with every verb that wants its rows."""

from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.bench.command import bench
from support.quick import quick

SETS = """
from pathlib import Path

from benchmark.datasets.dataset import Dataset, ImageFile


def mine():
    files = [ImageFile(path.name, path) for path in sorted(Path("other").glob("*.png"))]
    return Dataset("mine", files)
"""
CODECS = ("--codecs", "jpeg,webp")
# By kind: what is measured, and the words that mean it afterwards.
KINDS = {"name": ("sample", "sample"), "folder": ("photos", "photos"),
         "folder-by-stored-name": ("photos", "photos-*"), "list": ("chosen.csv", "chosen.csv"),
         "list-by-stored-name": ("chosen.csv", "chosen-*"),
         "function": ("./sets.py:mine", "./sets.py:mine"),
         "function-by-stored-name": ("./sets.py:mine", "mine")}  # fmt: skip
VERBS = {  # words beside --dataset and --results, and what has to be there afterwards
    "report": ("report", *CODECS, "--metrics", "psnr", "--format", "svg", "--out", "o"),
    "page": ("report", *CODECS, "--metrics", "psnr", "--page", "--format", "svg", "--out", "o"),
    "rank": ("rank", *CODECS, "--at", "psnr=30"),
    "crops": ("figures", "crops", *CODECS, "--metrics", "psnr", "--bpp", "1", "--out", "o"),
    "study": ("study", "new", *CODECS, "--bpp", "1", "--crop", "64", "--each", "4", "--out", "o"),
    "export": ("export", "images", *CODECS, "--limit", "1", "--to", "o"),
    "rescore": ("rescore", *CODECS, "--metrics", "psnr_y"),
    "audit-rows": ("audit", "rows", *CODECS, "--metrics", "psnr", "--limit", "1", "--out", "o"),
    "plan": ("plan", *CODECS),
    "run": ("run", *CODECS, "--metrics", "psnr", "--limit", "1", "--no-table"),
    "check": ("check", "--codec", "jpeg", "--metrics", "psnr", "--limit", "2", "--results", "o"),
}


# Verbs that need images, not rows alone.
OF_IMAGES = {"page", "crops", "study", "rescore", "audit-rows", "plan", "run", "check"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, coffee):
    folder = tmp_path_factory.mktemp("places")
    with chdir(folder):
        Path("sets.py").write_text(SETS)
        for name in ("photos", "other"):
            Path(name).mkdir()
            for place, shift in (("cup", 0), ("spoon", 90)):
                crop = np.ascontiguousarray(coffee[shift : shift + 120, 200:344])
                crop = crop if name == "photos" else crop[::-1]
                Image.fromarray(crop).save(f"{name}/{place}.png")
        Path("chosen.csv").write_text("image,name\nphotos/cup.png,first\nother/cup.png,second\n")
        for text in dict.fromkeys(text for text, _ in KINDS.values()):
            words = ("--limit", "2") if text == "sample" else ()
            bench("run", *CODECS, "--dataset", text, "--metrics", "psnr", "--jobs", "1", *words,
                  "--results", "r", code=0)  # fmt: skip
    return folder


@pytest.mark.parametrize("verb", quick(VERBS, "report", "rank", "plan", "run"))
@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_means_the_same_to_every_verb(kind, verb, measured, tmp_path, monkeypatch):
    monkeypatch.chdir(measured)
    text = KINDS[kind][1]
    text = next(Path("r").glob(text)).name if "*" in text else text
    words = [str(tmp_path / "o") if word == "o" else word for word in VERBS[verb]]
    if verb == "audit-rows":
        words.insert(2, "r")
    else:
        words += ["--against" if verb == "check" else "--results", "r"]
    result = bench(*words, "--dataset", text)
    if kind == "function-by-stored-name" and verb in OF_IMAGES:  # rows start no Python file
        assert "`--dataset ./sets.py:mine`" in result.stdout + result.stderr
        return
    assert result.returncode == 0, result.stderr
    assert "The original is missing" not in result.stdout + result.stderr
    if verb == "page":
        html = next((tmp_path / "o").rglob("page.html")).read_text()
        assert "The original is missing" not in html
