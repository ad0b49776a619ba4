"""The README is a screen, and its tables are those of the bundled rows."""

import re

import pytest

from conftest import ROOT
from support.console import agree
from support.rows.bundled_results import copy_bundled_results
from tools import field_table, results_table

README = (ROOT / "README.md").read_text()
MOST_LINES = 90


@pytest.mark.parametrize(
    ("page", "makers"),
    [
        ("README.md", (results_table.lines, field_table.short_lines)),
        ("docs/field.md", (field_table.lines,)),
    ],
)
def test_the_results_are_those_of_the_bundled_rows(page, makers, tmp_path):
    tables = re.findall(r"^\| Kodak, .*\n(?:\|.*\n)+", (ROOT / page).read_text(), re.MULTILINE)
    kodak = copy_bundled_results(tmp_path / "results") / "kodak"
    for table, make in zip(tables, makers, strict=True):
        made = list(make(kodak))
        assert len(table.splitlines()) == len(made)
        for shown, line in zip(table.splitlines(), made, strict=True):
            assert agree(shown, line), f"print the new one: {make.__module__}"


def test_the_readme_is_a_screen():
    assert len(README.splitlines()) <= MOST_LINES
