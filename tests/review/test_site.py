"""The leaderboard: submissions to a local repository, audited and drawn as its workflow does it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from io import StringIO
from pathlib import Path

import pytest

from benchmark.errors import StoreError
from benchmark.review.again import Again
from benchmark.review.leaderboard import Cost, Entry, Origin, citation, cost_of, sort_out
from benchmark.review.site import Board, index_html
from benchmark.review.streams import Sent
from benchmark.review.submission import Audit, Statement, Submission, _audited, read_statement
from benchmark.rows.store import Store
from conftest import ROOT
from support.bench.command import bench
from support.page.opened import CHROMIUM, DESKTOP, PHONE
from support.rows.measured import row as measured_row

TOML = """title = "A codec & its rate"
authors = ["A. Author"]
year = 2026
doi = "10.1000/182"
decode_kmac = 50
"""


def row(**changes):
    return {
        **measured_row("webp", 30, "a"),
        "variant": "",
        "width_px": 8,
        "height_px": 8,
        **changes,
    }


def again(state="equal", psnr=30.0, sent=30.0, **changes):
    return Again(row(psnr_db=sent), state, values={"psnr_db": psnr}, **{"twice": True, **changes})


@pytest.mark.parametrize(
    ("streams", "reason"),
    [
        ([again(), again()], ""),
        ([again(), again("rounded", 30.0005)], ""),
        ([again(), again(psnr=30.0005)], "1 value differ: psnr_db of a at quality=30 is 30.0005"),
        ([again(), again("other", 29.0)], "1 stream with other pixels; 1 value differ"),
        ([again(), again(twice=False)], "1 stream with other pixels the second time"),
        ([again(), Again(row(), "not run")], "1 stream not run: no decoder here"),
        ([again(), Again(row(), "failed")], "1 stream failed"),
        ([again(), Again(row(psnr_db=30.0), "equal", twice=True)], "1 stream not scored"),
    ],
)
def test_an_audit_takes_what_is_reproduced_and_names_the_first_difference(streams, reason):
    verdict = _audited(streams, ["psnr"], "no photos")
    assert verdict.reason.startswith(reason)
    assert verdict.audited == (reason == "")


WRONG = ("x", "decode_kmac = -1", 'doi = "<b>"', 'url = "javascript:1"', "authors = 3", "rank = 1")


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_statement_is_one_sentence(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(StoreError, match=r"mine\.toml cannot be read"):
        read_statement(tmp_path / "mine.toml")
    (tmp_path / "link.toml").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="a link that leads out"):
        read_statement(tmp_path / "link.toml")


def entry(kmac, label="webp", **changes):
    origin = Origin(Statement(**changes))
    cost = cost_of(row(codec=label), Origin(Statement(decode_kmac=kmac)), None)
    return Entry("kodak", label, True, {}, 4, 24, cost, origin, row(codec=label))


def test_the_class_of_cost_is_by_declared_work_and_a_program_has_its_own():
    kinds = [entry(kmac, "./x.py:X").cost.kind for kmac in (5, 10, 11, 5000, None)]
    assert kinds == ["to 10 kMAC/px", "to 10 kMAC/px", "to 100 kMAC/px", "above 1,000 kMAC/px",
                     "not declared"]  # fmt: skip
    assert entry(None).cost.kind == "program"


def test_a_citation_has_what_a_doi_needs_and_its_text_cannot_leave_its_field():
    bibtex, datacite = citation(entry(5, title="a} & {b", authors=("X",), doi="10.1000/182"), "P")
    assert "title = {a\\} \\& \\{b: rates and distortions on kodak}" in bibtex
    assert "doi = {10.1000/182}" in bibtex
    needed = {"creators", "titles", "publisher", "publicationYear", "types"}
    assert needed <= {name for name, value in datacite.items() if value}


def test_texts_of_submissions_are_escaped_on_the_site():
    wrong = Submission("<script>1</script>.tar", None, Statement(), (), {}, "<img src=x>")
    cost = Cost(None, None, None, None, None, "<b>")
    hostile = entry(5, title="<img src=y>")._replace(label="<i>x", cost=cost)
    page = index_html([Board("kodak", "", (), [hostile], False)], [wrong], "P")
    assert not re.search(r"<(img|i|b|script>1)\b", page)


def sources(*of):
    """Submissions of one system: name, latest time, PSNR; each of one picture at one setting."""
    found = []
    for name, time, value in of:
        data = name.encode()
        changes = {"finished_utc": time, "psnr_db": value, "num_bytes": len(data)}
        changes |= {"stream_sha256": sha256(data).hexdigest(), "dataset": "sample"}
        sent = Sent(row(**changes), lambda data=data: data)
        audit = Audit(True, "", 1, ("psnr_db",), None, "here")
        found.append(Submission(name, None, Statement(), [sent], {"webp": audit}))
    return found


def test_of_a_system_the_newest_audited_submission_stands_whole_and_others_are_below(tmp_path):
    later, sooner = "2026-02-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"
    never = "9999-01-01T00:00:00+00:00"
    known = sources(("old", sooner, 30.0), ("new", later, 31.0), ("to come", never, 33.0))
    done = sort_out(tmp_path / "none", known, tmp_path / "audited")
    stored = Store(tmp_path / "audited" / "sample").table()
    assert stored["psnr_db"].to_list() == [31.0]
    assert done.standing["sample"]["webp"].name == "new"
    below = done.declared["sample"]
    assert {*below.rows} == {"WebP (old)", "WebP (to come)"}
    assert below.origins["WebP (old)"].below == "a newer verified one stands: of new"


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


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
windows = pytest.mark.parametrize("page", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)


def shown(page):
    """Return rank and system of the rows that are seen."""
    texts = "(r) => [r.cells[0].textContent, r.cells[1].firstChild.textContent]"
    rows = page.locator(".sortable tbody tr")
    return rows.evaluate_all(f"(rows) => rows.filter((r) => !r.hidden).map({texts})")


@needs_chromium
@windows
def test_the_table_sorts_and_filters_and_ranks_within_a_class(page, tmp_path):
    own = [entry(kmac, "./x.py:X")._replace(label=name) for name, kmac in (("b", 50), ("a", 5))]
    declared = entry(5, "./x.py:X")._replace(label="c", audited=False)
    board = Board("kodak", "a", (), [*own, entry(None)._replace(label="d"), declared], False)
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
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
@needs_chromium
@windows
def test_the_site_ranks_audited_rows_and_leads_to_their_pictures(repository, page):
    page.goto((repository / "site" / "index.html").as_uri())
    names = ["WebP (good)", "JPEG (good)", "WebP (boast)"]
    assert shown(page) == [["1", names[0]], ["2", names[1]], ["–", names[2]]]
    page.get_by_role("link", name="Curves and pictures").click()
    page.wait_for_selector("#chart .point")
