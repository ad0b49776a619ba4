"""The shape of the source tree: imports by `lint-imports`, the rest by one walk over all files."""

import ast
import re
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest

from benchmark.registry import ALIASES, CODECS, DATASETS, METRICS
from support.bench.lean_process import HEAVY, ROOT, bench_without, modules_of
from support.processes import ran
from support.quick import quick
from support.rows.bundled_results import bundled_results

SOURCES = sorted([*ROOT.glob("benchmark/**/*.py"), *ROOT.glob("baselines/**/*.py")])
# Also names of formats, or ordinary nouns.
NOUNS = {"raw", "webp", "avif", "folder", "command", "worker", "compressai"}
# They import and parse files of users, as the documentation of importlib shows it.
USER_FILE_READERS = {"benchmark/plugins.py", "baselines/formats/external.py"}


def name_of(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


@cache
def tree_of(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


def texts(tree: ast.Module) -> list[ast.Constant]:
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [c for c in constants if isinstance(c.value, str) and id(c) not in statements]


def test_imports_are_those_that_the_contracts_of_pyproject_allow():
    result = ran(Path(sys.executable).with_name("lint-imports"), "--no-cache", folder=ROOT)
    assert result.returncode == 0, result.stdout


def test_every_room_has_its_place_in_the_contract_of_layers():
    layers = (ROOT / "pyproject.toml").read_text().partition("layers = [")[2].partition("]\n")[0]
    paths = [path for path in (ROOT / "benchmark").iterdir() if path.stem != "__init__"]
    modules = {p.stem for p in paths if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert modules == {*re.findall(r"benchmark\.(\w+)", layers)}


def test_no_file_grows_beyond_a_room():
    lengths = {name_of(source): len(source.read_text().splitlines()) for source in SOURCES}
    assert not [name for name, lines in lengths.items() if lines > 600]


def test_the_harness_names_no_contender():
    names = {*CODECS, *ALIASES} - NOUNS
    wrong = [
        f"{name_of(source)}:{node.lineno}: {node.value!r}"
        for source in set((ROOT / "benchmark").rglob("*.py")) - {ROOT / "benchmark/registry.py"}
        for node in texts(tree_of(source))
        if node.value.partition(":")[0] in names
    ]
    assert not wrong


def test_a_signed_number_is_never_minus_zero():
    signed = re.compile(r"[:'\"]\+z?(?=[.{])")  # how its format begins
    sources = [*SOURCES, *(ROOT / "tools").glob("*.py")]
    begin = {sign for source in sources for sign in signed.findall(source.read_text())}
    assert {sign[1:] for sign in begin} == {"+z"}


def test_no_module_is_invented_and_no_source_parsed_but_for_files_of_users():
    trick = re.compile(
        r"^\s*import ast\b|from ast import|meta_path|path_hooks|ModuleType\("
        r"|sys\.modules(?:\[[^]]*\] = |\.(?:update|setdefault|pop)|\s*\|=)|del sys\.modules"
        r"|= sys\.modules\["
    )
    wrong = [
        f"{name_of(source)}:{number}: {line.strip()}"
        for source in SOURCES
        if name_of(source) not in USER_FILE_READERS
        for number, line in enumerate(source.read_text().splitlines(), 1)
        if trick.search(line)
    ]
    assert not wrong


def test_the_page_on_the_architecture_names_every_room_and_only_files_that_are_there():
    page = (ROOT / "docs" / "architecture.md").read_text()
    diagram = page.partition("```\n")[2].partition("```")[0]
    packages = {path.parent.name for path in ROOT.glob("b*/*/__init__.py")}
    assert not {name for name in packages if not re.search(rf"(?<![\w/]){name}/", diagram)}
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[bt]*/**/*") if path.name}
    mentions = set(re.findall(r"(?<![\w./])((?:[\w-]+/)*\w+\.(?:py|toml))\b(?!:)", page))
    assert {"commands/run.py", "measure/loop.py"} <= mentions
    ends = {file.split("/", n)[-1] for file in files for n in range(file.count("/") + 1)}
    assert mentions <= ends


@pytest.mark.parametrize("command", ["", "run", "report", "fetch", "train", "pack"])
def test_help_imports_nothing_heavy(tmp_path, command):
    assert "Usage" in bench_without(HEAVY, tmp_path, *command.split(), "--help")


def test_a_list_loads_no_network_and_draws_nothing(tmp_path):
    heavy = {*HEAVY} - {"numpy", "imagecodecs", "polars"}  # packs are tables
    for verb in ("list", "doctor"):  # the second knows the digests of checkpoints from the first
        words = bench_without(heavy, tmp_path, verb).split()
        assert {*CODECS, *METRICS, *DATASETS} <= {*words}, verb


# What verbs may import of HEAVY and of scipy's parts, their workers aside
TABLES = {"numpy", "polars", "scipy", "scipy.special"}
FIGURES = TABLES | {"matplotlib"}
STORED = "--dataset sample --results BUNDLED"
MAY_IMPORT = {
    "run --codecs jpeg --dataset sample --limit 1 --metrics psnr,ms_ssim": TABLES,
    f"rank {STORED}": TABLES, f"match vtm avif {STORED}": TABLES,
    "bd VTM:CompressAI tcm --results BUNDLED": TABLES, f"table {STORED} --out there": FIGURES,
    f"figures rd {STORED} --out there": FIGURES,
    f"report {STORED} --out there --metrics psnr": FIGURES,  # imports what that of all does
}  # fmt: skip
PARTS = ("stats", "interpolate", "special", "linalg", "ndimage", "optimize", "signal", "sparse")


QUICK_VERBS = [verb for verb in MAY_IMPORT if verb.startswith(("run", "report"))]


@pytest.mark.parametrize("command", quick(MAY_IMPORT, *QUICK_VERBS))
def test_a_verb_imports_no_more_than_it_needs(tmp_path, command):
    heavy = {*HEAVY, *(f"scipy.{part}" for part in PARTS)}
    words = command.replace("BUNDLED", str(bundled_results())).split()
    assert modules_of(tmp_path, *words) & heavy <= MAY_IMPORT[command]


def test_our_codec_loads_and_codes_without_a_package_for_symbols():
    """Of torch's import some 500 modules are sympy's, which a worker needs for nothing."""
    script = (
        "import sys, numpy as np\n"
        "from benchmark.spec import load_codec, parse_codec\n"
        "codec = load_codec(parse_codec('ours:beta=3.84'))\n"
        "codec.decode(codec.encode(np.zeros((96, 128, 3), np.uint8), codec.sweep[2]))\n"
        "print('torch' in sys.modules, 'sympy' in sys.modules)"
    )
    assert ran(sys.executable, "-c", script, folder=ROOT).stdout == "True False\n"


def test_a_run_without_learned_parts_imports_no_torch(tmp_path):
    learned = ("compressai", "lpips", "torch", "torchvision")
    words = ("run", "--codecs", "raw,jpeg,webp", "--metrics", "psnr,ms_ssim", "--limit", "1")
    place = ("--dataset", "sample", "--results", str(tmp_path / "r"))
    assert "webp" in bench_without(learned, tmp_path, *words, *place)
    assert list((tmp_path / "r" / "sample").rglob("*.parquet"))


# Folder of `benchmark/`: its page of docs/, or the section of one
ROOMS = {"check": "check.md", "study": "reading-rows.md#study", "review": "review.md"}
LINE = r'(?m)^\w+ = \["benchmark\.{}\..*\n'  # of verbs.toml
EVERYTHING = """
from importlib import import_module
from pkgutil import walk_packages
import benchmark, baselines
for package in (benchmark, baselines):
    for module in walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.rpartition(".")[2] not in ("__main__", "rdrbench_worker"):
            import_module(module.name)
from benchmark.cli import NAMES, program
program(NAMES)
print(benchmark.__file__)
"""


def python(copy, *words):
    result = ran(sys.executable, *words, folder=copy, PYTHONPATH=copy)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_the_rooms_all_else_is_imported_and_measures(tmp_path):
    leave_out = shutil.ignore_patterns("*.xz", "*.png", "*.tar", *ROOMS)
    for folder in ("benchmark", "baselines"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave_out)
    verbs = tmp_path / "benchmark" / "verbs.toml"
    text, count = re.subn(LINE.format(f"({'|'.join(ROOMS)})"), "", verbs.read_text())
    assert count >= len(ROOMS)
    verbs.write_text(text)
    assert str(tmp_path) in python(tmp_path, "-c", EVERYTHING)
    words = ("run", "--codecs", "jpeg", "--dataset", "sample", "--limit", "1", "--metrics", "psnr")
    python(tmp_path, "-m", "benchmark", *words, "--results", "out")
    assert "jpeg" in python(tmp_path, "-m", "benchmark", "report", "--results", "out", "--json")


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_but_its_verbs_names_a_room(room):
    mention = re.compile(rf"benchmark(\.|/| import ){room}\b")
    files = {*ROOT.glob("b*/**/*.py"), *ROOT.glob("b*/**/*.toml")}
    files -= {*(ROOT / "benchmark" / room).rglob("*")}
    assert {path.name for path in files if mention.search(path.read_text())} == {"verbs.toml"}
    linked = {path.name for path in (ROOT / "docs").glob("*.md") if ROOMS[room] in path.read_text()}
    # Its own page, the index, and where packs and checkpoints are made
    assert linked <= {ROOMS[room], "README.md", "reading-rows.md", "training.md"}
