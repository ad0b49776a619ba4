"""The leaderboard: which packs are audited, how they are ranked, and its workflow's script."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.answer import Absent
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.review.decode import DecodedStream
from benchmark.review.questions import Evidence
from benchmark.review.site import Entry, audited_packs, find_refusal, index_html, make_board
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.store import Store
from conftest import ROOT
from support.bench.command import bench
from support.packs.honest_pack import quiet, rows_in, write_rows
from support.rows.measured import doubling, row


def decoded(state="equal", psnr=30.0, image="a", **changes):
    values = {} if psnr is None else {"psnr_db": psnr}
    stored_row = row("webp", 30, image, psnr_db=30.0)
    return DecodedStream(stored_row, state, **{"values": values, "reason": state, **changes})


def declared():
    stored_row = row("folder", 1, "a", psnr_db=30.0, bytes_origin="declared", stream_sha256=None)
    return DecodedStream(stored_row, "equal", values={"psnr_db": 30.0})


def reviewed(*streams, photographs=None):
    photographs_by_dataset = {streams[0].row["dataset"]: photographs} if photographs else {}
    return Evidence(streams, (), (), photographs_by_dataset, {"set": "no photos"}, ("psnr",), "set")


@pytest.mark.parametrize(("streams", "reason"), [
    ([decoded(), decoded()], ""),
    ([decoded(), decoded("rounded", 30.0005)], ""),
    ([decoded(), decoded(psnr=30.0005)], "psnr_db of a at quality=30 is 30.0005, not 30"),
    ([decoded(), decoded("other", 29.0)], "1 of 2 streams"),
    ([decoded(), decoded("blind", None)], "unknown"),
    ([decoded(), decoded("not run", None)], " for 1 stream"),
    ([decoded("damaged", None)] * 2, "webp quality=30 a: damaged (1 more differ)"),
    ([decoded(), decoded("failed", None)], "webp quality=30 a: failed"),
    ([decoded(), decoded(wrong_size="too short")], "too short"),
    ([decoded(psnr=None)], ": no photos"),
    ([decoded(), declared()], "declared"),
])  # fmt: skip
def test_a_pack_is_audited_if_all_is_reproduced_or_the_first_difference_is_named(streams, reason):
    refusal = find_refusal(reviewed(*streams))
    assert (bool(refusal), reason in refusal) == (bool(reason), True), refusal


def test_a_pack_that_lacks_an_image_is_not_complete():
    digests = [row("webp", 30, name)["image_sha256"] for name in "ab"]
    photographs = [SimpleNamespace(sha256=d, file=SimpleNamespace(name=d[:4])) for d in digests]
    assert not find_refusal(reviewed(decoded(), decoded(image="b"), photographs=photographs))
    assert f"lacks {digests[1][:4]}" in find_refusal(reviewed(decoded(), photographs=photographs))


def entry(codec, factor, reason="", pack="mine"):
    return Entry("set", pack, codec, reason, doubling(codec, factor))


def test_audited_packs_are_ranked_by_their_bd_rate_and_others_are_below(tmp_path):
    entries = [entry("avif", 0.25, "1 value differ"), entry("jpeg", 1.0), entry("webp", 0.5),
               entry("webp", 0.8, pack="other"), entry("vvenc", 0.5)]  # fmt: skip
    board = make_board("set", entries, "JPEG", tmp_path, ("psnr",), Rule(bd="cubic"))
    ranking = [(ranked.label, ranked.pack, ranked.value) for ranked in board.entries]
    assert ranking == [
        ("webp", "mine", pytest.approx(-50)), ("vvenc", "mine", pytest.approx(-50)),
        ("webp", "other", pytest.approx(-20)), ("jpeg", "mine", float("inf")),
        ("avif", "mine", pytest.approx(-75)),
    ]  # fmt: skip
    page = index_html([board], [Absent("bent.tar", "cut off")]).replace("<wbr>", "")
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)
             for line in re.findall(r"<tr.*?</tr>", page)]  # fmt: skip
    assert [line[3] for line in cells[1:6]] == ["1", "1", "3", "4", "–"], "equal ones share a rank"
    assert cells[1][4].startswith("−50.0 [−50.0, −50.0]")
    assert (cells[4][4], cells[5][2]) == ("anchor", "not audited: 1 value differ")
    assert cells[-1] == ["bent.tar", "cut off"]
    assert all(word in page for word in (" JPEG", " cubic "))


def test_an_anchor_may_be_of_the_results_and_without_rows_is_refused(tmp_path):
    Store(tmp_path / "set").append(doubling("jpeg", 1.0))
    board = make_board("set", [entry("webp", 0.5)], "jpeg", tmp_path, ("psnr",), USUAL_RULE)
    (ranked,) = board.entries
    assert (ranked.label, ranked.value) == ("webp", pytest.approx(-50))
    with pytest.raises(UsageError, match=r"anchor vtm .* set"):
        make_board("set", [entry("webp", 0.5)], "vtm", tmp_path, ("psnr",), USUAL_RULE)


def test_texts_of_packs_are_escaped_on_the_site():
    hostile = Entry("<i>", "<img src=y>", "<b>", "<u>", [])
    page = index_html([make_board("<i>", [hostile], "", Path("none"), ("psnr",), USUAL_RULE)],
                      [Absent("<script>1</script>.tar", "<img src=x>")])  # fmt: skip
    assert not re.search(r"<(img|i|b|u|script>1)\b", page)


def audited(folder):
    return audited_packs(folder, Request(metrics=("psnr",), jobs=1), NamedCodecs("all"), quiet)


def test_packs_of_a_folder_are_read_and_others_are_refused_by_name(author, tmp_path):
    folder = tmp_path / "submissions"
    folder.mkdir()
    with pytest.raises(UsageError, match="pack"):
        audited(folder)
    shutil.unpack_archive(author / "mine.tar", folder, filter="data")
    (folder / "bent.tar").write_bytes(b"no tar")
    (folder / "link.tar").symlink_to(author / "mine.tar")
    entries, refusals = audited(folder)
    assert [(entry.pack, entry.label) for entry in entries] == [("mine", "jpeg"), ("mine", "webp")]
    assert all("nothing" in entry.refusal for entry in entries), "no photographs"
    assert {absent.what for absent in refusals} == {"bent.tar", "link.tar"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with a main branch, and a branch with two submissions, one of them wrong."""
    place = tmp_path_factory.mktemp("repository")
    repo, results = place / "repo", place / "results"
    measured = ("--dataset", "sample", "--metrics", "psnr", "--results", results, "--no-table")
    points = [w for c in ("webp", "jpeg") for w in ("--points", f"{c}.quality=10,30,60,90")]
    assert bench("run", "--codecs", "webp,jpeg", *points, *measured).returncode == 0
    (repo / "submissions").mkdir(parents=True)
    (repo / "results" / "packs").mkdir(parents=True)
    (repo / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "leaderboard.sh", repo / "tools")
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "The board")
    git(repo, "checkout", "-q", "-b", "submission")
    for name, codecs in (("good", "webp,jpeg"), ("boast", "webp")):
        pack = ("pack", "export", repo / "submissions" / name, "--codecs", codecs)
        assert bench(*pack, "--dataset", "sample", "--results", results).returncode == 0
    boast = repo / "submissions" / "boast"
    write_rows(boast, [{**row, "psnr_db": row["psnr_db"] + 0.5} for row in rows_in(boast)])
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Submit two codecs")
    git(repo, "checkout", "-q", "main")
    git(repo, "checkout", "submission", "--", "submissions")
    command = Path(sys.executable).parent / "bench"
    env = {**os.environ, "BENCH": str(command), "METRICS": "psnr", "OUT": "board"}
    words = ["tools/leaderboard.sh", "HEAD"]
    result = subprocess.run(words, cwd=repo, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr  # since one of them is wrong
    return repo / "board"


def git(repo, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *identity, *words], cwd=repo, check=True, capture_output=True)


@pytest.mark.slow
def test_the_script_reviews_each_pack_of_a_pull_request_and_ranks_them(repository):
    comment = (repository / "comment.md").read_text()
    parts = (comment.partition(f"**{name}**")[2] for name in ("boast", "good"))
    boast, good = (part.partition("\n**")[0] for part in parts)
    assert "- **no**: Are the numbers right?" in boast
    assert "- **yes**: Are the numbers right?" in good.replace("\\", "")
    words = " ".join(comment.split())
    assert "not audited boast webp sample 0 of 4 " in words
    assert "audited good jpeg sample" in words
    page = (repository / "site" / "index.html").read_text().replace("<wbr>", "")
    assert page.index(">audited<") < page.index(">not audited: 0 of 4 means")
