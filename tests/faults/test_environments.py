"""`bench run` and `bench report` give the same files in forty environments."""

import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from PIL import Image

pytestmark = pytest.mark.slow
BENCH = Path(sys.executable).with_name("bench")
COMMANDS = (
    ["run", "--codecs", "jpeg,webp", "--dataset", "photos", "--metrics", "psnr,ssim"],
    ["report", "--dataset", "photos", "--page"],
)
COMPARED = ("bd_rate.csv", "psnr_db.png", "psnr_db.pdf")
MODULES = ["random", "PIL", "numpy", "json", "typer", "benchmark", "types", "torch"]


class Environment(NamedTuple):
    variables: Mapping[str, str | None] = MappingProxyType({})  # None: unset
    shell: str = '"$@"'  # line that starts the command
    files: Mapping[str, str] = MappingProxyType({})  # in the current folder


ENVIRONMENTS = {
    "backend of a notebook": Environment(
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    ),
    "backend that does not exist": Environment({"MPLBACKEND": "nonsense"}),
    "backend with windows": Environment({"MPLBACKEND": "TkAgg", "DISPLAY": ":99"}),
    "matplotlibrc": Environment(
        files={"matplotlibrc": "text.usetex: True\nsavefig.dpi: 30\nfont.size: 40\nbackend: none\n"}
    ),
    "matplotlibrc that is no text": Environment(files={"matplotlibrc": "\udcff"}),
    "C locale without UTF-8": Environment(
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ),
    "POSIX locale": Environment({"LC_ALL": "POSIX"}),
    "locale that is not installed": Environment({"LC_ALL": "xx_YY.ISO-8859-9", "LANG": "xx"}),
    "decimal commas": Environment({"LC_ALL": "de_DE.UTF-8"}),
    "ASCII streams": Environment({"PYTHONIOENCODING": "ascii:strict"}),
    "UTF-16 streams": Environment({"PYTHONIOENCODING": "utf-16"}),
    "standard input closed": Environment(shell='"$@" <&-'),
    "standard output closed": Environment(shell='"$@" >&-'),
    "standard error closed": Environment(shell='"$@" 2>&-'),
    "all streams closed": Environment(shell='"$@" <&- >&- 2>&-'),
    "standard error full": Environment(shell='"$@" 2>/dev/full'),
    "in the background": Environment(shell='nohup "$@" </dev/null >out.txt 2>&1'),
    "signals ignored": Environment(shell="trap '' INT HUP PIPE; \"$@\""),
    "umask": Environment(shell='umask 077; "$@"'),
    "few open files": Environment(shell='ulimit -n 256; "$@"'),
    "modules in the folder": Environment(
        files={f"{name}.py": "raise SystemExit(3)" for name in MODULES}
    ),
    "modules on PYTHONPATH": Environment(
        {"PYTHONPATH": "stray:"}, files={"stray/colorama.py": "1 / 0"}
    ),
    "no HOME": Environment({"HOME": None}),
    "HOME that cannot be written": Environment(
        {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"}
    ),
    "no temporary folder": Environment({"TMPDIR": "/nowhere"}),
    # Of a library for linear algebra they choose the kernel, and with it the last digits.
    "no variables": Environment({n: None for n in os.environ if n != "PATH" and "BLAS" not in n}),
    "narrow": Environment({"TERM": None, "COLUMNS": "12"}),
    "no width": Environment({"TERM": "dumb", "COLUMNS": "0", "LINES": "0"}),
    "colours": Environment({"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}),
    "warnings": Environment({"PYTHONWARNINGS": "default"}),
    "optimised": Environment({"PYTHONOPTIMIZE": "2"}),
    "development mode": Environment({"PYTHONDEVMODE": "1"}),
    "hash seed": Environment({"PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1"}),
    "time zone": Environment({"TZ": "Pacific/Chatham"}),
    "threads": Environment({"OMP_NUM_THREADS": "64", "MKL_NUM_THREADS": "x"}),
}
NAMES = ["umläut", "space 'quote\"", "new\nline", "-dash", "%s{x}", "\udcff"]
CODE = (
    "import benchmark; cells = benchmark.run('jpeg,webp', 'photos', metrics='psnr').rows;"
    " assert len(cells) >= 4, cells\n"
)
PYTHON = {
    "-c": (["-c", CODE], ""),
    "standard input": (["-"], CODE),
    "script without a guard": (["script.py"], ""),
    "interactive": (["-i", "-q"], CODE),
    "isolated": (["-I", "-c", CODE], ""),
}


def prepared(folder: Path, files: Mapping[str, str]) -> Path:
    (folder / "photos").mkdir(parents=True)
    for number in range(2):
        picture = Image.radial_gradient("L").resize((200 + number, 160)).convert("RGB")
        picture.save(folder / "photos" / f"{number}.png")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    return folder


def outcome(folder: Path, environment: Environment) -> dict[str, bytes]:
    variables = {**os.environ, **environment.variables}
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", environment.shell, "sh", BENCH, *command],
            check=False,
            cwd=folder,
            env={name: value for name, value in variables.items() if value is not None},
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done
        assert b"Traceback" not in done.stdout + done.stderr
    [report] = folder.glob("results/*/report")
    assert (report / "page.html").exists()
    return {name: (report / name).read_bytes() for name in COMPARED}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all, since the name of a folder's dataset has a digest of its path."""
    return tmp_path_factory.mktemp("environments") / "here"


@pytest.fixture(scope="module")
def expected(here: Path) -> dict[str, bytes]:
    return outcome(prepared(here, {}), Environment())


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_files_are_the_same_in_every_environment(here, expected, name):
    shutil.rmtree(here)
    assert outcome(prepared(here, ENVIRONMENTS[name].files), ENVIRONMENTS[name]) == expected


@pytest.mark.parametrize("name", [*NAMES, unicodedata.normalize("NFD", NAMES[0])])
def test_folders_may_have_any_name(tmp_path, expected, name):
    done = outcome(prepared(tmp_path / name, {}), Environment())
    assert done["bd_rate.csv"] == expected["bd_rate.csv"]


@pytest.mark.parametrize("way", PYTHON)
def test_python_may_be_started_in_any_way(tmp_path, way):
    arguments, text = PYTHON[way]
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=prepared(tmp_path, {"script.py": CODE}),
        input=text.encode(),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done
    assert b"Traceback" not in done.stderr
