"""`bench run` and `bench report` give the same files in many environments."""

import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

slow = pytest.mark.slow
BENCH = Path(sys.executable).with_name("bench")
COMMANDS = (
    ["run", "--codecs", "jpeg,webp", "--dataset", "photos", "--metrics", "psnr,ssim"],
    ["report", "--dataset", "photos", "--page", "--format", "pdf"],
)
COMPARED = ("bd_rate.csv", "psnr_db.png", "psnr_db.pdf")
MODULES = ["random", "PIL", "numpy", "json", "typer", "benchmark", "types", "torch"]


VARIABLES = {  # of an environment, which are unset where they are None
    "backend of a notebook": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "backend that does not exist": {"MPLBACKEND": "nonsense"},
    "C locale without UTF-8": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "locale that is not installed": {"LC_ALL": "xx_YY.ISO-8859-9", "LANG": "xx"},
    "decimal commas": {"LC_ALL": "de_DE.UTF-8"},
    "ASCII streams": {"PYTHONIOENCODING": "ascii:strict"},
    "UTF-16 streams": {"PYTHONIOENCODING": "utf-16"},
    "modules on PYTHONPATH": {"PYTHONPATH": "stray:"},
    "no HOME": {"HOME": None},
    "HOME that cannot be written": {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"},
    "no temporary folder": {"TMPDIR": "/nowhere"},
    # Of a library for linear algebra they choose the kernel, and with it the last digits.
    "no variables": {n: None for n in os.environ if n != "PATH" and "BLAS" not in n},
    "narrow": {"TERM": None, "COLUMNS": "12"},
    "no width": {"TERM": "dumb", "COLUMNS": "0", "LINES": "0"},
    "colours": {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"},
    "warnings": {"PYTHONWARNINGS": "default", "PYTHONDEVMODE": "1"},
    "optimised": {"PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1"},
    "time zone": {"TZ": "Pacific/Chatham"},
    "threads": {"OMP_NUM_THREADS": "64", "MKL_NUM_THREADS": "x"},
}
SHELLS = {  # lines that start the command
    "all streams closed": '"$@" <&- >&- 2>&-',
    "standard output closed": '"$@" >&-',
    "standard error full": '"$@" 2>/dev/full',
    "signals ignored": "trap '' INT HUP PIPE; \"$@\"",
    "umask": 'umask 077; "$@"',
    "few open files": 'ulimit -n 256; "$@"',
}
FILES = {  # in the current folder
    "matplotlibrc": {"matplotlibrc": "text.usetex: True\nsavefig.dpi: 30\nbackend: none\n"},
    "matplotlibrc that is no text": {"matplotlibrc": "\udcff"},
    "modules in the folder": {f"{name}.py": "raise SystemExit(3)" for name in MODULES},
    "modules on PYTHONPATH": {"stray/colorama.py": "1 / 0"},
}
NAMES = ["umläut", "space 'quote\"", "new\nline", "-dash", "%s{x}", "\udcff"]
CODE = (
    "import benchmark; cells = benchmark.run('jpeg,webp', 'photos', metrics='psnr').rows;"
    " assert len(cells) >= 4, cells\n"
)
PYTHON = {
    "-c": (["-c", CODE], ""), "standard input": (["-"], CODE),
    "script without a guard": (["script.py"], ""), "interactive": (["-i", "-q"], CODE),
    "isolated": (["-I", "-c", CODE], ""),
}  # fmt: skip


def prepare(folder: Path, files: Mapping[str, str]) -> Path:
    (folder / "photos").mkdir(parents=True)
    for number in range(2):
        picture = Image.radial_gradient("L").resize((200 + number, 160)).convert("RGB")
        picture.save(folder / "photos" / f"{number}.png")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    return folder


def run_well(words: Sequence[object], **options: Any) -> None:
    result = subprocess.run(words, check=False, capture_output=True, timeout=300, **options)
    assert result.returncode == 0, result
    assert b"Traceback" not in result.stdout + result.stderr


def outcome(folder: Path, environment: str = "") -> dict[str, bytes]:
    variables = {**os.environ, **VARIABLES.get(environment, {})}
    for command in COMMANDS:
        words = ["bash", "-c", SHELLS.get(environment, '"$@"'), "sh", BENCH, *command]
        run_well(words, cwd=folder, env={k: v for k, v in variables.items() if v is not None})
    [report] = folder.glob("results/*/report")
    assert (report / "page.html").exists()
    return {name: (report / name).read_bytes() for name in COMPARED}


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all, since the name of a folder's dataset has a digest of its path."""
    return tmp_path_factory.mktemp("environments") / "here"


@pytest.fixture(scope="module")
def expected(work_folder: Path) -> dict[str, bytes]:
    return outcome(prepare(work_folder, {}))


def test_a_run_whose_standard_output_is_closed_measures_its_cells(tmp_path):
    folder, shell = prepare(tmp_path, {}), SHELLS["standard output closed"]
    run_well(["bash", "-c", shell, "sh", BENCH, *COMMANDS[0]], cwd=folder)


@slow
@pytest.mark.parametrize("name", {**VARIABLES, **SHELLS, **FILES})
def test_files_are_the_same_in_every_environment(work_folder, expected, name):
    shutil.rmtree(work_folder)
    assert outcome(prepare(work_folder, FILES.get(name, {})), name) == expected


@slow
@pytest.mark.parametrize("name", [*NAMES, unicodedata.normalize("NFD", NAMES[0])])
def test_folders_may_have_any_name(tmp_path, expected, name):
    assert outcome(prepare(tmp_path / name, {}))["bd_rate.csv"] == expected["bd_rate.csv"]


@slow
@pytest.mark.parametrize("way", PYTHON)
def test_python_may_be_started_in_any_way(tmp_path, way):
    arguments, text = PYTHON[way]
    folder = prepare(tmp_path, {"script.py": CODE})
    run_well([sys.executable, *arguments], cwd=folder, input=text.encode())
