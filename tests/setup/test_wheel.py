"""The project installed from its wheel, used in an empty folder."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.files.file_server import served

BUNDLED = ROOT / "baselines" / "checkpoints"
DIGESTS = BUNDLED / "SHA256SUMS"
LARGEST_WHEEL_BYTES = 30_000_000
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def test_every_bundled_checkpoint_has_its_digest():
    listed = {name: digest for digest, name in map(str.split, DIGESTS.read_text().splitlines())}
    files = [path for path in BUNDLED.iterdir() if path.suffix in (".json", ".safetensors")]
    assert listed == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the installed packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    build = [*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", source, "-w", folder]
    subprocess.run(build, check=True, cwd=folder)
    [wheel] = folder.glob("*.whl")
    assert wheel.stat().st_size < LARGEST_WHEEL_BYTES
    site = folder / "site"
    install = [*PIP, "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(install, check=True, cwd=folder)
    return site


def bench(site: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `bench` of the wheel."""
    code = (
        "import benchmark.__main__ as m; assert m.__file__.startswith({!r}), m.__file__; m.main()"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code.format(str(site)), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_commands_work_in_an_empty_folder(installed, tmp_path):
    run = bench(installed, tmp_path, "run", "--codecs", "jpeg,vtm", "--points", "vtm.qp=37",
                "--metrics", "psnr")  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = bench(installed, tmp_path, "report", "--dataset", "sample", "--metrics", "psnr")
    assert report.returncode == 0, report.stderr
    means = (tmp_path / "results" / "sample" / "report" / "means.csv").read_text()
    assert {"jpeg", "vtm", "elic", "avif"} <= {line.split(",")[0] for line in means.splitlines()}
    rank = bench(installed, tmp_path, "rank", "--dataset", "kodak", "--at", "bpp=.3")
    assert (rank.returncode, "avif" in rank.stdout) == (0, True), rank.stderr
    published = bench(installed, tmp_path, "list", "--published")
    assert (published.returncode, "MLIC++" in published.stdout) == (0, True), published.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == ["results"]


def test_other_folders_of_results_begin_empty(installed, tmp_path):
    done = bench(installed, tmp_path, "report", "--dataset", "kodak", "--results", "mine")
    assert (done.returncode, "mine" in done.stderr) == (2, True)
    assert not (tmp_path / "mine").exists()


def test_a_checkpoint_that_the_wheel_leaves_out_is_fetched(installed, tmp_path, monkeypatch):
    run = ["run", "--codecs", "elic", "--dataset", "sample", "--metrics", "psnr"]
    absent = bench(installed, tmp_path, *run)
    assert (absent.returncode, "bench fetch elic" in absent.stderr) == (2, True)
    with served(monkeypatch) as server:
        for path in BUNDLED.glob("elic*"):
            server.files[f"/{path.name}"] = path.read_bytes()
        server.files["/elic-2.json"] += b" "
        for code in (2, 0):  # what differs from its digest is refused, and the rest kept
            done = bench(installed, tmp_path, "fetch", "elic", "--from", server.url)
            assert (done.returncode, "elic-2.json" in done.stderr) == (code, True), done.stderr
            server.files["/elic-2.json"] = (BUNDLED / "elic-2.json").read_bytes()
    done = bench(installed, tmp_path, *run, "--points", "elic.level=1")
    assert done.returncode == 0, done.stderr
