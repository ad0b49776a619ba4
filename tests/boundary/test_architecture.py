"""The shape of the source tree, checked like any other behaviour."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from support.bench.lean_process import HEAVY, ROOT, bench_without
from support.rooms import ROOMS, imported_rooms, picture, room_of

SOURCES = sorted(
    path for name in ("benchmark", "baselines") for path in (ROOT / name).rglob("*.py")
)
each_source = pytest.mark.parametrize(
    "source", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix()
)

# What each part may import of this project; the rest of it is closed to that part.
CONTENDERS_MAY_IMPORT = (
    "baselines",
    "benchmark.codec",
    "benchmark.codec_spec",
    "benchmark.errors",
    "benchmark.registry",
    "benchmark.system",
)
# Sub-commands of `bench` that contenders bring use the Python interface, and the terminal as the
# harness does.
CONTENDERS_VERBS_MAY_IMPORT = (
    *CONTENDERS_MAY_IMPORT,
    "benchmark.commands.options",
    "benchmark.commands.output",
    "benchmark.commands.verb",
    "benchmark.option",
    "benchmark.plan.request",
)
# Rooms that see less than those before them: what they are handed is pixels or tables.
CLOSED_TO = {
    "metrics": ("datasets",),
    "figures": ("datasets", "rows", "packs", "plan", "measure"),
}
MOST_FILES_IN_A_ROOM = 16
LOOKED_OVER = sorted(
    {
        path.parent
        for top in ("benchmark", "baselines", "tests/support", "tests/faults", "tests/baselines")
        for path in (ROOT / top).rglob("*.py")
    }
    - {ROOT / "baselines"}  # which has a file per codec
)
# Folders of learned methods; what they share asks `Architecture` and `StageObjective`.
METHODS = (
    "baselines.compressai",
    "baselines.msillm",
    *(
        f"baselines.neural.{one}"
        for one in ("crdr", "charm", "elic", "ivr", "hific", "multirealism", "diffusion", "pqmim")
    ),
)

# A side effect -> the modules that cause it, and the only files that may.
OWNERS = {
    "network": (
        ("aiohttp", "ftplib", "http", "httpx", "requests", "socket", "urllib"),
        (
            "benchmark/datasets/download.py",
            "benchmark/measure/engine/ray/",
        ),
    ),
    "programs": (
        ("pty", "subprocess"),
        (
            "benchmark/system/launcher.py",
            "benchmark/system/machine.py",
            "benchmark/system/programs.py",
            "benchmark/measure/engine/",
        ),
    ),
    "processes": (
        ("multiprocessing",),
        ("benchmark/measure/engine/", "benchmark/system/processes.py"),
    ),
}
MAY_TALK = (
    "benchmark/__main__.py",
    "benchmark/cli.py",
    "benchmark/commands/",
    "benchmark/system/launcher.py",
    "baselines/commands/",
    "baselines/neural/training/__main__.py",
)
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "lib", "base", "core"}
LEARNED = ("compressai", "lpips", "torch", "torchvision")


def name_of(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


@cache
def tree_of(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


@cache
def imports(source: Path) -> set[str]:
    """Dotted names, as deep as the import statement goes, wherever in the file it stands."""
    found = set()
    for node in ast.walk(tree_of(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(source)}: line {node.lineno} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def called(source: Path) -> set[str]:
    """Dotted names of everything called or raised."""
    nodes = list(ast.walk(tree_of(source)))
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    return calls | {ast.unparse(n.exc) for n in nodes if isinstance(n, ast.Raise) and n.exc}


@each_source
def test_the_harness_knows_no_contender_and_a_contender_only_the_boundary(source):
    ours = {name for name in imports(source) if within(name, ("benchmark", "baselines"))}
    if name_of(source).startswith("baselines/commands/"):
        strangers = {name for name in ours if not within(name, CONTENDERS_VERBS_MAY_IMPORT)}
        strangers -= {"benchmark"}
    elif name_of(source).startswith("baselines/"):
        strangers = {name for name in ours if not within(name, CONTENDERS_MAY_IMPORT)}
    else:
        strangers = {name for name in ours if within(name, ("baselines",))}
    assert not strangers


@each_source
def test_a_room_imports_the_rooms_before_it_alone(source):
    if source.relative_to(ROOT).parts[0] != "benchmark":
        return
    room = room_of(source)
    assert room in ROOMS, "a new room takes its place in tests/support/rooms.py"
    before = set(ROOMS[: ROOMS.index(room)]) - set(CLOSED_TO.get(room, ()))
    assert imported_rooms(source) <= before


def test_the_picture_of_the_rooms_shows_the_imports_of_today():
    document = (ROOT / "docs" / "architecture.md").read_text()
    drawn = document.partition("```mermaid\n")[2].partition("```")[0]
    assert drawn.strip() == picture(), "print the new one: python tests/support/rooms.py"


@pytest.mark.parametrize("room", sorted({*ROOMS} - {"boundary"}))
def test_a_room_has_files(room):
    assert list((ROOT / "benchmark" / room).glob("*.py"))


@pytest.mark.parametrize("folder", LOOKED_OVER, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_has_few_enough_files_to_be_looked_over(folder):
    files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(files) <= MOST_FILES_IN_A_ROOM


@each_source
def test_a_learned_method_is_known_to_its_own_folder_alone(source):
    shared = ("blocks", "entropy", "bitstream", "checkpoint", "training", "exact")
    neural = ROOT / "baselines" / "neural"
    if source.is_relative_to(neural) and source.relative_to(neural).parts[0] in shared:
        assert not {name for name in imports(source) if within(name, METHODS)}


@each_source
@pytest.mark.parametrize("effect", OWNERS)
def test_a_side_effect_has_one_owner(source, effect):
    modules, owners = OWNERS[effect]
    if not name_of(source).startswith(owners):
        assert not {name for name in imports(source) if within(name, modules)}
        assert not called(source) & {"os.system", "os.popen", "os.fork", "os.execvp"}


@each_source
def test_only_commands_print_and_end_the_program(source):
    if not name_of(source).startswith(MAY_TALK):
        ends = {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit", "typer.Exit"}
        assert not called(source) & ends


@each_source
def test_files_stay_small_are_named_for_what_they_hold_and_begin_by_saying_it(source):
    assert len(source.read_text().splitlines()) <= 350
    assert source.stem not in DRAWERS
    assert not DRAWERS & set(source.relative_to(ROOT).parts)
    first = (ast.get_docstring(tree_of(source)) or "").partition("\n")[0]
    assert first.endswith((".", ":")), "the first line of the file is a sentence about it"


def file_map() -> str:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("\n## File map\n")[2]
    return section.partition("\n## ")[0]


def test_every_name_in_the_file_map_exists():
    path = r"(?<![\w*>./-])[\w./-]*\w(?:\.(?:py|sh|md|lock|toml|txt)\b|/(?=[\s`,|)]))"
    named = set(re.findall(path, file_map()))
    assert named, "docs/architecture.md has no file map"
    there = {
        path.relative_to(ROOT).as_posix() + "/" * path.is_dir()
        for path in ROOT.rglob("*")
        if not {".venv", ".git"} & set(path.relative_to(ROOT).parts)
    }
    made_by_running = {"results/", ".venv/", "streams/", "per_image/", "runs/", "report/"}
    assert not {
        name
        for name in named - made_by_running
        if not any(path == name or path.endswith(f"/{name}") for path in there)
    }


def test_the_file_map_names_every_module():
    top = [*(ROOT / "benchmark").iterdir(), *(ROOT / "baselines").iterdir()]
    modules = {path.name for path in top if path.suffix == ".py" and path.stem[:2] != "__"}
    folders = {f"{path.name}/" for path in top if (path / "__init__.py").exists()}
    mapped = file_map()
    assert not {
        name for name in modules | folders if not re.search(rf"\b{re.escape(name)}", mapped)
    }


@pytest.mark.parametrize(
    "command",
    [
        *("", "run", "plan", "report", "rescore", "fetch", "doctor", "train", "ablation"),
        *("pack", "audit", "figures", "check", "baseline", "tradeoff"),
    ],
)
def test_help_imports_nothing_heavy(tmp_path, command):
    arguments = [command, "--help"] if command else ["--help"]
    assert "Usage" in bench_without(HEAVY, tmp_path, *arguments)


def test_list_imports_nothing_heavy(tmp_path):
    assert "jpeg" in bench_without(HEAVY, tmp_path, "list").split()


def test_a_run_without_learned_parts_imports_no_torch(tmp_path):
    options = ("--codecs", "raw,jpeg,webp", "--metrics", "psnr,ms_ssim", "--limit", "1")
    shown = bench_without(
        LEARNED, tmp_path, "run", "--dataset", "sample", "--results", str(tmp_path / "r"), *options
    )
    assert "webp" in shown
    assert list((tmp_path / "r" / "sample").rglob("*.parquet"))
