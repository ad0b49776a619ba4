"""Tables of declared columns, and texts of sections: what a file, a page and a terminal show."""

from typing import NamedTuple

import pytest

from benchmark.answer import Column
from benchmark.show.sections import html, markdown, section
from benchmark.show.table import Table, latex, plain, records

HOSTILE = "<b>[x](y)\x1b"


class Ends(NamedTuple):
    low: float
    high: float


ROWS = [{"codec": "jpeg", "rate": Ends(-1.25, 2.0), "seen": True},
        {"codec": "webp", "rate": None, "seen": False}]  # fmt: skip
COLUMNS = (Column("codec", key="codec"), Column("rate", "rate", lambda ends: f"{ends.low:+.1f}"),
           Column("", "rate.high", key="high"), Column("low", "rate.0", ".2f"),
           Column("seen", lambda row: "yes" if row["seen"] else None, str, key="seen"))  # fmt: skip


def test_a_column_is_declared_once_for_every_form_of_its_table():
    table = Table.create(COLUMNS, ROWS, ["a note"])
    assert table.headers == ("codec", "rate", "low", "seen")
    assert table.rows == (("jpeg", "-1.2", "-1.25", "yes"), ("webp", "–", "–", "–"))
    assert table.words == 1, "columns with a format are numbers"
    assert records(COLUMNS, ROWS) == [{"codec": "jpeg", "high": 2.0, "seen": "yes"},
                                      {"codec": "webp", "high": None, "seen": None}]  # fmt: skip
    assert r"jpeg & $-$1.2 & $-$1.25 & yes \\" in latex(table)
    assert plain(table).splitlines()[1] == "jpeg   -1.2  -1.25   yes"


def test_empty_columns_go_and_the_words_of_a_table_are_counted_again():
    columns = (Column("codec"), Column("never", lambda row: ""), Column("low", "rate.0", ".2f"))
    table = Table.create(columns, ROWS, absent="").drop_empty_columns()
    assert table.headers == ("codec", "low")
    assert table.words == 1
    fixed = Table.create(columns, ROWS).drop_empty_columns(num_fixed=2)
    assert fixed.headers == ("codec", "never", "low")


@pytest.fixture
def report():
    missing = section("failed", "Failed", [HOSTILE, "b"])
    return section("report", "Report", HOSTILE, "", [], Table(("codec",), (("jpeg",),), 1), missing)


def test_markdown_has_what_is_there_and_obeys_nothing_of_it(report):
    assert markdown(report, level=2) == (
        "## Report\n\n&lt;b>[x]\\(y) \n\n| codec |\n|:---|\n| jpeg |\n\n"
        "### Failed\n\n- &lt;b>[x]\\(y) \n- b\n"
    )


def test_html_folds_sections_counts_their_lists_and_escapes_texts(report):
    page = html(report, {"jpeg": "JPEG"})
    assert page.startswith('<p class="hint">&lt;b&gt;[x](y)')
    assert '<tr class="first"><th scope="row" class="text">JPEG</th></tr>' in page
    assert page.count("<li>") == 2
    assert '<details><summary>Failed <span class="badge">2</span></summary><ul>' in page
    assert html(section("a", "A", "alone"), {}) == '<p class="note">alone</p>'
