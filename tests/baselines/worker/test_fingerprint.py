"""What the fingerprint of a contender covers, and what it does not."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from hashlib import sha256
from importlib.metadata import distributions
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from baselines.worker import rdrbench_worker
from baselines.worker.codec import Worker
from benchmark.codec import Setting
from benchmark.errors import Unavailable
from support.codecs.copying_worker import SCRIPT, contender, photograph


def test_what_decides_the_streams_is_in_the_fingerprint_and_nothing_else(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"weights")
    file = contender(tmp_path, weights="{'a.pth' = {}}")

    def fingerprint() -> str:
        return Worker(file=str(file)).describe().fingerprint

    assert Worker(file=str(file))._description.code.keys() == {"__main__", "rdrbench_worker"}
    first = fingerprint()
    (tmp_path / "notes.py").write_text("# not imported")
    assert fingerprint() == first
    (tmp_path / "a.pth").write_bytes(b"other weights")
    second = fingerprint()
    (tmp_path / "copy_worker.py").write_text(SCRIPT + "\n# changed")
    assert len({first, second, fingerprint()}) == 3


def test_packages_and_where_and_with_what_it_runs_are_in_the_fingerprint(tmp_path, monkeypatch):
    python = f"'{sys.executable}'"
    about = Worker(file=str(contender(tmp_path, python=python)))._description
    kinds = [("python", "'env python3'"), ("python", "'env -i python3'")]
    kinds += [("environment", value) for value in ("{SCALE = '1'}", "{}", "{SCALE = '2'}")]
    files = [contender(tmp_path / str(i), **{kind[0]: kind[1]}) for i, kind in enumerate(kinds)]
    workers = [Worker(file=str(file)) for file in files]
    for codec in workers:
        codec.__dict__["_description"] = about
    fingerprints = {codec.describe().fingerprint for codec in workers}
    assert len(fingerprints) == len(workers)
    monkeypatch.setenv("BENCH_RANDOM_WEIGHTS", "1")
    assert workers[-2].describe().fingerprint not in fingerprints
    installed = {f"{package.metadata['Name']}=={package.version}" for package in distributions()}
    assert [*about.packages] == sorted(installed)
    assert f"numpy=={np.__version__}" in installed

    def fingerprint(*packages: str, code: Mapping[str, str] = about.code) -> str:
        codec = Worker(file=str(contender(tmp_path)))
        codec.__dict__["_description"] = replace(about, packages=packages, code=code)
        return codec.describe().fingerprint

    first = fingerprint("torch==1")
    assert len({first, fingerprint("torch==2"), fingerprint()}) == 3
    in_another_order = dict(reversed(about.code.items()))
    assert [*in_another_order] != [*about.code]
    assert fingerprint("torch==1", code=in_another_order) == first
    working_set = [SimpleNamespace(project_name=name, version="1") for name in "ba"]
    monkeypatch.setitem(sys.modules, "pkg_resources", SimpleNamespace(working_set=working_set))
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)  # as before Python 3.8
    assert rdrbench_worker._packages() == ["a==1", "b==1"]


def test_files_that_the_script_opens_are_recorded_once_and_decide(tmp_path):
    opens = "[open(each).read() for each in ('w.bin', '/etc/passwd', 'copy_worker.py')]; "
    opens += "open('made', 'w').write('1'); open('made').read(); fault = p"
    script = SCRIPT.replace("fault = p", opens)
    (tmp_path / "w.bin").write_text("4")
    file = contender(tmp_path, script)

    def fingerprint() -> str:
        return Worker(file=str(file)).describe().fingerprint

    def encode() -> None:
        with closing(Worker(file=str(file))) as codec:
            for _ in range(2):
                codec.encode(photograph(), Setting("q", 1))

    first = fingerprint()
    encode()
    record = tmp_path / "copy.opened.sha256"
    record_before = record.read_text()
    assert [line.split()[1] for line in record_before.splitlines()] == ["w.bin"]
    checked = subprocess.run(["sha256sum", "--check", record.name], cwd=tmp_path, check=False)
    assert checked.returncode == 0
    assert fingerprint() == first
    (tmp_path / "w.bin").write_text("5")
    second = fingerprint()
    encode()
    assert second == fingerprint() != first
    assert record.read_text() == record_before
    record.write_text(f"{record_before}{'0' * 64}  w.bin\n")  # written later by another process
    assert fingerprint() == second
    (tmp_path / "w.bin").unlink()
    assert fingerprint() not in (first, second)
    (tmp_path / "w.bin").write_text("4")
    assert fingerprint() == first


def test_the_version_says_that_opened_files_cannot_be_recorded(tmp_path, monkeypatch):
    worker = Worker(file=str(contender(tmp_path)))
    assert "opened files" not in worker.describe().version
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "opened files not recorded" in worker.describe().version


def test_missing_or_changed_weights_are_refused_unless_they_are_random(tmp_path):
    file = contender(tmp_path, weights="{'a.pth' = {sha256 = '00'}}")
    with pytest.raises(Unavailable, match=r"a\.pth is missing"):
        Worker(file=str(file)).describe()
    (tmp_path / "a.pth").write_bytes(b"weights")
    with pytest.raises(Unavailable, match=r"a\.pth has the sha256"):
        Worker(file=str(file)).describe()
    weights = f"{{'a.pth' = {{sha256 = '{sha256(b'weights').hexdigest()[:12]}'}}}}"
    Worker(file=str(contender(tmp_path, weights=weights))).describe()
    with pytest.raises(Unavailable, match=r"b\.pth is missing"):
        Worker(file=str(contender(tmp_path, weights="{'b.pth' = {}}"))).describe()
    missing, random = "{'a.pth' = {sha256 = '00'}}", "{BENCH_RANDOM_WEIGHTS = '1'}"
    file = contender(tmp_path, weights=missing, environment=random)
    assert Worker(file=str(file)).describe().caveat == "random weights"
    assert not Worker(file=str(contender(tmp_path, tried="'random weights'"))).describe().caveat
