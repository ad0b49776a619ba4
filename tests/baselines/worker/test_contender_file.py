"""Contender files: valid keys, the environment that is set up, and the project's contenders."""

import ast
import dataclasses
import errno
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from baselines.commands import worker
from baselines.commands.worker import require_no_page
from baselines.worker.codec import Worker, read_contender
from benchmark.codec import CodecInfo, Setting
from benchmark.errors import BenchError, ProgramFailed, Unavailable, UsageError
from benchmark.facts import facts_of
from benchmark.rows.edition import label_of
from benchmark.spec import parse_codec, resolve
from support.bench.command import bench
from support.codecs.copying_worker import HELPER, SCRIPT, contender
from support.files.noise import effect_noise


def test_the_sweep_the_name_and_the_facts_are_the_contender_file_s_if_it_has_any(tmp_path):
    assert Worker(file=str(contender(tmp_path))).sweep == (Setting("q", 1), Setting("q", 2.5))
    file = contender(tmp_path, setting="'quality'", values="[3, 4]")
    assert Worker(file=str(file)).sweep == (Setting("quality", 3), Setting("quality", 4))
    file = contender(tmp_path, memory_gb="2", seconds_per_megapixel="3.5")
    (spec,) = resolve(parse_codec(f"worker:{file}"))
    assert spec.label == "Copy"
    facts = facts_of(spec)
    assert (facts.title, facts.memory.pixel) == ("Copy", 2000)
    assert facts.typical[0].seconds == ((0, 3.5),)
    (plain,) = resolve(parse_codec(f"worker:{contender(tmp_path / 'plain')}"))
    assert not facts_of(plain).typical
    assert facts_of(plain).memory.pixel == 60, "where the file says nothing"
    assert read_contender(tmp_path / "plain/copy.toml").timeout_seconds == 600


def test_imports_have_their_time_however_short_the_limit_of_an_answer_is(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", os.devnull)
    fields = {"timeout_seconds": "0.001", "commit": "'abc'", "licence": "'MIT'"}
    file = contender(tmp_path, **fields, setting="'q'", values="[1]")
    info = Worker(file=str(file), name="Copy").describe()
    assert dataclasses.replace(info, fingerprint="") == CodecInfo(
        f"Copy abc, Python {platform.python_version()}",
        f"{sys.executable} -S copy_worker.py {{q}}", "MIT", "", 1, info.timed,
    )  # fmt: skip
    assert "pipe" in info.timed
    for name, shown in (("", "Copy"), (":name=Mine", "Mine")):
        (spec,) = resolve(parse_codec(f"worker:{file}{name}"))
        assert (label_of(spec), Worker(**dict(spec.options)).name) == (shown, shown)


def test_an_interpreter_is_of_the_folder_by_its_path_and_of_the_system_by_its_name(tmp_path):
    def interpreter(python: str) -> str:
        return read_contender(contender(tmp_path, python=f"'{python}'")).command()[0]

    for name in ("python3", "env/bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("#!/bin/false")
        (tmp_path / name).chmod(0o755)
    assert interpreter("python3") == shutil.which("python3")
    python = "env A='1 2' -C {folder} python3"
    read = read_contender(contender(tmp_path, python=f'"{python}"'))
    words = ["A=1 2", "-C", str(tmp_path), "python3", "copy_worker.py"]
    assert read.command() == [shutil.which("env"), *words]
    assert interpreter("env/bin/python") == str(tmp_path / "env/bin/python")
    for absent in (".venv/bin/python", "python4.99"):
        with pytest.raises(Unavailable, match=f"{absent}.*bench worker setup"):
            interpreter(absent)
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_contender(tmp_path / "none.toml")
    file = contender(tmp_path)
    file.write_text(f"{file.read_text()}folder = 'none'\n")
    with pytest.raises(Unavailable, match=r"none.*bench worker setup"):
        Worker(file=str(file)).describe()


def test_setup_puts_the_script_next_to_the_model_and_keeps_one_that_differs(tmp_path):
    (tmp_path / "code").mkdir()
    script = f"import shared\n{SCRIPT}"
    (tmp_path / "a_worker.py").write_text(script)
    (tmp_path / "shared.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("y = 1\n")
    file = tmp_path / "a.toml"
    file.write_text("name = 'a'\nfolder = 'code'\nscript = 'a_worker.py'")
    bench("worker", "setup", file, code=0)
    assert (tmp_path / "code/a_worker.py").read_text() == script
    assert (tmp_path / "code/shared.py").read_text() == "x = 1\n"
    assert not (tmp_path / "code/other.py").exists()
    assert (tmp_path / "code/rdrbench_worker.py").read_text() == HELPER
    (tmp_path / "code/a_worker.py").write_text("mine")
    bench("worker", "setup", file, code=2)
    assert (tmp_path / "code/a_worker.py").read_text() == "mine"


def test_a_web_page_in_the_place_of_weights_is_refused_and_removed(tmp_path):
    weights = tmp_path / "a.pth"
    weights.write_bytes(b"PK\x03\x04")
    require_no_page(weights, "https://example.org")
    weights.write_bytes(b"\n<!DOCTYPE html><title>Virus scan warning</title>")
    with pytest.raises(UsageError, match=r"example\.org"):
        require_no_page(weights, "https://example.org")
    assert not weights.exists()


VALID = "name = 'a'\nscript = 'a'\n"
WRONG = {
    "encode_kmac": "nan inf -3", "decode_kmac": "nan 1.1e30", "memory_gb": "nan inf -5",
    "timeout_seconds": "nan inf 0 -1 1.1e6", "seconds_per_megapixel": "nan inf -1",
    "parameters": "-1 1.5 9007199254740993 99999999999999999999", "speed": "3", "file": "'b'",
}  # fmt: skip
WRONG_SWEEPS = "['x']", "[1, nan]", "[1, inf]", "[1, -1e300]"
OUTSIDE = "../a.pth", "/a.pth", "a/../../b"


@pytest.mark.parametrize(("text", "key"), [
    ("name = 'a'", "script"), ("name = 3\nscript = 'a'", "name"), ("name = ", "TOML"),
    ("name = ''\nscript = 'a'", "name"), ("name = 'a'\nscript = ''", "script"),
    (f"{VALID}values = [1]", "setting"), (f"{VALID}[weights]\n'x' = 'url'", "weights"),
    *((f"{VALID}{key} = {value}", key) for key, text in WRONG.items() for value in text.split()),
    *((f"{VALID}setting = 'q'\nvalues = {sweep}", "values") for sweep in WRONG_SWEEPS),
    *((f"{VALID}[weights]\n'{path}' = {{}}", path) for path in OUTSIDE),
])  # fmt: skip
def test_a_contender_file_that_cannot_be_used_is_named_with_its_key(tmp_path, text, key):
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=key) as error:
        read_contender(file)
    assert str(file) in str(error.value)


def test_the_example_is_measured_with_another_numpy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bench("worker", "new", "Toy-1").returncode == 0
    file = Path("results/contenders/Toy_1.toml")
    text = file.read_text().replace('"python3"', '".venv/bin/python"')
    file.write_text(text.replace("gpu = false", 'gpu = false\npackages = ["numpy==2.2.6"]'))
    setup = bench("worker", "setup", file)
    if setup.returncode:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "numpy==2.2.6"]
        has_index = subprocess.run(pip, check=False, capture_output=True).returncode == 0
        assert not has_index, setup.stderr
        pytest.skip("needs a package index for a second numpy")
    script = Path("results/contenders/Toy_1/Toy_1_worker.py")
    text = script.read_text().replace(
        "return Pixels(height, width, zlib.decompress(data))",
        "pixels = numpy.frombuffer(zlib.decompress(data), 'u1').reshape(height, width, 3)\n"
        "        return Pixels.from_numpy(pixels)",
    )
    imports = "import zlib\nimport numpy\nassert numpy.__version__ == '2.2.6'"
    script.write_text(text.replace("import zlib", imports))
    assert bench("worker", "check", file, code=0).stdout.count(" dB") == 12
    (tmp_path / "photos").mkdir()
    effect_noise((64, 48), 50).convert("RGB").save("photos/a.png")
    words = ("--codecs", f"worker:{file},jpeg", "--dataset", "photos", "--metrics", "psnr")
    assert "Toy-1" in bench("run", *words, code=0).stdout


ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "contenders").glob("*.toml"))
SCRIPTS = sorted((ROOT / "contenders").glob("*_worker.py"))
WITHOUT_SCRIPT = ("no stream", "no code")  # published by the authors


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_contender_says_where_it_is_from_and_has_a_script_where_there_is_a_codec(file):
    contender = read_contender(file)
    assert all((contender.licence, contender.reference, contender.tried))
    assert (file.parent / contender.script).is_file() == (contender.tried not in WITHOUT_SCRIPT)
    assert all(path.startswith("checkpoints/") for path in contender.weights)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_reads_as_python_3_6_and_has_what_the_helper_calls(script):
    tree = ast.parse(script.read_text(), feature_version=(3, 6))
    [codec] = (node for node in tree.body if isinstance(node, ast.ClassDef))
    methods = {node.name: node for node in codec.body if isinstance(node, ast.FunctionDef)}
    assigned = [node for node in codec.body if isinstance(node, ast.Assign)]
    attributes = {ast.unparse(node.targets[0]): node.value for node in assigned}
    assert "sweep" in attributes
    needs = ast.literal_eval(attributes.get("decoder_needs", ast.Tuple([])))
    arguments = [[one.arg for one in methods[name].args.args] for name in ("encode", "decode")]
    assert arguments == [["self", "pixels", "setting"], ["self", "data", *needs]]
    assert any(read_contender(file).script == script.name for file in FILES)


def test_the_page_lists_each_contender_by_what_it_was_tried_with_and_no_other():
    page = (ROOT / "docs" / "own-codec.md").read_text()
    section = page.partition("\n### Contenders\n")[2].partition("\n## ")[0]
    listed = [
        (tried, *link)
        for tried, links in re.findall(r"^- (.+?): (\[.+)$", section, re.MULTILINE)
        for link in re.findall(r"\[(.+?)\]\(\.\./contenders/(.+?)\)", links)
    ]
    read = {file.name: read_contender(file) for file in FILES}
    assert sorted(listed) == sorted((entry.tried, entry.name, name) for name, entry in read.items())


def test_a_new_contender_on_a_full_disk_is_one_sentence_and_leaves_no_file(tmp_path, monkeypatch):
    written = []

    def write(path, content):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(content)
        written.append(path)

    monkeypatch.setattr(worker, "write_file", write)
    with pytest.raises(BenchError, match=r"mine_worker\.py .*No space"):
        worker.new("mine", tmp_path / "out")
    assert written
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.fixture
def installed(tmp_path, monkeypatch, capsys):
    def make(packages, gpus, with_uv):
        commands = []
        monkeypatch.setattr(worker, "run_program", lambda words, **_: commands.append([*words]))
        monkeypatch.setattr(worker, "gpus", lambda: gpus)
        monkeypatch.setattr(worker, "find_spec", lambda name: with_uv or None)
        monkeypatch.setattr(worker, "which", lambda name: None)
        fields = {"folder": tmp_path, "python": ".venv/bin/python", "python_version": ""}
        fields |= {"packages": packages, "file": tmp_path / "a.toml"}
        worker._make_environment(SimpleNamespace(**fields))
        return commands[-1], capsys.readouterr().out

    return make


@pytest.mark.parametrize(("with_uv", "words"), [
    (True, ["--torch-backend", "cpu"]),
    (False, ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]),
])  # fmt: skip
def test_without_a_gpu_torch_is_the_cpu_version_and_sizes_are_printed(installed, with_uv, words):
    packages = ["torch==2.6.0", "numpy"]
    command, message = installed(packages, (), with_uv)
    assert command[-4:] == [*words, *packages]
    assert ".venv: about 1 GB, torch " in message
    command, message = installed(packages, ("GPU-a",), with_uv)
    assert not {*words} & {*command}
    assert message.endswith(".venv: about 6 GB\n")


def test_an_unavailable_python_is_named_with_a_remedy(tmp_path, monkeypatch):
    failing = Mock(side_effect=ProgramFailed("uv ended with exit code 2"))
    monkeypatch.setattr(worker, "run_program", failing)
    words = {"folder": tmp_path, "python": ".venv/bin/python", "python_version": "3.5"}
    with pytest.raises(ProgramFailed, match=r"Python 3\.5 .*python_version in a\.toml"):
        worker._make_environment(SimpleNamespace(**words, packages=("x",), file="a.toml"))


def test_packages_without_torch_and_lists_of_requirements_are_taken_as_they_are(installed):
    for package in ("torchac", "open-clip-torch==2.22.0", "numpy"):
        command, message = installed([package], (), True)
        assert (command[-1], "--torch-backend" in command) == (package, False)
        assert message.endswith(".venv\n")
    command, _ = installed(["-r requirements.txt", "-c a.txt", "x y"], (), True)
    assert command[-5:] == ["-r", "requirements.txt", "-c", "a.txt", "x y"]
