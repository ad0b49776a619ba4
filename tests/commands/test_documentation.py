"""The documentation is correct: its outputs, commands, links, and the tables of the README."""

import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest
import typer
from PIL import Image

import benchmark
from baselines.neural.card import card_path, unpack_xz
from benchmark.system.machine import BUNDLED
from conftest import ROOT, SHARED
from support.bench.verbs import BENCH
from support.console import Session, agree, examples
from support.quick import quick
from support.rows.bundled_results import bundled_results
from tools import field_table, results_table
from tools.docs_figures import draw, pictures

PAST = ROOT / "CHANGELOG.md"  # its commands were those of its time
METRICS_PAGE = "docs/experiments/metrics.md"
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {PAST})
FIELD_PAGE = "docs/experiments/field.md"
SHOWN = [page.relative_to(ROOT).as_posix() for page in PAGES if examples(page.read_text())]
# Their commands run for half a minute each.
LONG = "README.md", *(f"docs/{n}.md" for n in ("README", "reading-rows", "figures"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"(?:^ *(?:- )?|[;&|] |run: )(?:\S+=\S+ )*(?:\S*/)?bench ([^;&|\n]*)", re.MULTILINE
)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def written_commands(text):
    """Return the words after `bench` of every command in blocks for a shell that are not run."""
    for language, block in FENCED.findall(text):
        if language in ("", "sh", "bash", "yaml"):
            for words in COMMAND.findall(re.sub(r" *\\\n\s*", " ", block)):
                yield shlex.split(words, comments=True)


def parse(words):
    """Parse a command as `bench` does, without carrying it out."""
    command = BENCH
    context = command.context_class(command)
    while hasattr(command, "resolve_command") and words and not words[0].startswith("-"):
        _, command, words = command.resolve_command(context, words)
        context = command.context_class(command, parent=context)
    if "..." in words:  # another command's words are left out
        command.make_parser(context).parse_args([word for word in words if word != "..."])
    else:
        command.make_context("bench", list(words))


@each_page
def test_every_command_can_be_given(page):
    text = page.read_text()
    added_verbs = re.findall(r"^In `benchmark/verbs\.toml`, .*: `(\w+) = \[", text, re.MULTILINE)
    for words in written_commands(text):
        if words[0] in added_verbs:  # a recipe's verb, which test_contributing.py adds and runs
            continue
        try:
            parse(words)
        except typer.TyperException as error:
            pytest.fail(f"bench {shlex.join(words)}: {error.format_message()}")


def test_the_jobs_for_continuous_integration_give_commands_that_can_be_given():
    jobs = sorted((ROOT / "docs" / "ci").glob("*.yml"))
    for job in jobs:
        commands = COMMAND.findall(re.sub(r" *\\\n\s*", " ", job.read_text()))
        assert [words.split()[0] for words in commands] == [*["fetch"] * 3, "check"], job
        for words in commands:
            parse(shlex.split(words))
    assert [job.stem for job in jobs] == ["github", "gitlab"]


@each_page
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", FENCED.sub("", page.read_text())):
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{target} is not there"
        assert not heading or heading in headings(file.read_text()), f"{target} has no heading"


def headings(text):
    """Return the names by which links call a page's headings."""
    result = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in result}


@pytest.mark.parametrize("name", quick(SHOWN, *{*SHOWN} - {*LONG}))
def test_shown_outputs_are_those_of_the_commands(name, tmp_path):
    session = Session(tmp_path)
    for command, output in examples((ROOT / name).read_text()):
        got = session.run(command)
        assert agree(output, got), f"$ {command}\n{got}"


README = (ROOT / "README.md").read_text()


def tables(text, head):
    return re.findall(rf"^\| {head}.*\n(?:\|.*\n)+", text, re.MULTILINE)


@pytest.mark.parametrize(("page", "head", "lines"), [
    ("README.md", "Kodak, ", results_table.lines),
    (FIELD_PAGE, "Kodak, 24 images ", field_table.lines),
    (METRICS_PAGE, "codec ", results_table.other_metrics),
])  # fmt: skip
def test_a_table_of_results_is_that_of_the_bundled_rows(page, head, lines):
    (table,) = tables((ROOT / page).read_text(), head)
    for printed_line, line in zip(
        table.splitlines(), lines(bundled_results() / "kodak"), strict=True
    ):
        assert agree(printed_line, line), "print the new one: tools/*_table.py"


@pytest.mark.parametrize(("page", "sentences"), [
    (FIELD_PAGE, field_table.sentences), (METRICS_PAGE, lambda kodak: [results_table.note(kodak)]),
])  # fmt: skip
def test_what_is_said_of_results_is_that_of_the_bundled_rows(page, sentences):
    text = " ".join((ROOT / page).read_text().split())
    missing = [said for said in sentences(bundled_results() / "kodak") if said not in text]
    assert not missing, "print the new one: tools/*_table.py"


def test_no_other_number_of_the_readme_is_unfounded():
    prose = re.sub(r"^\|.*$|\]\([^)]*\)", "", FENCED.sub("", README), flags=re.MULTILINE)
    setup = (ROOT / "run_all.sh").read_text()
    pythons = re.search(r"find_python (3\.\d+) (3\.\d+)", setup)
    glibc = re.search(r"the wheels need ([\d.]+)", setup)
    rates = results_table.RANKING_TARGET.removeprefix("bpp=")
    rows = benchmark.load(ROOT / "results" / "kodak", details=True)
    (parameters,) = set(rows[rows["codec"] == "ours:beta=0"]["parameters"])
    phrases = {
        "WACV 2024", "x86-64", "95 %", f"glibc {glibc[1]}", f"{pythons[1]} or {pythons[2]}",
        f"{rates} bpp", f"{parameters / 1e6:.1f} million",
    }  # fmt: skip
    for words in phrases:
        assert words in " ".join(prose.split()), words
        prose = re.sub(re.escape(words).replace(r"\ ", r"\s+"), "", prose)
    assert re.findall(r"\S*\d\S*", prose) == []
    assert "`sample` is four photographs" in README
    assert "sample: 4 images" in README


# A shell's commands on a fresh copy; a comment after one names an exit code other than 0. The
# recipes of two pages have tests of their own.
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDES = [page for page in GUIDES if page.stem not in ("own-codec", "metric-and-dataset")]
COMMAND_LINE = re.compile(r"^(bench (?:[^#\n\\]|\\\n)*)(#.*)?$", re.MULTILINE)
CANNOT = {  # a part of a command, and why it cannot run here
    r"bench fetch": "it downloads",
    r"clic2020": "the photographs are downloaded",
    r"--engine ray|\$address|results-a|parts/": "it needs several machines",
    r"bench worker|worker:": "a contender's environment is downloaded",
    r"--recipe (?!smoke)|weights-dir runs": "it trains for hours",
    r"crdr\.pth\.tar|VTM_DIR|--codecs bpg|vtm-23\.13": "it needs downloads",
    r"--codecs all|--metrics all|--draws|audit rows --dataset kodak": "it measures for hours",
    r"bench (review|site)|submissions": "it needs files that an author sends",
    r"\./mine\.py": "it is a place for the reader's codec",
    r"bench history": "it takes the checkpoints of a training",
    r"all\.csv": "it is the reader's file of several curves",
}  # fmt: skip
PHOTOGRAPHS = SHARED / "data" / "kodak"
# dB above the anchor, and bits relative to it.
CURVES = {"vtm.csv": (0.0, 1.0), "mine.csv": (0.3, 1.05)}


def commands(page):
    for language, block in FENCED.findall(page.read_text()):
        for words, comment in COMMAND_LINE.findall(block) if language in ("", "sh", "bash") else ():
            code = re.search(r"exit code (\d)", comment or "")
            yield words.strip(), int(code[1]) if code else 0


@pytest.fixture
def session(tmp_path):
    """A fresh copy for each page, with the files that the documents mention."""
    new_session = Session(tmp_path)
    folder = new_session.folder
    shutil.copytree(folder / "photos", folder / "path" / "to" / "photos")
    shutil.copytree(folder / "photos", folder / "path" / "to" / "holiday")
    shutil.copytree(folder / "results", folder / "elsewhere")
    for name in ("new", "mailed", "ours", "elic-3"):
        source_name = "elic-3" if name == "elic-3" else "ours"
        source = ROOT / "baselines" / "checkpoints" / f"{source_name}.safetensors.xz"
        (folder / f"{name}.safetensors").write_bytes(unpack_xz(source))
        if name != "mailed":
            shutil.copyfile(card_path(source), folder / f"{name}.json")
    for name, (more_db, times) in CURVES.items():
        points = [(b * times, 30 + 5 * n + more_db) for n, b in enumerate((0.1, 0.2, 0.4, 0.8))]
        lines = ["bpp,psnr", *(f"{bpp},{psnr}" for bpp, psnr in points)]
        (folder / name).write_text("\n".join(lines) + "\n")
    curve = {"bpp": [0.1, 0.2, 0.4, 0.8], "psnr": [27, 29.5, 32, 36]}
    (folder / "mine.json").write_text(json.dumps({"name": "mine", "results": curve}))
    if PHOTOGRAPHS.exists():
        new_session.environment |= {"BENCH_DATA": str(PHOTOGRAPHS.parent)}
    if "BENCH_WEIGHTS" in os.environ:
        new_session.environment |= {"BENCH_WEIGHTS": os.environ["BENCH_WEIGHTS"]}
    return new_session


@pytest.mark.slow
@pytest.mark.skipif(not BUNDLED.exists(), reason="there are no bundled rows")
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_commands_of_a_page_end_as_it_says(page, session):
    wrong = {}
    for command, code in commands(page):
        uses_kodak = re.search(r"kodak|\bv[12]\b", command)  # or of a baseline of its rows
        needs_more = any(re.search(pattern, command) for pattern in CANNOT)
        if needs_more or (uses_kodak and not PHOTOGRAPHS.exists()):
            continue
        message = session.run(command)
        end = re.search(r"^\[(\d+)\]$", message, re.MULTILINE)
        if int(end[1] if end else 0) != code or "Traceback" in message:
            wrong[command] = message[-600:]
    assert wrong == {}


def test_every_figure_of_a_page_has_a_command():
    verbs = "rd", "bd", "complexity", "realism", "crops", "maps"
    assert {picture.name for picture in pictures()} >= {f"{verb}.png" for verb in verbs}
    assert all((ROOT / "docs" / "figures" / picture.name).exists() for picture in pictures())


@pytest.mark.slow
@pytest.mark.parametrize("picture", pictures(), ids=lambda picture: picture.name)
def test_a_picture_is_what_its_command_draws(picture, tmp_path):
    paths = ROOT / "docs" / "figures" / picture.name, draw(picture, tmp_path / "there")
    stored, redrawn = (np.asarray(Image.open(path).convert("RGB"), np.int16) for path in paths)
    assert stored.shape == redrawn.shape
    differences = np.abs(stored - redrawn).max(axis=2)
    assert (differences > 32).mean() < 0.002  # processors round differently
