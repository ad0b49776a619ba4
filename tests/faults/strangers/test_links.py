"""Links in a results folder: no verb writes into, or removes from, the folder that one leads to."""

import shutil
import warnings

import numpy as np
import pytest

from benchmark.errors import DamagedResults, StoreError
from benchmark.metrics.metric import Reduced
from benchmark.rows.reduce import Pair, Reduction, Reductions, reduction_key
from benchmark.rows.store import Store
from benchmark.rows.streams import FeatureFolder, ImageFeatures
from support.bench.command import bench
from support.bench.reading_verbs import READS, RESULTS
from support.quick import quick


def here(verb):
    """Return a verb without a folder of its own for what it writes."""
    return tuple(word for word in READS[verb] if word not in ("--out", "out"))


# Folders of a dataset and of the whole results, and the verbs that write there.
OF_DATASET = ("per_image", "runs", "streams", "damaged", "report", "report/pictures")
OF_RESULTS = ("baselines", "figures", "figures/crdr", "published")
IN_DATASET = {
    **{verb: READS[verb] for verb in ("report --page", "pack import", "audit decode")},
    "run": tuple(word.replace("quality=10,", "quality=10,20,") for word in READS["run"]),
    "run --verify": (*READS["run"], "--verify"),
    "rescore": tuple(word.replace("psnr", "psnr,psnr_y") for word in READS["rescore"]),
    "report": here("report"),
    "merge": ("merge", "theirs", "--into", "results"),
}
ADD = ("published", "add", "mine.csv", "--system", "Mine", "--reference", "10.1000/182", *RESULTS)
IN_RESULTS = {
    "baseline save": READS["baseline save"],
    "figures rd": here("figures rd"),
    "figures crdr": here("figures crdr"),
    "published add": ADD,
    "merge": IN_DATASET["merge"],
}


def contents(folder):
    return {str(path): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("place", quick([*OF_DATASET, *OF_RESULTS], "baselines"))
def test_no_verb_writes_or_removes_behind_a_link(place, work, tmp_path):
    """What the link leads to are files of the same names as bench writes."""
    dataset = work.parent
    assert bench(*READS["report --page"]).returncode == 0
    shutil.copytree("results", "theirs")
    for path in (tmp_path / "theirs").rglob("*.parquet"):
        path.unlink()  # so that a merge has streams and records to add
    linked = (tmp_path / "results" if place in OF_RESULTS else dataset) / place
    linked.mkdir(parents=True, exist_ok=True)
    mine = shutil.copytree(linked, tmp_path / "mine")
    for name in ("bd_rate.tex", "rd.pdf", "rd.tex", "crops.tex"):
        (mine / name).write_text("by hand")
    shutil.rmtree(linked)
    linked.symlink_to(mine, target_is_directory=True)
    (tmp_path / "mine.csv").write_text("bpp,psnr\n.1,30\n.2,33\n.4,36\n.8,39\n")
    before = contents(mine)
    for verb, words in (IN_RESULTS if place in OF_RESULTS else IN_DATASET).items():
        with warnings.catch_warnings():
            warnings.simplefilter("default", DamagedResults)
            done = bench(*words)
        assert contents(mine) == before, verb
        assert done.returncode in (0, 1, 2), (verb, done.stderr)


def test_features_and_reductions_behind_a_link_stay(tmp_path):
    mine, dataset = tmp_path / "mine", tmp_path / "results" / "photos"
    image = ImageFeatures("space/1", "a" * 64, np.zeros((2, 3), np.float32))
    FeatureFolder(mine).keep(image)
    (damaged,) = (mine / "features").glob("*/*/*.npy")
    damaged.write_bytes(b"no array")
    dataset.mkdir(parents=True)
    (dataset / "features").symlink_to(mine / "features")
    (mine / "sets").mkdir()
    (dataset / "sets").symlink_to(mine / "sets")
    before = contents(mine)
    folder = FeatureFolder(dataset)
    assert folder.read(image.protocol, image.pixels_sha256) is None
    assert folder.prune(0) == 0
    with pytest.raises(StoreError, match=r"aa leads out of .*photos by a link"):
        folder.keep(image)
    key = reduction_key("fd/1", [Pair("a", "b")])
    reductions = Reductions(dataset)
    reductions.add([Reduction(key, "fd", "fd/1", Reduced(1.0, np.ones(1)))])
    assert reductions.get(key) is not None
    assert contents(mine) == before


def test_a_damaged_stream_is_not_moved_behind_a_link(tmp_path):
    store = Store(tmp_path / "results" / "photos")
    digest = store.keep(b"stream")
    (tmp_path / "mine").mkdir()
    (store.folder / "damaged").symlink_to(tmp_path / "mine")
    with pytest.raises(StoreError, match="damaged leads out of"):
        store.set_stream_aside(digest)
    assert store.stream(digest) == b"stream"
