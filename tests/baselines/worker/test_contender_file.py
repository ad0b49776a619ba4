"""Contender files: which keys are valid, and how their environment is set up."""

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from baselines.commands.worker import require_no_page
from baselines.worker.codec import Worker, read_contender
from benchmark.codec import CodecInfo, Setting
from benchmark.errors import Unavailable, UsageError
from benchmark.facts import facts_of
from benchmark.rows.edition import label_of
from benchmark.spec import parse_codec, resolve
from support.bench.command import bench
from support.codecs.copying_worker import HELPER, SCRIPT, contender
from support.files.noise import effect_noise


def test_the_sweep_is_the_class_s_unless_the_contender_file_has_one(worker, tmp_path):
    assert worker.sweep == (Setting("q", 1), Setting("q", 2.5))
    file = contender(tmp_path, setting="'quality'", values="[3, 4]")
    assert Worker(file=str(file)).sweep == (Setting("quality", 3), Setting("quality", 4))


def test_imports_have_their_time_however_short_the_limit_of_an_answer_is(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", os.devnull)
    fields = {
        "timeout_seconds": "0.001",
        "commit": "'abc'",
        "licence": "'MIT'",
        "setting": "'q'",
        "values": "[1]",
    }  # no Python starts so
    file = contender(tmp_path, **fields)
    info = Worker(file=str(file), name="Copy").describe()
    assert dataclasses.replace(info, fingerprint="") == CodecInfo(
        f"Copy abc, Python {platform.python_version()}", f"{sys.executable} copy_worker.py {{q}}",
        "MIT", "", 1, "a call in the worker's process, and pixels or bytes through a pipe",
    )  # fmt: skip
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
    assert interpreter("env/bin/python") == str(tmp_path / "env/bin/python")
    for absent in (".venv/bin/python", "python4.99"):
        with pytest.raises(Unavailable, match=f"Python {absent}, .*worker setup"):
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
    assert bench("worker", "setup", file).returncode == 0
    assert (tmp_path / "code/a_worker.py").read_text() == script
    assert (tmp_path / "code/shared.py").read_text() == "x = 1\n"
    assert not (tmp_path / "code/other.py").exists()
    assert (tmp_path / "code/rdrbench_worker.py").read_text() == HELPER
    (tmp_path / "code/a_worker.py").write_text("mine")
    process = bench("worker", "setup", file)
    assert process.returncode == 2
    assert (tmp_path / "code/a_worker.py").read_text() == "mine"


def test_a_web_page_in_the_place_of_weights_is_refused_and_removed(tmp_path):
    weights = tmp_path / "a.pth"
    weights.write_bytes(b"PK\x03\x04")
    require_no_page(weights, "https://example.org")
    weights.write_bytes(b"\n<!DOCTYPE html><title>Virus scan warning</title>")
    with pytest.raises(UsageError, match=r"example\.org"):
        require_no_page(weights, "https://example.org")
    assert not weights.exists()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name = 'a'", "script"),
        ("name = 3\nscript = 'a'", "name"),
        ("name = 'a'\nscript = 'a'\nspeed = 3", "speed"),
        ("name = 'a'\nscript = 'a'\nfile = 'b'", "file"),
        ("name = 'a'\nscript = 'a'\nvalues = [1]", "setting"),
        ("name = 'a'\nscript = 'a'\nsetting = 'q'\nvalues = ['x']", "values"),
        ("name = 'a'\nscript = 'a'\n[weights]\n'x' = 'url'", "weights"),
        ("name = ", "TOML"),
        ("name = ''\nscript = 'a'", "name"),
        ("name = 'a'\nscript = ''", "script"),
        *(
            (f"name = 'a'\nscript = 'a'\n{key} = {value}", key)
            for key, values in {
                "encode_kmac": ("nan", "inf", "-3"),
                "decode_kmac": ("nan", "1.1e30"),
                "memory_gb": ("nan", "inf", "-5"),
                "timeout_seconds": ("nan", "inf", "0", "-1", "1.1e6"),
                "seconds_per_megapixel": ("nan", "inf", "-1"),
                "parameters": ("-1", "1.5", "9007199254740993", "99999999999999999999"),
            }.items()
            for value in values
        ),
        *(
            (f"name = 'a'\nscript = 'a'\nsetting = 'q'\nvalues = [1, {value}]", "values")
            for value in ("nan", "inf", "-1e300")
        ),
        *(
            (f"name = 'a'\nscript = 'a'\n[weights]\n'{path}' = {{}}", "outside its folder")
            for path in ("../a.pth", "/a.pth", "a/../../b")
        ),
    ],
)
def test_a_contender_file_that_cannot_be_used_is_named_with_its_key(tmp_path, text, key):
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=key) as error:
        read_contender(file)
    assert str(file) in str(error.value)


def test_an_environment_of_another_program_is_started_by_a_command(tmp_path):
    python = "env A='1 2' -C {folder} python3"
    read = read_contender(contender(tmp_path, python=f'"{python}"'))
    words = ["A=1 2", "-C", str(tmp_path), "python3", "copy_worker.py"]
    assert read.command() == [shutil.which("env"), *words]


def test_the_spec_has_the_contender_s_name_and_facts(tmp_path):
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


def test_the_example_is_measured_together_with_jpeg_from_an_environment_with_another_numpy(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert bench("worker", "new", "Toy-1").returncode == 0
    file = Path("results/contenders/Toy_1.toml")
    text = file.read_text().replace('"python3"', '".venv/bin/python"')
    file.write_text(text.replace("gpu = false", 'gpu = false\npackages = ["numpy==2.2.6"]'))
    setup_process = bench("worker", "setup", file)
    if setup_process.returncode and not _package_index():
        pytest.skip("needs a package index for a second numpy")
    assert setup_process.returncode == 0, setup_process.stderr
    script = Path("results/contenders/Toy_1/Toy_1_worker.py")
    script.write_text(
        script.read_text()
        .replace("return Pixels(height, width, ", "return Pixels.from_numpy(numpy.frombuffer(")
        .replace(
            "zlib.decompress(data))", 'zlib.decompress(data), "u1").reshape(height, width, 3))'
        )
        .replace("import zlib", "import zlib\nimport numpy\nassert numpy.__version__ == '2.2.6'")
    )
    checked = bench("worker", "check", file, code=0)
    assert checked.stdout.count(" dB") == 12
    (tmp_path / "photos").mkdir()
    effect_noise((64, 48), 50).convert("RGB").save("photos/a.png")
    codecs = f"worker:{file},jpeg"
    run_process = bench(
        "run", "--codecs", codecs, "--dataset", "photos", "--metrics", "psnr", code=0
    )
    assert "Toy-1" in run_process.stdout


def _package_index() -> bool:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "numpy==2.2.6"]
    return subprocess.run(pip, check=False, capture_output=True).returncode == 0
