"""The leaderboard: submissions to a local repository, audited and drawn as its workflow does it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from benchmark.compare.bd import Comparison
from benchmark.compare.curves import Delta
from benchmark.review.leaderboard import Cost, Entry, Origin, cost_of
from benchmark.review.site import Board, index_html
from benchmark.review.submission import Statement, Submission
from conftest import ROOT
from support.bench.command import bench
from support.page.opened import DESKTOP, PHONE
from support.rows.measured import row

TOML = """title = "A codec & its rate"
authors = ["A. Author"]
year = 2026
doi = "10.1000/182"
decode_kmac = 50
"""


def entry(kmac, label="webp", **changes):
    origin = Origin(Statement(**changes))
    cost = cost_of(row(label, 30, "a"), Origin(Statement(decode_kmac=kmac)), None)
    return Entry("kodak", label, True, {}, 4, 24, cost, origin, row(label, 30, "a"))


def test_texts_of_submissions_are_escaped_on_the_site():
    wrong = Submission("<script>1</script>.tar", None, Statement(), (), {}, "<img src=x>")
    cost = Cost(None, None, None, None, None, "<b>")
    hostile = entry(5, title="<img src=y>")._replace(label="<i>x", cost=cost)
    page = index_html([Board("kodak", "", (), [hostile], False)], [wrong], "P")
    assert not re.search(r"<(img|i|b|script>1)\b", page)


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
    (repo / "submissions" / "good.toml").write_text(TOML)
    lines = repo / "submissions" / "boast" / "rows.csv"
    rows = list(csv.DictReader(StringIO(lines.read_text())))
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**record, "psnr_db": float(record["psnr_db"]) + 0.5} for record in rows)
    lines.write_text(text.getvalue())
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Submit two codecs")
    git(repo, "checkout", "-q", "main")
    git(repo, "checkout", "submission", "--", "submissions")
    command = Path(sys.executable).parent / "bench"
    env = {**os.environ, "BENCH": str(command), "METRICS": "psnr", "OUT": "board"}
    words = ["tools/leaderboard.sh", "HEAD"]
    done = subprocess.run(words, cwd=repo, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # since one of them is wrong
    return repo / "board"


def git(repo, *words):
    known = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *known, *words], cwd=repo, check=True, capture_output=True)


@pytest.mark.slow
def test_the_comment_says_of_each_submission_what_was_reproduced(repository):
    comment = (repository / "comment.md").read_text()
    parts = (comment.partition(f"**{name}**")[2] for name in ("boast", "good"))
    boast, good = (part.partition("\n**")[0] for part in parts)
    assert "- **no**: Are the points reproduced?" in boast
    assert "- **yes**: Are the points reproduced?" in good.replace("\\", "")
    assert "not verified boast webp: 16 values differ" in comment
    assert "verified good jpeg" in comment
    report = repository / "site" / "sample"
    assert (report / "page.html").exists()
    listed = json.loads((report / "report.json").read_text())["pictures"]  # a later site's page
    assert {*listed} == {path.name for path in (report / "pictures").iterdir()} != set()
    cited = json.loads((repository / "site" / "citations.json").read_text())
    related = [of["relatedIdentifier"] for one in cited for of in one["relatedIdentifiers"]]
    assert {*related} == {"10.1000/182"}


@pytest.fixture
def page(request, browser):
    """A page of a browser of one window; at the end it said nothing on its console."""
    opened = browser.new_page(viewport=request.param)
    text = []
    opened.on("console", lambda message: text.append(message.text))
    opened.on("pageerror", lambda error: text.append(str(error)))
    yield opened
    opened.close()
    assert text == []


windows = pytest.mark.parametrize("page", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)


def shown(page):
    """Return rank and system of the rows that are seen."""
    texts = "(r) => [r.cells[0].textContent, r.cells[1].firstChild.textContent]"
    rows = page.locator(".sortable tbody tr")
    return rows.evaluate_all(f"(rows) => rows.filter((r) => !r.hidden).map({texts})")


@windows
def test_the_table_sorts_and_filters_and_ranks_within_a_class(page, tmp_path):
    def ranked(kmac, label, rate, name="./x.py:X", **changes):
        numbers = Delta(rate, 1.0), Delta(why=""), Delta(why="")
        rates = {"psnr_db": Comparison("psnr_db", label, "z", *numbers)}
        return entry(kmac, name)._replace(label=label, rates=rates, **changes)

    own = ranked(50, "b", -3.0), ranked(5, "a", -2.0), ranked(None, "d", -1.0, "webp")
    board = Board("kodak", "a", (), [*own, ranked(5, "c", -3.0, audited=False)], False)
    (tmp_path / "index.html").write_text(index_html([board], [], "P"))
    page.goto((tmp_path / "index.html").as_uri())
    assert shown(page) == [["1", "b"], ["2", "a"], ["3", "d"], ["–", "c"]]
    page.get_by_role("button", name="system").click()
    assert shown(page) == [["2", "a"], ["1", "b"], ["3", "d"], ["–", "c"]]
    page.get_by_role("button", name="kMAC/px").click()
    page.get_by_role("button", name="kMAC/px").click()  # falls; without a number: last
    assert shown(page) == [["1", "b"], ["2", "a"], ["3", "d"], ["–", "c"]]
    classes = page.locator(".segments span").all_inner_texts()
    assert classes == ["all", "to 10 kMAC/px", "to 100 kMAC/px", "program"]
    page.get_by_role("radio", name="to 10 kMAC/px").check(force=True)
    assert shown(page) == [["1", "a"], ["–", "c"]]
    equal = [one._replace(rates=own[0].rates) for one in own[:2]]
    tied = Board("kodak", "a", (), [*equal, own[2]], False)
    (tmp_path / "index.html").write_text(index_html([tied], [], "P"))
    page.goto((tmp_path / "index.html").as_uri())
    page.get_by_role("radio", name="to 10 kMAC/px").check(force=True)
    page.get_by_role("radio", name="all").check(force=True)
    assert shown(page) == [["1", "b"], ["1", "a"], ["3", "d"]], "equal ones share a rank"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
@windows
def test_the_site_ranks_audited_rows_and_leads_to_their_pictures(repository, page):
    page.goto((repository / "site" / "index.html").as_uri())
    names = ["WebP (good)", "JPEG (good)", "WebP (boast)"]
    assert shown(page) == [["1", names[0]], ["2", names[1]], ["–", names[2]]]
    page.get_by_role("link", name="Curves and pictures").click()
    page.wait_for_selector("#chart .point")
