"""A study's folder: what is in it, what raters cannot know, the same by its seed."""

import json
import re
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from benchmark.compare.pictures import MAX_CLOSE_RATIO
from benchmark.errors import UsageError
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec
from benchmark.study.form import SOURCE, WORSE, read_key

CODECS = ("jpeg", "webp", "jpeg2000", "jp2k", "crdr", "quality", "ratio=", "cup", "spoon")


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def digests(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): sha256(path.read_bytes()).hexdigest() for path in paths}


def test_raters_get_no_name_of_a_codec_setting_or_photograph(study):
    page = study / "page"
    assert {path.suffix for path in page.iterdir()} == {".png", ".html"}
    for path in page.glob("*.png"):
        assert re.fullmatch(r"[0-9a-f]{16}\.png", path.name)
        assert b"text" not in path.read_bytes().lower()[:100]
        with Image.open(path) as image:
            assert not image.info
    text = (page / "index.html").read_text().lower()
    assert not [name for name in CODECS if name in text]
    assert "http" not in text.replace("http-equiv", "")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert data.keys() == {"study", "files", "training", "lists", "post"}
    assert {len(trial) for trials in data["lists"] for trial in trials} == {3}, "no known answer"


def test_pictures_are_what_the_streams_decode_to_and_equal_rates_are_equal(study, measured):
    key = read_key(study)
    (store,) = (Store(path.parent) for path in (measured / "results").glob("*/per_image"))
    rows = {row["cell"]: row for row in store.table().rows(named=True)}
    trials = [trial for trials in key.lists for trial in trials]
    shown_sources = {key.pictures[trial.source] for trial in trials}
    for picture in key.pictures:
        crop = pixels(study / "page" / picture.file)
        assert crop.shape == (96, 96, 3)
        if picture.stimulus in (SOURCE, WORSE):
            continue
        row = rows[picture.cell]
        codec = load_codec(CodecSpec.parse(row["codec"], row["variant"]))
        decoded = codec.decode(store.stream(row["stream_sha256"]))
        windows = np.lib.stride_tricks.sliding_window_view(decoded, (96, 96, 3))[::8, ::8, 0]
        ((y, x),) = np.argwhere((windows == crop).all(axis=(2, 3, 4))) * 8
        wanted = picture.image, SOURCE
        (original,) = {p.file for p in shown_sources if (p.image, p.stimulus) == wanted}
        source = pixels(measured / "photos" / picture.image)
        assert (pixels(study / "page" / original) == source[y : y + 96, x : x + 96]).all()
    for trial in trials:
        pair = key.pictures[trial.first], key.pictures[trial.second]
        if trial.better:
            assert pair[trial.better - 1].stimulus == SOURCE
            assert {picture.stimulus for picture in pair} == {SOURCE, WORSE}
            continue
        assert {picture.image for picture in pair} == {key.pictures[trial.source].image}
        first, second = (key.stimuli[picture.stimulus] for picture in pair)
        if first.level == second.level:
            ratio = max(pair[0].bpp / pair[1].bpp, pair[1].bpp / pair[0].bpp)
            assert ratio <= MAX_CLOSE_RATIO + 1e-9
        else:
            assert first.system == second.system


def test_the_same_seed_gives_the_same_files_and_another_one_others(tmp_path, study, write):
    write(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(study)
    write(tmp_path / "other", seed=1)
    assert digests(tmp_path / "other").keys() != digests(study).keys()


def test_a_study_is_not_written_over_another_and_needs_two_codecs_at_a_rate(tmp_path, study, write):
    with pytest.raises(UsageError, match=r"a study: .*folder"):
        write(study)
    with pytest.raises(UsageError, match=" 10 %"):
        write(tmp_path / "study", codecs="jpeg")
    assert not (tmp_path / "study").exists()
