"""Links in a results folder: no verb writes into, or removes from, the folder that one leads to."""

import shutil
import warnings

import pytest

from benchmark.errors import DamagedResults
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
    user_folder = shutil.copytree(linked, tmp_path / "mine")
    for name in ("bd_rate.md", "rd.pdf", "rd.tex", "crops.tex"):
        (user_folder / name).write_text("by hand")
    shutil.rmtree(linked)
    linked.symlink_to(user_folder, target_is_directory=True)
    (tmp_path / "mine.csv").write_text("bpp,psnr\n.1,30\n.2,33\n.4,36\n.8,39\n")
    contents_before = contents(user_folder)
    for verb, words in (IN_RESULTS if place in OF_RESULTS else IN_DATASET).items():
        with warnings.catch_warnings():
            warnings.simplefilter("default", DamagedResults)
            result = bench(*words)
        assert contents(user_folder) == contents_before, verb
        assert result.returncode in (0, 1, 2), (verb, result.stderr)
