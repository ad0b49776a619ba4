"""The project installed from its wheel, used in an empty folder."""

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

from baselines.neural.card import PACKED, tensors_sha256, unpack_xz
from support.checkout import ROOT
from support.files.file_server import served
from support.metrics.cases import in_new_python
from support.networks.streams import STREAMS
from support.processes import ran
from tools.pip_settings import settings

BUNDLED = ROOT / "baselines" / "checkpoints"
WITHOUT = """
import sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "compressai", "constriction"))
"""
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def test_every_bundled_checkpoint_has_its_digest():
    lines = (BUNDLED / "SHA256SUMS").read_text().splitlines()
    files = BUNDLED.glob("*.*")
    digests = {file.name.removesuffix(PACKED): tensors_sha256(file) for file in files}
    assert {name: digest for digest, name in map(str.split, lines)} == digests


def contents(pattern: str) -> dict[str, bytes]:
    return {
        path.name.removesuffix(PACKED): (
            unpack_xz(path) if path.suffix == PACKED else path.read_bytes()
        )
        for path in BUNDLED.glob(pattern)
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    build = [*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", source, "-w", folder]
    subprocess.run(build, check=True, cwd=folder)
    [wheel] = folder.glob("*.whl")
    assert wheel.stat().st_size < 30_000_000
    site = folder / "site"
    install = [*PIP, "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(install, check=True, cwd=folder)
    assert not shutil.which("cc") or [*site.glob("benchmark/metrics/loops.*.so")]
    return site


def bench(site, folder, *arguments, extra_path=""):
    code = f"import benchmark.__main__ as m; assert m.__file__.startswith({str(site)!r}); m.main()"
    command = (sys.executable, "-P", "-c", code, *arguments)
    return ran(*command, folder=folder, PYTHONPATH=f"{site}{extra_path}", HOME=folder)


@pytest.mark.slow
def test_a_script_elsewhere_is_checked_with_the_types_of_the_wheel(installed, tmp_path):
    venv.create(tmp_path / "env")
    [packages] = (tmp_path / "env").glob("lib/python*/site-packages")
    (packages / "wheel.pth").write_text(f"{installed}\n")
    (tmp_path / "script.py").write_text("import rdrbench\n\nrdrbench.run(7)\n")
    python = tmp_path / "env" / "bin" / "python"
    words = ("-m", "mypy", "--python-executable", python, "--cache-dir", tmp_path, "script.py")
    result = ran(sys.executable, *words, folder=tmp_path)
    assert 'script.py:3: error: Argument 1 to "run" has incompatible type "int"' in result.stdout
    assert "Found 1 error in 1 file" in result.stdout


@pytest.mark.slow
def test_the_first_commands_work_in_an_empty_folder(installed, tmp_path):
    run = bench(installed, tmp_path, "run", "--codecs", "jpeg,vtm", "--points", "vtm.qp=37",
                "--metrics", "psnr")  # fmt: skip
    assert run.returncode == 0, run.stderr
    rank = bench(installed, tmp_path, "rank", "--dataset", "kodak", "--at", "bpp=.3")
    assert (rank.returncode, "avif" in rank.stdout) == (0, True), rank.stderr
    words = ("rank", "--dataset", "sample", "--bundled", "all", "--at", "bpp=.3")
    sample = bench(installed, tmp_path, *words)
    assert {"jpeg", "vtm,", "elic", "avif"} <= {*sample.stdout.split()}  # VTM has one rate
    published = bench(installed, tmp_path, "published", "list")
    assert (published.returncode, "HiFiC" in published.stdout) == (0, True), published.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == ["results"]


@pytest.mark.slow
def test_other_folders_of_results_begin_empty(installed, tmp_path):
    result = bench(installed, tmp_path, "report", "--dataset", "kodak", "--results", "mine")
    assert (result.returncode, "mine" in result.stderr) == (2, True)
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_a_checkpoint_that_the_wheel_leaves_out_is_fetched(installed, tmp_path, monkeypatch):
    run = ["run", "--codecs", "elic", "--dataset", "sample", "--metrics", "psnr"]
    absent = bench(installed, tmp_path, *run)
    assert (absent.returncode, "bench fetch elic" in absent.stderr) == (2, True)
    with served(monkeypatch) as server:
        for name, content in contents("elic*").items():
            server.files[f"/{name}"] = content
        server.files["/elic-2.json"] += b" "
        for code in (2, 0):  # what differs from its digest is refused, and the rest kept
            result = bench(installed, tmp_path, "fetch", "elic", "--from", server.url)
            assert (result.returncode, "elic-2.json" in result.stderr) == (code, True)
            server.files["/elic-2.json"] = (BUNDLED / "elic-2.json").read_bytes()
    result = bench(installed, tmp_path, *run, "--points", "elic.level=1")
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_core_works_without_torch(installed, tmp_path):
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "sitecustomize.py").write_text(WITHOUT)
    extra_path = f":{tmp_path / 'absent'}"
    run = ["run", "--codecs", "jpeg,ours,hyperprior:weights=matched", "--points", "jpeg.quality=50"]
    result = bench(installed, tmp_path, *run, extra_path=extra_path)
    assert (result.returncode, "rdrbench[neural]" in result.stderr) == (2, True), result.stderr
    run += ["--skip-missing", "--metrics", "all"]
    result = bench(installed, tmp_path, *run, extra_path=extra_path)
    assert result.returncode == 0, result.stderr
    listed = bench(installed, tmp_path, "list", extra_path=extra_path).stdout
    needs = {name.split()[0] for name in listed.splitlines() if "rdrbench[neural]" in name}
    assert needs >= {"ours", "charm", "dirac", "hyperprior", "lpips", "dists"}
    assert not needs & {"jpeg", "vtm", "worker", "psnr", "ms_ssim", "ssimulacra2"}


@pytest.mark.slow
@pytest.mark.parametrize("minor", ["3.11", "3.12", "3.13", "3.14"])
def test_the_core_works_on_other_pythons(installed, tmp_path, minor):
    paths = sorted(Path.home().glob(f".pyenv/versions/{minor}.*/bin/python"))
    if not paths:
        pytest.skip(f"Python {minor} is not here")
    python = environment(installed, tmp_path, paths[-1])
    for command in (["run", "--codecs", "jpeg,webp,jpegxl"], ["report", "--dataset", "sample"]):
        assert ran(python.with_name("bench"), *command, folder=tmp_path).returncode == 0


@pytest.mark.slow
def test_learned_codecs_write_the_same_streams_with_numpy_2(installed, tmp_path):
    requirements = ["numpy>=2.1", f"torch=={version('torch')}"]
    python = environment(installed, tmp_path, Path(sys.executable), "neural", *requirements)
    program = f"import numpy; assert numpy.__version__ >= '2'{STREAMS}"
    theirs = ran(python, "-P", "-c", program, folder=tmp_path, BENCH_WEIGHTS=BUNDLED)
    assert theirs.returncode == 0, theirs.stderr
    assert theirs.stdout == in_new_python(STREAMS)


def environment(installed, folder, python, extra="", *requirements):
    """Make an environment with the wheel and more, from where pip looks; return its Python."""
    [wheel] = installed.parent.glob("*.whl")
    uv = Path(sys.executable).with_name("uv")
    listed = subprocess.run([*PIP, "config", "list"], check=True, capture_output=True, text=True)
    index = settings(listed.stdout.splitlines())
    subprocess.run([uv, "venv", "--quiet", "--python", python, folder / "venv"], check=True)
    interpreter = folder / "venv" / "bin" / "python"
    install = [uv, "pip", "install", "--quiet", "--index-strategy", "unsafe-best-match"]
    target = f"rdrbench[{extra}] @ {wheel.as_uri()}" if extra else wheel
    install += ["--python", interpreter, target, *requirements]
    subprocess.run(install, check=True, env={**os.environ, **index})
    return interpreter
