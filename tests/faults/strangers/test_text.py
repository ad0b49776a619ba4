r"""Text of strangers in what others read: LaTeX, markdown, csv, figures, the terminal, the page.

A caveat, a codec's name, a file's name and what a program says may hold `\input{...}`, HTML, cells
that a spreadsheet computes, half a formula, and sequences that steer a terminal.
"""

import csv
import io
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.commands.output import say, unwrap_stream
from benchmark.commands.terminal import PlainStream, plain_terminal
from benchmark.rows.store import Store
from benchmark.show.figures.style import figure_style
from benchmark.show.figures.texts import wrap_text
from benchmark.show.table import Table, csv_text, escape_latex, latex, markdown, plain
from benchmark.system.text import csv_cell, markdown_text, one_line, visible
from support.bench.command import bench
from support.bench.reading_verbs import READS

BELL, ESCAPE = "\a", "\x1b"
CAVEAT = (
    "fine\n\\input{/etc/passwd}\n"
    f"{ESCAPE}]0;owned{BELL}<img src=x onerror=alert(1)> [click](https://example.org)"
)
NAME = "foo$x_{y$"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@pytest.fixture
def hostile(work):
    store = Store(work.parent)
    rows = store.versions().rows(named=True)
    for row in rows:
        row["caveat"] = CAVEAT if row["codec"] == "jpeg" else "=HYPERLINK(1)"
        row["variant"] = "" if row["codec"] == "jpeg" else f"name={NAME}"
    for path in work.glob("*.parquet"):
        path.unlink()
    store.append(rows)
    return work.parents[2]


def test_a_report_of_hostile_rows_is_text(hostile):
    result = bench(*READS["report --page"], code=0)
    assert not STEERS.search(result.stdout + result.stderr)
    (folder,) = (path.parent for path in (hostile / "results").rglob("report.md"))
    files = {path.suffix: path for path in folder.iterdir()}
    assert {".md", ".csv", ".html", ".png"} <= files.keys()
    report = (folder / "report.md").read_text()
    assert "<img" not in report
    assert "[click](" not in report
    for path in folder.glob("*.csv"):
        cells = [cell for line in csv.reader(io.StringIO(path.read_text())) for cell in line]
        assert not [cell for cell in cells if cell.startswith(("=", "@", "\t"))]
    page = (folder / "page.html").read_text()
    assert "<img src=x" not in page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "base-uri 'none'" in policy
    assert "form-action 'none'" in policy


RUN = ("run", "--dataset", "photos", "--results", "other", "--metrics", "psnr", "--jobs", 1)


def test_neither_a_hostile_name_of_a_file_nor_a_program_can_steer_the_terminal(hostile):
    (hostile / "photos" / f"{ESCAPE}[31mred{BELL}.png").write_bytes(b"no picture")
    result = bench(*RUN, "--codecs", "jpeg", "--points", "jpeg.quality=30")
    assert "red" in result.stdout + result.stderr
    assert not STEERS.search(result.stdout + result.stderr)
    assert "\\x1b[31mnowhere" in bench("report", "--results", f"{ESCAPE}[31mnowhere", code=2).stderr
    talks = r"sh -c 'printf \"\033[2J\" >&2; exit 3' {in} {out}"
    codec = f"command:decode=cp {{in}} {{out}}:encode={talks}:values=1"
    result = bench(*RUN, "--codecs", codec, code=1)
    assert not STEERS.search(result.stdout + result.stderr)


@given(st.text())
def test_a_terminal_is_not_steered_by_any_text(text):
    assert not STEERS.search(visible(text, keep_lines=True))
    assert visible(text).isprintable() or not STEERS.search(visible(text))
    visible(text).encode()
    assert len(one_line(text).splitlines()) <= 1


COMMANDS = """textbackslash textasciitilde textasciicircum textless textgreater textbar
alpha beta gamma delta epsilon theta lambda mu rho sigma tau phi infty pm dagger ddagger approx S"""


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_is_one_line_of_latex_markdown_and_a_table(text):
    table = Table(("codec", "bpp"), ((text, "1"),), 1, (text,))
    for written, lines in ((latex(table), 9), (markdown(table), 5), (plain(table), 3)):
        assert len(written.splitlines()) == lines
    assert set(re.findall(r"\\([a-zA-Z]+)", escape_latex(text))) <= {*COMMANDS.split()}


@pytest.mark.parametrize("text", ["<b>", "`<b>", "``<b>", "a`b`<b>", "[a](b)", "[a]: b", "[a][b]"])
def test_markdown_has_no_html_and_no_links_of_strangers(text):
    outside_code = re.sub(r"(?<!\\)`[^`]*`", "", markdown_text(text))
    assert "<" not in outside_code
    assert not re.search(r"\][(\[:]", outside_code)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_computes_no_cell(text):
    assert csv_text([{"a": text, "b": -1.5}]).splitlines()[1].lstrip('"').startswith("'")
    assert csv_cell("-1.5") == "-1.5"
    assert csv_cell("+inf") == "+inf"


@pytest.mark.parametrize("text", [NAME, "$", "$$", "a$b$c$", "\\$x$", "$\\frac{$", "a\nb$^$"])
def test_any_name_can_be_drawn(text):
    from matplotlib.figure import Figure

    with figure_style():
        figure = Figure()
        figure.text(0, 0, wrap_text(text, 1.0))
        figure.savefig(io.BytesIO(), format="png")
    assert not re.search("[\x00-\x09\x0b-\x1f]", wrap_text(f"{ESCAPE}{text}\t", 1.0))


def test_streams_are_filtered_while_a_verb_runs_and_no_longer(capsys):
    with plain_terminal():
        assert isinstance(sys.stdout, PlainStream)
        sys.stdout.write(f"a{ESCAPE}b\n\tc\n")
        say([f"d{ESCAPE}\ne"])
        assert unwrap_stream(sys.stdout) is not sys.stdout
    assert not isinstance(sys.stdout, PlainStream)
    output = capsys.readouterr()
    assert output.out == "a\\x1bb\n\tc\n"
    assert output.err == "d\\x1b\\ne\n"
