"""The shape of the source tree: imports by `lint-imports`, the rest by one walk over all files."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from benchmark.registry import ALIASES, CODECS, DATASETS, METRICS
from support.bench.lean_process import HEAVY, ROOT, bench_without

SOURCES = sorted(
    path for name in ("benchmark", "baselines") for path in (ROOT / name).rglob("*.py")
)
MOST_LINES = 600  # of a file
MOST_FILES = 16  # of a folder; baselines/ has one per codec, commands/ one per verb
LOOKED_OVER = ("benchmark", "baselines", "tests/support", "tests/faults", "tests/baselines")
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "lib", "base", "core"}
VAGUE = {"one", "ones", "found", "told", "stands", "held", "drawn", "given", "said"}
RIDDLES = {"What", "Of", "One", "How", "Whether", "Where", "As", "Those"}
LEARNED = ("compressai", "lpips", "torch", "torchvision")
NOUNS = {
    "raw",
    "webp",
    "avif",
    "folder",
    "command",
    "worker",
    "compressai",
}  # formats too
# They import and parse files of users, as the documentation of importlib shows it.
OF_USERS = {"benchmark/plugins.py", "baselines/formats/external.py"}


def name_of(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


@cache
def tree_of(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


def texts(tree: ast.Module) -> list[ast.Constant]:
    """Texts of a file that are no docstrings."""
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in statements
    ]


def test_imports_are_those_that_the_contracts_of_pyproject_allow():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_room_has_its_place_in_the_contract_of_layers():
    layers = set(re.findall(r'"benchmark\.(\w+)|\| benchmark\.(\w+)', rooms_in_pyproject()))
    named = {first or second for first, second in layers}
    paths = [path for path in (ROOT / "benchmark").iterdir() if path.stem != "__init__"]
    there = {path.stem for path in paths if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there == named


def rooms_in_pyproject() -> str:
    text = (ROOT / "pyproject.toml").read_text()
    return text.partition("layers = [")[2].partition("]\n")[0].replace(" | ", '", "')


def test_files_stay_small_are_named_for_what_they_hold_and_begin_with_a_sentence():
    wrong = []
    for source in SOURCES:
        first = (ast.get_docstring(tree_of(source)) or "").partition("\n")[0]
        if len(source.read_text().splitlines()) > MOST_LINES:
            wrong.append(f"{name_of(source)} has more than {MOST_LINES} lines")
        if DRAWERS & {source.stem, *source.relative_to(ROOT).parts}:
            wrong.append(f"{name_of(source)} is a drawer")
        if not first.endswith((".", ":")):
            wrong.append(f"{name_of(source)} does not begin with a sentence")
    assert not wrong


def test_docstrings_begin_with_a_verb_or_a_noun():
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    wrong = [
        f"{name_of(source)}: {getattr(node, 'name', 'module')}"
        for source in SOURCES
        for node in ast.walk(tree_of(source))
        if isinstance(node, kinds) and (text := ast.get_docstring(node))
        if re.split(r"\W", text, maxsplit=1)[0] in RIDDLES
    ]
    assert not wrong


def defined_names(node: ast.AST) -> set[str]:
    """Names that a node defines: of variables, parameters, attributes, functions and classes."""
    if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        return {getattr(node, "id", None) or getattr(node, "attr", "")}
    if isinstance(node, ast.arg):
        return {node.arg}
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name} if isinstance(node, kinds) else set()


def test_no_name_means_anything_at_all():
    wrong = [
        f"{name_of(source)}:{node.lineno}: {', '.join(vague)}"
        for source in [*SOURCES, *(ROOT / "tools").rglob("*.py")]
        if source.name != "rdrbench_worker.py"  # its bytes are in the fingerprints of workers
        for node in ast.walk(tree_of(source))
        if (vague := defined_names(node) & VAGUE)
    ]
    assert not wrong


def test_the_harness_names_no_contender():
    names = {*CODECS, *ALIASES} - NOUNS
    wrong = [
        f"{name_of(source)}:{node.lineno}: {node.value!r}"
        for source in set((ROOT / "benchmark").rglob("*.py")) - {ROOT / "benchmark/registry.py"}
        for node in texts(tree_of(source))
        if node.value.partition(":")[0] in names
    ]
    assert not wrong


def test_no_sentence_of_our_own_is_parsed():
    """A reason is a record (`errors.Reason`); its sentence is split or searched nowhere."""
    text_of = r"\b(?:reason|why|sentence)"
    parsed = re.compile(
        rf"{text_of}\.(?:partition|rpartition|split(?!\(\))|removeprefix|removesuffix|find|index)\("
        rf"|re\.\w+\([^()\n]*, {text_of}\)"
    )
    wrong = [
        f"{name_of(source)}:{number}: {line.strip()}"
        for source in SOURCES
        for number, line in enumerate(source.read_text().splitlines(), 1)
        if parsed.search(line)
    ]
    assert not wrong


def test_a_signed_number_is_never_minus_zero():
    signed = re.compile(r"[:'\"]\+z?(?=[.{])")  # how its format begins
    sources = [*SOURCES, *(ROOT / "tools").glob("*.py")]
    begin = {at for source in sources for at in signed.findall(source.read_text())}
    assert {at[1:] for at in begin} == {"+z"}


def test_no_module_is_invented_and_no_source_parsed_but_for_files_of_users():
    trick = re.compile(
        r"^\s*import ast\b|from ast import|meta_path|path_hooks|ModuleType\("
        r"|sys\.modules(?:\[[^]]*\] = |\.(?:update|setdefault|pop)|\s*\|=)|del sys\.modules"
        r"|= sys\.modules\["
    )
    wrong = [
        f"{name_of(source)}:{number}: {line.strip()}"
        for source in SOURCES
        if name_of(source) not in OF_USERS
        for number, line in enumerate(source.read_text().splitlines(), 1)
        if trick.search(line)
    ]
    assert not wrong


def test_the_page_on_the_architecture_names_every_room_and_only_files_that_are_there():
    page = (ROOT / "docs" / "architecture.md").read_text()
    diagram = page.partition("```\n")[2].partition("```")[0]
    packages = {
        path.parent.name
        for top in ("benchmark", "baselines")
        for path in (ROOT / top).glob("*/__init__.py")
    }
    assert not {name for name in packages if not re.search(rf"(?<![\w/]){name}/", diagram)}
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[bt]*/**/*") if path.name}
    named = set(re.findall(r"(?<![\w./])((?:[\w-]+/)*\w+\.(?:py|toml))\b(?!:)", page))
    assert {"commands/run.py", "measure/loop.py"} <= named
    assert not {name for name in named if not any(f"/{of}".endswith(f"/{name}") for of in files)}


@pytest.mark.parametrize("command", ["", "run", "report", "fetch", "train", "pack"])
def test_help_imports_nothing_heavy(tmp_path, command):
    arguments = [command, "--help"] if command else ["--help"]
    assert "Usage" in bench_without(HEAVY, tmp_path, *arguments)


@pytest.mark.parametrize("verb", ["list", "doctor"])
def test_a_list_loads_no_network_and_draws_nothing(tmp_path, verb):
    heavy = set(HEAVY) - {"numpy", "imagecodecs", "polars"}  # packs are tables
    words = bench_without(tuple(heavy), tmp_path, verb).split()
    assert {*CODECS, *METRICS, *DATASETS} <= {*words}


def test_a_run_without_learned_parts_imports_no_torch(tmp_path):
    options = ("--codecs", "raw,jpeg,webp", "--metrics", "psnr,ms_ssim", "--limit", "1")
    shown = bench_without(
        LEARNED, tmp_path, "run", "--dataset", "sample", "--results", str(tmp_path / "r"), *options
    )
    assert "webp" in shown
    assert list((tmp_path / "r" / "sample").rglob("*.parquet"))
