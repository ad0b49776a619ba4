"""Every `bench` command in a shell's block of a document, on a fresh copy, ends as it says.

A comment behind it names an exit code other than 0. Console blocks with their outputs are those of
`test_documentation.py`; the recipes of CONTRIBUTING.md and of two pages have tests of their own.
"""

import os
import re
import shutil

import pytest

from baselines.neural.card import card_path, unpacked
from benchmark.system.machine import BUNDLED
from conftest import ROOT, SHARED
from support.console import Session

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN_TESTS = ("own-codec.md", "metric-and-dataset.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(bench (?:[^#\n\\]|\\\n)*)(#.*)?$", re.MULTILINE)
CANNOT = {  # what a command has, and why it cannot run here
    r"bench fetch": "it downloads",
    r"clic2020": "the photographs are downloaded",
    r"--engine ray|\$address|results-a|parts/": "it is of several machines",
    r"bench worker|worker:": "a contender's environment is downloaded",
    r"--recipe (?!smoke)|weights-dir runs": "it trains for hours",
    r"crdr\.pth\.tar|VTM_DIR|--codecs bpg|vtm-23\.13": "it needs downloads",
    r"--codecs all|--metrics all|--draws|audit rows --dataset kodak": "it measures for hours",
    r"bench (review|site)|submissions": "it needs files that an author sends",
    r"\./mine\.py": "it is a place for the reader's codec",
    r"bench history": "it takes the checkpoints of a training",
    r"all\.csv": "it is the reader's file of several curves",
}  # fmt: skip
KODAK = SHARED / "data" / "kodak"
CURVES = {"vtm.csv": (0.0, 1.0), "mine.csv": (0.3, 1.05)}  # dB and bits beside the anchor's


def commands(page):
    """Return the commands of a page with the exit codes that it shows."""
    for language, block in BLOCK.findall(page.read_text()):
        for words, comment in COMMAND.findall(block) if language in ("", "sh", "bash") else ():
            code = re.search(r"exit code (\d)", comment or "")
            yield words.strip(), int(code[1]) if code else 0


def reason(command):
    return next((why for what, why in CANNOT.items() if re.search(what, command)), "")


def test_the_table_names_commands_that_are_there():
    shown = [words for page in PAGES for words, _ in commands(page)]
    assert len(shown) > 60
    assert [what for what in CANNOT if not any(re.search(what, one) for one in shown)] == []
    assert sum(not reason(one) for one in shown) > 20


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A fresh copy with the files that the documents speak of."""
    made = Session(tmp_path_factory.mktemp("home"))
    here = made.folder
    shutil.copytree(here / "photos", here / "path" / "to" / "photos")
    shutil.copytree(here / "photos", here / "path" / "to" / "holiday")
    shutil.copytree(here / "results", here / "elsewhere")
    for name in ("new", "mailed", "ours", "elic-3"):
        of = {"elic-3": "elic-3"}.get(name, "ours")
        source = ROOT / "baselines" / "checkpoints" / f"{of}.safetensors.xz"
        (here / f"{name}.safetensors").write_bytes(unpacked(source))
        if name != "mailed":
            shutil.copyfile(card_path(source), here / f"{name}.json")
    for name, (more_db, times) in CURVES.items():
        points = [(b * times, 30 + 5 * n + more_db) for n, b in enumerate((0.1, 0.2, 0.4, 0.8))]
        lines = ["bpp,psnr", *(f"{bpp},{psnr}" for bpp, psnr in points)]
        (here / name).write_text("\n".join(lines) + "\n")
    (here / "mine.json").write_text(
        '{"name": "mine", "results": {"bpp": [0.1, 0.2, 0.4, 0.8], "psnr": [27, 29.5, 32, 36]}}'
    )
    if KODAK.exists():
        made.environment |= {"BENCH_DATA": str(KODAK.parent)}
    made.environment |= {
        name: os.environ[name] for name in ("BENCH_WEIGHTS",) if name in os.environ
    }
    return made


@pytest.mark.slow
@pytest.mark.skipif(not BUNDLED.exists(), reason="there are no bundled rows")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_end_as_it_says(page, session):
    wrong = {}
    for command, code in commands(page) if page.name not in OWN_TESTS else ():
        of_kodak = re.search(r"kodak|\bv[12]\b", command)  # or of a baseline of its rows
        if reason(command) or (of_kodak and not KODAK.exists()):
            continue
        message = session.run(command)
        end = re.search(r"^\[(\d+)\]$", message, re.MULTILINE)
        if int(end[1] if end else 0) != code or "Traceback" in message:
            wrong[command] = message[-600:]
    assert wrong == {}
