"""Entries of a leaderboard from made-up rows: what is verified, ranked, below the line, and why."""

import math
import re
from hashlib import sha256

import pytest

from benchmark.errors import UsageError
from benchmark.measure.request import Request
from benchmark.metrics.metric import Metric
from benchmark.review import leaderboard
from benchmark.review.claim import summary_of
from benchmark.review.leaderboard import (
    NOT_VERIFIED,
    Cost,
    Entry,
    Origin,
    citation,
    cost_of,
    sort_out,
)
from benchmark.review.request import SiteRequest
from benchmark.review.site import Board, build_site, index_html
from benchmark.review.streams import Sent
from benchmark.review.submission import Audit, Statement, Submission
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.pack import Pack
from benchmark.rows.store import Store
from support.packs.honest_pack import quiet
from support.rows.measured import doubling as curve
from support.rows.measured import failed, row

PSNR = Metric.named("psnr")


def entry(kmac, label="webp", **changes):
    cost = cost_of(row(label, 30, "a"), Origin(Statement(decode_kmac=kmac)), None)
    origin = Origin(Statement(**changes))
    return Entry("kodak", label, True, {}, 4, 24, cost, origin, row(label, 30, "a"))


def test_a_cost_is_that_of_the_row_before_that_of_the_authors_and_has_its_class():
    kinds = [entry(kmac, "./x.py:X").cost.kind for kmac in (10, 11, 100, 101, 1000, 1001, None)]
    limits = ["to 10 kMAC/px", *["to 100 kMAC/px"] * 2, *["to 1,000 kMAC/px"] * 2]
    assert kinds == [*limits, "above 1,000 kMAC/px", "not declared"]
    assert entry(None).cost.kind == "program"
    stated = Statement(parameters=1, encode_kmac=2, decode_kmac=3, memory_bytes=4)
    origin = Origin(stated, Audit(True, "", 1, (), 0.5, "here"))
    bare = row("./x.py:X", 30, "a")
    mine = bare | {"encode_kmac": 20.0}
    assert cost_of(mine, origin, 9.0) == Cost(1, 20.0, 3, 4, 0.5, limits[0])
    assert cost_of(bare, Origin(stated), 9.0) == Cost(1, 2, 3, 4, 9.0, limits[0])


def test_a_citation_has_what_a_doi_needs_and_its_text_cannot_leave_its_field(tmp_path):
    bibtex, datacite = citation(entry(5, title="a} & {b", authors=("X",), doi="10.1000/182"), "P")
    assert "title = {a\\} \\& \\{b: rates and distortions on kodak}" in bibtex
    assert "doi = {10.1000/182}" in bibtex
    needed = {"creators", "titles", "publisher", "publicationYear", "types"}
    assert needed <= {name for name, value in datacite.items() if value}
    assert datacite["relatedIdentifiers"][0]["relatedIdentifier"] == "10.1000/182"
    pack = Pack(tmp_path, "x", (), {}, {}, "abc", {})
    plain = entry(5, url="https://a.b/c_d")._replace(audited=False)
    plain = plain._replace(origin=plain.origin._replace(pack=pack, name="mine"))
    bibtex, datacite = citation(plain, "P")
    assert bibtex.splitlines() == [
        "@misc{webp-mine-kodak-2025,", "  title = {WebP (mine): rates and distortions on kodak},",
        "  author = {P},", "  year = {2025},", "  publisher = {P},", "  version = {sha256:abc},",
        "  note = {not verified; coding/1},", "  url = {https://a.b/c_d}", "}",
    ]  # fmt: skip
    assert (datacite["publicationYear"], datacite["relatedIdentifiers"]) == (2025, [])
    assert "kodak-2020," in citation(entry(5, year=2020), "P")[0]


def sources(*of):
    """Submissions of one system: name, latest time, PSNR, settings; each of one picture."""
    found = []
    for name, time, value, *settings in of:
        data = name.encode()
        changes = {"finished_utc": time, "psnr_db": value, "num_bytes": len(data)}
        changes |= {"stream_sha256": sha256(data).hexdigest(), "dataset": "sample"}
        rows = [row("webp", at, "a", **changes) for at in settings or (30,)]
        sent = [Sent(each, lambda data=data: data) for each in rows]
        audit = Audit(True, "", 1, ("psnr_db",), None, "here")
        found.append(Submission(name, None, Statement(), sent, {"webp": audit}))
    return found


LATER, SOONER = "2026-02-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"


def test_of_a_system_the_newest_audited_submission_stands_whole_and_others_are_below(tmp_path):
    never = "9999-01-01T00:00:00+00:00"
    known = sources(("old", SOONER, 30.0), ("new", LATER, 31.0), ("to come", never, 33.0))
    done = sort_out(tmp_path / "none", known, tmp_path / "audited")
    stored = Store(tmp_path / "audited" / "sample").table()
    assert stored["psnr_db"].to_list() == [31.0]
    assert stored["ms_ssim"].to_list() == [None]
    assert stored["ms_ssim_reason"].to_list() == ["not reproduced by the audit"]
    assert done.standing["sample"]["webp"].name == "new"
    below = done.declared["sample"]
    assert {*below.rows} == {"WebP (old)", "WebP (to come)"}
    assert below.origins["WebP (old)"].below == "a newer verified one stands: of new"


def test_a_newer_submission_of_fewer_points_does_not_take_the_place_of_a_whole_one(tmp_path):
    known = sources(("whole", SOONER, 30.0, 10, 30, 50), ("half", LATER, 31.0, 30, 50))
    done = sort_out(tmp_path / "none", known, tmp_path / "audited")
    assert done.standing["sample"]["webp"].name == "whole"
    stored = Store(tmp_path / "audited" / "sample").table()
    assert sorted(stored.select("setting_value", "psnr_db").rows()) == [
        (10, 30), (30, 30), (50, 30)
    ]  # fmt: skip
    why = done.declared["sample"].origins["WebP (half)"].below
    assert why == "a larger verified one stands: of whole"


@pytest.mark.parametrize(
    ("audits", "read", "why"),
    [
        ({"webp": Audit(False, "1 stream failed", 1, (), None, "here")}, True, "1 stream failed"),
        ({"webp": Audit(True, "", 1, (), None, "here")}, False, ""),
        ({}, True, "its streams were not sent"),
    ],
)
def test_a_submission_that_is_not_whole_is_below_with_its_reason(tmp_path, audits, read, why):
    (good,) = sources(("mine", LATER, 30.0))
    sent = [*good.sent, good.sent[0] if read else good.sent[0]._replace(read=None)]
    done = sort_out(tmp_path / "none", [good._replace(sent=sent, audits=audits)], tmp_path / "a")
    below = done.declared["sample"]
    assert ([*done.standing], below.origins["WebP (mine)"].below) == ([], why)
    assert [one["psnr_db"] for one in below.rows["WebP (mine)"]] == [30, 30]


@pytest.fixture
def results(tmp_path):
    """A folder with three curves; JPEG is verified, and WebP but for its first setting."""
    store = Store(tmp_path / "results" / "sample")
    rows = curve("webp", 0.5) + curve("jpeg", 1) + curve("avif", 0.75)
    for one in rows:
        data = bytes(one["num_bytes"])
        one["stream_sha256"] = sha256(data).hexdigest()
        store.keep(data)
        one["attested"] = one["setting_value"] > {"jpeg": 0, "webp": 10, "avif": 99}[one["codec"]]
    store.append([*rows, failed("webp", 60, "a", "encode", "why") | {"dataset": "sample"}])
    return tmp_path / "results"


def test_rows_of_the_results_stand_where_they_were_verified_others_are_below(results, tmp_path):
    done = sort_out(results, (), tmp_path / "audited")
    table = Store(tmp_path / "audited" / "sample").table()
    counts = dict(table.group_by("codec").len().rows())
    assert counts == {"webp": 8, "jpeg": 10}
    below = done.declared["sample"]
    assert {name: len(rows) for name, rows in below.rows.items()} == {"WebP": 2, "AVIF speed 4": 10}
    assert {origin.below for origin in below.origins.values()} == {NOT_VERIFIED}
    eight = (30, *range(100, 107))  # one is of a cell of the results, which have eight too
    newer = sources(("new", LATER, 31.0, *eight))
    again = sort_out(results, newer, tmp_path / "again")
    assert again.standing["sample"]["webp"].name == "new"
    assert len(again.declared["sample"].rows["WebP"]) == 9
    older = sources(("old", "2024-01-01T00:00:00+00:00", 31.0, *eight))
    first = sort_out(results, older, tmp_path / "first").declared["sample"]
    assert first.origins["WebP (old)"].below == "a newer verified one stands: of the results here"


def test_entries_are_ranked_by_their_bd_rate_with_the_anchor_at_0_and_no_number_last():
    rows = curve("raw", 1, 99) + curve("jpeg", 1) + curve("webp", 0.5)
    rows += curve("avif", 0.75, timing=True, decode_seconds=0.004)
    origins = {"webp": Origin(name="mine")}
    of = summary_of(rows, ["psnr"]), [PSNR], "jpeg", origins, rows
    entries = leaderboard.audited_entries("sample", *of)
    assert [one.name for one in entries] == ["WebP (mine)", "AVIF speed 4", "JPEG", "Raw"]
    values = [leaderboard.rank_value(one) for one in entries]
    assert values == pytest.approx([-50, -25, 0, float("inf")])
    assert {(one.audited, one.points, one.images) for one in entries} == {(True, 5, 2)}
    assert [one.cost.seconds for one in entries] == [None, pytest.approx(0.5), None, None]
    assert [bool(one.why) for one in entries] == [False, False, False, True]
    assert "no quality or rate in common" in entries[3].why
    assert entries[0].row is rows[2 * 10 + 9]

    below = leaderboard.Rows({"x": curve("webp", 0.8)[:8], "none": [], "y": curve("jpeg", 1)},
                 {"x": Origin(below="why")})  # fmt: skip
    mine, same = leaderboard.declared_entries("sample", below, [PSNR], "jpeg", curve("jpeg", 1))[:2]
    assert leaderboard.rank_value(mine) == pytest.approx(-20)
    assert (mine.audited, mine.why, mine.points, mine.images) == (False, "why", 4, 2)
    assert (same.label, same.rates, same.audited, same.points) == ("jpeg", {}, False, 5)


def cells(page):
    """Return the numbers of each line of the tables: by what they sort, and as they are shown."""
    found = re.findall(r"<tr data-class.*?</tr>", page, re.DOTALL)
    return [re.findall(r'data-value="([^"]*)"[^>]*>([^<]*)</td>', line) for line in found]


def test_the_table_shows_rank_rates_with_intervals_and_costs():
    rows = curve("raw", 1, 99) + curve("jpeg", 1) + curve("webp", 0.5)
    rows += curve("avif", 2, above=9)  # 2 times 2 ** -1.8; 11 of 29 dB in common
    of = summary_of(rows, ["psnr"]), [PSNR], "jpeg", {}, rows
    entries = leaderboard.audited_entries("kodak", *of)
    cost = Cost(25e6, 700, 50, 3e8, 0.25, "to 100 kMAC/px")
    declared = entries[0]._replace(audited=False, cost=cost, origin=Origin(below="why not"))
    lone = entries[1]._replace(audited=False, rates={})
    board = Board("kodak", "jpeg", [PSNR], [*entries, declared, lone], True)
    page = index_html([board], [], "P")
    none = [("", "–")] * 4
    program = ("", "program")
    first, avif, jpeg, raw, fifth, sixth = cells(page)
    assert first == [("1", "1"), ("-50", "−50.0 [−50.0, −50.0]"), program, *none]
    assert (jpeg[:2], avif[0]) == ([("3", "3"), ("0", "0")], ("2", "2"))
    assert avif[1][1] == "−42.6† [−42.6, −42.6]"
    assert raw == [("", "–"), ("", "–"), program, *none]
    assert fifth == [("", "–"), ("-50", "−50.0 [−50.0, −50.0]"), ("50", "to 100 kMAC/px"),
                              ("0.25", "0.25"), ("50", "700 + 50"), ("2.5e+07", "25"),
                              ("3e+08", "300")]  # fmt: skip
    assert sixth[:2] == [("", "–"), ("", "–")]
    assert "4 verified entries, 2 not verified; BD-rates (%) against JPEG" in page
    assert 'title="the curves have no quality or rate in common"' in page
    words = "why not", "kodak/page.html", "Not read", '<tbody class="'
    assert [page.count(text) for text in words] == [1, 1, 0, 2]


def test_systems_of_one_bd_rate_share_a_rank():
    rows = curve("jpeg", 1) + curve("webp", 0.5) + curve("avif", 0.5)
    of = summary_of(rows, ["psnr"]), [PSNR], "jpeg", {}, rows
    entries = leaderboard.audited_entries("kodak", *of)
    page = index_html([Board("kodak", "jpeg", [PSNR], entries, True)], [], "P")
    assert [line[0][1] for line in cells(page)] == ["1", "1", "3"]


def built(results, tmp_path, metrics="psnr", **asked):
    request = Request.of(metrics=metrics, jobs=1, data_dir=tmp_path)
    return build_site(results, SiteRequest(**asked), request, NamedCodecs("all"), quiet, print)


def test_verified_rows_are_ranked_on_a_site_above_those_that_nobody_verified(results, tmp_path):
    ((board,), _) = built(results, tmp_path, anchor="jpeg", page_images="0")
    assert (board.dataset, board.anchor, board.page) == ("sample", "jpeg", True)
    assert (results / "site" / "sample" / "page.html").exists()
    rates = {(e.label, e.audited): leaderboard.rank_value(e) for e in board.entries}
    assert rates == {
        ("webp", True): pytest.approx(-50), ("jpeg", True): 0,
        ("avif", False): pytest.approx(-25), ("webp", False): math.inf,
    }  # fmt: skip
    with pytest.raises(UsageError, match="the anchor avif has no verified rows of sample"):
        built(results, tmp_path, anchor="avif")


def test_rows_that_nobody_verified_are_below_the_line_of_a_site(tmp_path):
    rows = curve("webp", 0.5) + curve("jpeg", 1)
    Store(tmp_path / "results" / "sample").append(rows)
    Store(tmp_path / "results" / "other").append([{**one, "dataset": "other"} for one in rows])
    boards, known = built(tmp_path / "results", tmp_path, anchor="jpeg")
    assert [(one.dataset, one.anchor, one.page) for one in boards] == [
        ("other", "jpeg", False), ("sample", "jpeg", False)
    ]  # fmt: skip
    assert [(e.label, e.audited) for e in boards[0].entries] == [("webp", False), ("jpeg", False)]
    assert leaderboard.rank_value(boards[0].entries[0]) == pytest.approx(-50)
    assert known == []
    site = tmp_path / "results" / "site"
    assert {path.name for path in site.iterdir()} >= {"index.html", "citations.bib"}
    assert (site / "citations.bib").read_text().count("@misc") == 4
    (anchored, _) = built(tmp_path / "results", tmp_path, out=tmp_path / "out")[0]
    assert anchored.anchor == "webp"  # needs fewer bits
    assert (tmp_path / "out" / "citations.json").exists()
    for place, asked, why in (
        ("results", {"anchor": "avif"}, "the anchor avif has no rows of other"),
        ("nothing", {}, "hold no rows: measure or add some first"),
        ("results", {"submissions": tmp_path / "no"}, "no is no folder"),
    ):
        with pytest.raises(UsageError, match=why):
            built(tmp_path / place, tmp_path, **asked)
