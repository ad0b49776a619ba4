"""Codecs in environments of their own: real processes, well-behaved and otherwise."""

import ast
import dataclasses
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from baselines.commands.worker import require_no_page
from baselines.worker import rdrbench_worker
from baselines.worker.codec import Worker, _locked_gpu, own_gpu
from baselines.worker.contender import read_contender
from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, OutOfDeviceMemory, ProgramFailed, Unavailable, UsageError
from benchmark.facts import facts_of
from benchmark.rows.store import Store
from benchmark.spec import parse_codec, resolve
from benchmark.system import conversation
from benchmark.system.atomic import lock
from benchmark.system.settings import Settings
from support.bench.command import bench
from support.files.noise import effect_noise
from support.processes import is_running, until

HELPER = files("baselines.worker").joinpath("rdrbench_worker.py").read_text()
# Copies the picture; a first byte of 0 to 9 asks for a fault of the encoder.
SCRIPT = """
import os, sys, time
from rdrbench_worker import Pixels, serve

class Copy:
    sweep = [("q", 1), ("q", 2.5)]
    decoder_needs = ("setting", "size")
    def encode(self, pixels, setting):
        fault = pixels.data[0]
        if fault == 1: os._exit(3)
        if fault == 2: raise KeyError("no such layer")
        if fault == 3: time.sleep(3600)
        if fault == 4: raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        if fault == 5: return "text"
        if fault == 7: raise ValueError("x" * 3000)
        if fault == 6: os.write(1, b"print" * 20_000_000)
        if fault == 8: sys.exit("gave up")
        return pixels.data[:: 1 if setting[1] == 1 else -1]
    def decode(self, data, setting, size):
        assert setting in (("q", 1), ("q", 2.5), ("q", 7.0)), setting
        assert os.path.samestat(os.fstat(0), os.stat(os.devnull)), "requests are the helper's"
        return Pixels(size[0], size[1], data[:: 1 if setting[1] == 1 else -1])

serve(Copy)
"""
FAULTS = {
    1: (ProgramFailed, "exit code 3"),
    2: (ProgramFailed, "copy_worker.py:11: KeyError: 'no such layer'"),
    3: (ProgramFailed, "without an answer"),
    4: (OutOfDeviceMemory, "CUDA out of memory"),
    5: (ProgramFailed, "^Copy: TypeError: encode returned str"),
    7: (ProgramFailed, "^Copy: copy_worker.py:15: x{2000}$"),
    8: (ProgramFailed, "SystemExit: gave up"),
}


def contender(folder: Path, script: str = SCRIPT, **more: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "copy_worker.py").write_text(script)
    (folder / "rdrbench_worker.py").write_text(HELPER)
    keys = {"name": "'Copy'", "script": "'copy_worker.py'", "python": f"'{sys.executable}'", **more}
    (folder / "copy.toml").write_text("".join(f"{key} = {text}\n" for key, text in keys.items()))
    return folder / "copy.toml"


def photograph(fault: int = 255) -> Pixels:
    pixels = np.asarray(effect_noise((31, 17), 50).convert("RGB")).copy()
    pixels[0, 0, 0] = fault
    return pixels


@pytest.fixture
def worker(tmp_path: Path):
    made = Worker(file=str(contender(tmp_path)))
    yield made
    made.close()


def test_pixels_become_arrays_and_tensors_and_come_back_rounded():
    levels = photograph()
    pixels = rdrbench_worker.Pixels.from_numpy(levels)
    assert (pixels.height, pixels.width, pixels.data) == (17, 31, levels.tobytes())
    assert np.array_equal(pixels.numpy(), levels)
    tensor = pixels.torch("cpu")
    assert np.array_equal(tensor.numpy(), np.float32(levels).transpose(2, 0, 1)[None] / 255)
    for near in (tensor, tensor[0], tensor + 0.4 / 255, tensor - 0.4 / 255):
        back = rdrbench_worker.Pixels.from_torch(near)
        assert (back.height, back.width, back.data) == (17, 31, levels.tobytes())
    ends = {end: rdrbench_worker.Pixels.from_torch(tensor + end) for end in (-2, 2)}
    assert {end: {*picture.data} for end, picture in ends.items()} == {-2: {0}, 2: {255}}
    for wrong in (levels / 255, levels[..., 0], levels[..., :2]):
        with pytest.raises(ValueError, match="not uint8"):
            rdrbench_worker.Pixels.from_numpy(wrong)
    with pytest.raises(ValueError, match="5 bytes are no RGB picture of 1 x 2"):
        rdrbench_worker.Pixels(1, 2, b"12345")


@pytest.mark.parametrize(("value", "beside_bytes"), [(1, 5), (2.5, 5), (7, 13)])
def test_setting_and_size_are_counted_bytes_of_the_stream(worker, value, beside_bytes):
    pixels = photograph()
    data = worker.encode(pixels, Setting("q", value))
    assert len(data) == pixels.size + beside_bytes
    began = monotonic()
    decoded = worker.decode(data)
    assert 0 < worker.inside_seconds <= monotonic() - began
    assert decoded.shape == (17, 31, 3)
    assert np.array_equal(decoded, pixels)


def test_a_picture_of_one_column_comes_back(worker):
    pixels = photograph()[:, :1]
    assert np.array_equal(worker.decode(worker.encode(pixels, Setting("q", 1))), pixels)


def test_a_worker_sends_its_memory_and_the_bits_that_its_class_estimates(worker, tmp_path):
    worker.encode(photograph(), Setting("q", 1))
    assert worker.estimated_bits() is None
    script = SCRIPT.replace(
        "    def decode", "    def estimated_bits(self): return 12.5\n    def decode"
    )
    work = {"parameters": "0", "encode_kmac": "0.5"}
    takes = "bytearray(300_000_000 * (pixels.data[0] == 255)); fault = p"
    file = contender(tmp_path, script.replace("fault = p", takes), **work)
    estimating = Worker(file=str(file))
    try:
        estimating.encode(photograph(), Setting("q", 1))
        assert estimating.estimated_bits() == 12.5
        if Path("/proc/self/clear_refs").exists():
            assert estimating.inside_peak_bytes > 300_000_000 > worker.inside_peak_bytes
            assert estimating.inside_peak_bytes % 1024 == 0
            estimating.encode(photograph(254), Setting("q", 1))
            assert estimating.inside_peak_bytes < 300_000_000, "of the last call alone"
    finally:
        estimating.close()
    assert facts_of(parse_codec(f"worker:{file}")).work == (0, 0.5, None)


def test_on_a_gpu_its_memory_is_measured_once_its_work_has_ended(monkeypatch):
    called = []
    cuda = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, max_memory_allocated=lambda: 7,
        synchronize=lambda: called.append("wait"),
        reset_peak_memory_stats=lambda: called.append("forget"),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    result, cost = rdrbench_worker._timed(lambda x: 2 * x, 3)
    assert (result, cost["peak_bytes"]) == (6, 7)
    assert called == ["wait", "forget", "wait"]
    codec = SimpleNamespace(sweep=[("q", 1)])
    assert rdrbench_worker._description(codec, [])["device"] == "cuda"
    with pytest.raises(TypeError, match="decode returned bytes, not Pixels"):
        rdrbench_worker._decoded(SimpleNamespace(decode=lambda data: data), {}, b"data")


def test_the_sweep_is_the_class_s_unless_the_contender_file_has_one(worker, tmp_path):
    assert worker.sweep == (Setting("q", 1), Setting("q", 2.5))
    file = contender(tmp_path, setting="'quality'", values="[3, 4]")
    assert Worker(file=str(file)).sweep == (Setting("quality", 3), Setting("quality", 4))


def test_imports_have_their_time_however_short_the_limit_of_an_answer_is(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", os.devnull)
    more = {
        "timeout_seconds": "0.001",
        "commit": "'abc'",
        "licence": "'MIT'",
        "setting": "'q'",
        "values": "[1]",
    }  # no Python starts so
    file = contender(tmp_path, **more)
    info = Worker(file=str(file), name="Copy").describe()
    assert dataclasses.replace(info, fingerprint="") == CodecInfo(
        f"Copy abc, Python {platform.python_version()}", f"{sys.executable} copy_worker.py {{q}}",
        "MIT", "", 1, "a call in the worker's process, and pixels or bytes through a pipe",
    )  # fmt: skip
    with pytest.raises(BadOption, match="describes Copy, not Other"):
        Worker(file=str(file), name="Other")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_error_with_its_reason_and_the_next_picture_is_coded(worker, fault):
    kind, reason = FAULTS[fault]
    patient = worker._contender
    if fault == 3:  # an answer that never comes is not waited for once the process is there
        worker.encode(photograph(), Setting("q", 1))
        worker._contender = replace(patient, timeout_seconds=0.1)
    with pytest.raises(kind, match=reason):
        worker.encode(photograph(fault), Setting("q", 1))
    assert worker._conversation is None or worker._conversation.closed
    worker._contender = patient
    assert len(worker.encode(photograph(), Setting("q", 1))) == 31 * 17 * 3 + 5


def test_a_hundred_megabytes_of_prints_reach_neither_stream_nor_memory(worker):
    assert len(worker.encode(photograph(6), Setting("q", 1))) == 31 * 17 * 3 + 5
    assert len(worker._conversation._printed) <= 2000


@pytest.mark.parametrize(("most", "times"), [(60, 15), (59, 15)])
def test_what_imports_print_is_no_answer_and_too_much_of_it_an_error(
    tmp_path, monkeypatch, most, times
):
    monkeypatch.setattr(conversation, "MOST_PRINTED_BYTES", most)
    prints = f"os.write(1, b'RDR ' * {times})\nclass Copy"
    worker = Worker(file=str(contender(tmp_path, SCRIPT.replace("class Copy", prints))))
    try:
        if 4 * times <= most:
            assert len(worker.encode(photograph(), Setting("q", 1))) == 31 * 17 * 3 + 5
        else:
            with pytest.raises(ProgramFailed, match="something else than an answer"):
                worker.encode(photograph(), Setting("q", 1))
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ('{"seconds": "x"}', "got `str`"),
        ('{"seconds": [1]}', "got `array`"),
        ('{"seconds": 10**400}', "out of range"),
        ('{"peak_bytes": True}', "got `bool`"),
        ('{"peak_bytes": 1e30}', "got `float`"),
        ('{"estimated_bits": "many"}', "got `str`"),
        ('{"seconds": object()}', "exit code 1"),
    ],
)
def test_an_answer_of_other_types_is_a_failure_with_its_reason(told, why, tmp_path):
    wrong = f"import rdrbench_worker as helper\nhelper._encoded = lambda *_: ({told}, b'data')\n"
    wrong += f"with open({str(tmp_path / 'starts')!r}, 'a') as file:\n    file.write('+')\n"
    codec = Worker(file=str(contender(tmp_path, f"{wrong}{SCRIPT}")))
    for _ in range(2):
        with pytest.raises(ProgramFailed, match=why):
            codec.encode(photograph(), Setting("q", 1))
    codec.close()
    assert (tmp_path / "starts").read_text() == "++"  # what failed is started again


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ("{}", "missing required field"),
        ("{**about, 'python': None}", "got `null`"),
        ("{**about, 'sweep': [['q']]}", "length 2"),
        ("{**about, 'sweep': 'hello'}", "got `str`"),
        ("{**about, 'sweep': [['q', '8']]}", "got `str`"),
        ("{**about, 'sweep': [['q', float('nan')]]}", "it has NaN"),
        ("{**about, 'sweep': [['q', 1e300]]}", "sweep"),
        ("{**about, 'sweep': [['', 1.0]]}", "sweep"),
        ("{**about, 'device': 'tpu'}", "'tpu'"),
        ("{**about, 'weights': [1]}", "got `array`"),
        ("{**about, 'protocol': 1}", "another version: copy it again"),
        ("{**about, 'sweep': []}", "empty sweep: fill it"),
    ],
)
def test_a_description_of_other_types_is_a_sentence_before_the_run(changed, why, tmp_path):
    wrong = (
        "import rdrbench_worker as helper\n"
        "describe = helper._description\n"
        "def described(*given):\n"
        "    about = describe(*given)\n"
        f"    return {changed}\n"
        "helper._description = described\n"
    )
    with pytest.raises((Unavailable, UsageError), match=why):
        Worker(file=str(contender(tmp_path, f"{wrong}{SCRIPT}"))).describe()


@pytest.mark.parametrize(
    ("told", "body", "what"),
    [
        ({"height": 2, "width": 2}, b"123", "3 bytes, not 2 x 2"),
        ({}, b"", "0 bytes, not 0 x 0"),
        ({"height": -1, "width": -1}, b"123", "3 bytes, not -1 x -1"),
    ],
)
def test_a_decoded_picture_of_another_size_is_a_failure(told, body, what, worker, monkeypatch):
    monkeypatch.setattr(worker, "_conversation", SimpleNamespace(closed=False, close=bool))
    worker._conversation.ask = lambda *_: (told, body)
    with pytest.raises(ProgramFailed, match=f"Copy decoded {what}$"):
        worker.decode(b"data")


# Answers requests in the way that is filled in, in one write, so that nothing of it comes later.
RAW = """
import json, os, struct
HEAD = struct.Struct(">4sIQ")
def take(count):
    data = b""
    while len(data) < count: data += os.read(0, count - len(data))
    return data
def answer(number, body=b"", text=None):
    text = (text or json.dumps({{"number": number}})).encode()
    return HEAD.pack(b"RDRW", len(text), len(body)) + text + body
while True:
    _, length, bytes_of_body = HEAD.unpack(take(HEAD.size))
    number, body = json.loads(take(length).decode())["number"], take(bytes_of_body)
    os.write(1, {})
"""
CONFUSED = {
    "answer(number, b'1') + answer(number, b'2')": "without being asked",
    "answer(number, b'1') + answer(number + 1, b'2')": "without being asked",
    "answer(1, b'1')": "another question",
    "answer(number, b'1') + b'x' * (number == 1)": "without being asked",
    "answer(None)": "older rdrbench_worker.py does: copy",
    "answer(0, text='{}')": "older rdrbench_worker.py does: copy",
    "answer(0, text='[' * 200_000 + ']' * 200_000)": "something else than an answer",
}


@pytest.mark.parametrize("doing", CONFUSED)
def test_an_answer_to_another_question_is_none(doing, tmp_path):
    codec = Worker(file=str(contender(tmp_path, RAW.format(doing))))

    def thrice() -> None:
        for _ in range(3):
            assert codec.encode(photograph(), Setting("q", 1)) == b"1"

    with pytest.raises(ProgramFailed, match=CONFUSED[doing]):
        thrice()
    assert codec._conversation.closed
    codec.close()


def test_a_failed_picture_is_a_failed_row_and_the_others_are_measured(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    file = contender(tmp_path / "authors")
    (tmp_path / "photos").mkdir()
    for name, fault in {"a": 255, "b": 1, "c": 200}.items():
        Image.fromarray(photograph(fault)).save(f"photos/{name}.png")
    done = bench(
        "run", "--codecs", f"worker:{file},raw", "--dataset", "photos", "--metrics", "psnr",
        "--results", "results", "--jobs", 2,
    )  # fmt: skip
    assert done.returncode == 1
    (folder,) = (path.parent for path in Path("results").glob("*/per_image"))
    rows = [row for row in Store(folder).versions().rows(named=True) if row["codec"] == "worker"]
    assert {row["image"] for row in rows if row["status"] == "failed"} == {"b.png"}
    assert all("exit code 3" in row["reason"] for row in rows if row["status"] == "failed")
    measured = [row for row in rows if row["status"] == "ok"]
    assert len(measured) == 4
    for row in measured:
        assert 0 < row["encode_inside_seconds"] <= row["encode_seconds"]
        assert row["bpp"] == 8 * (31 * 17 * 3 + 5) / (31 * 17)
        assert row["variant"].endswith("name=Copy")


def test_what_decides_the_streams_is_in_the_fingerprint_and_nothing_else(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"weights")
    file = contender(tmp_path, weights="{'a.pth' = {}}")

    def fingerprint() -> str:
        return Worker(file=str(file)).describe().fingerprint

    assert Worker(file=str(file))._about.code.keys() == {"__main__", "rdrbench_worker"}
    first = fingerprint()
    (tmp_path / "notes.py").write_text("# not imported")
    assert fingerprint() == first
    (tmp_path / "a.pth").write_bytes(b"other weights")
    second = fingerprint()
    (tmp_path / "copy_worker.py").write_text(SCRIPT + "\n# changed")
    assert len({first, second, fingerprint()}) == 3


def test_installed_packages_are_in_the_fingerprint(tmp_path, monkeypatch):
    about = Worker(file=str(contender(tmp_path)))._about
    installed = {f"{each.metadata['Name']}=={each.version}" for each in distributions()}
    assert [*about.packages] == sorted(installed)
    assert f"numpy=={np.__version__}" in installed

    def fingerprint(*packages: str, code: Mapping[str, str] = about.code) -> str:
        codec = Worker(file=str(contender(tmp_path)))
        codec.__dict__["_about"] = replace(about, packages=packages, code=code)
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


def test_closing_ends_the_process_of_a_worker_and_describing_leaves_none(worker):
    worker.describe()
    assert worker._conversation is None
    worker.encode(photograph(), Setting("q", 1))
    conversation = worker._conversation
    worker.close()
    assert conversation.closed
    assert worker._conversation is None
    worker.close()


@pytest.mark.parametrize(("asked", "device", "given"), [(True, "cuda", 1), (False, "cuda", None),
                                                        (True, "cpu", None)])  # fmt: skip
def test_a_worker_has_a_gpu_that_no_other_process_has(asked, device, given, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("baselines.worker.codec.chosen_device", lambda: device)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("/dev/nvidia0"), Path("/dev/nvidia1")]))
    taken = os.open(tmp_path / f"rdrbench-gpu-{os.getuid()}-0", os.O_CREAT | os.O_RDWR)
    assert lock(taken)
    _locked_gpu.cache_clear()
    assert own_gpu(asked) == ({} if given is None else {"CUDA_VISIBLE_DEVICES": f"{given}"})
    own = [os.stat(tmp_path / name) for name in os.listdir(tmp_path) if name.endswith("-1")]
    assert [stat.st_mode & 0o777 for stat in own] == [0o600] * bool(given)
    if Path("/proc/self/fd").exists():
        opened = [os.path.realpath(path) for path in os.scandir("/proc/self/fd")]
        assert sum(str(tmp_path) in path for path in opened) == 1 + bool(given)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert own_gpu(asked) == {}
    monkeypatch.setattr("baselines.worker.codec.settings", lambda: Settings(f"{device}:0"))
    assert own_gpu(asked) == ({} if given is None else {"CUDA_VISIBLE_DEVICES": "7"})
    _locked_gpu.cache_clear()
    os.close(taken)


def test_an_interpreter_is_of_the_folder_by_its_path_and_of_the_system_by_its_name(tmp_path):
    def interpreter(python: str) -> str:
        return read_contender(contender(tmp_path, python=f"'{python}'")).interpreter()

    for place in ("python3", "env/bin/python"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("#!/bin/false")
        (tmp_path / place).chmod(0o755)
    assert interpreter("python3") == shutil.which("python3")
    assert interpreter("env/bin/python") == str(tmp_path / "env/bin/python")
    for absent in (".venv/bin/python", "python4.99"):
        with pytest.raises(Unavailable, match=f"needs the Python {absent}, .*bench worker setup"):
            interpreter(absent)
    with pytest.raises(UsageError, match=r"none\.toml cannot be read"):
        read_contender(tmp_path / "none.toml")
    file = contender(tmp_path)
    file.write_text(f"{file.read_text()}folder = 'none'\n")
    with pytest.raises(Unavailable, match=r"needs the folder .*bench worker setup"):
        Worker(file=str(file)).describe()


def test_where_and_with_what_it_runs_is_in_the_fingerprint(tmp_path, monkeypatch):
    about = Worker(file=str(contender(tmp_path)))._about
    kinds = {
        "environment": "{SCALE = '1'}", "docker": "'image:1'", "podman": "'image:1'",
        "ssh": "'host'", "conda": "'name'",
    }  # fmt: skip
    made = [Worker(file=str(contender(tmp_path, **{key: text}))) for key, text in kinds.items()]
    made += [Worker(file=str(contender(tmp_path, environment=t))) for t in ("{}", "{SCALE = '2'}")]
    for each in made:
        each.__dict__["_about"] = about
    seen = {each.describe().fingerprint for each in made}
    assert len(seen) == len(made)
    monkeypatch.setenv("BENCH_RANDOM_WEIGHTS", "1")
    assert made[-2].describe().fingerprint not in seen


def test_files_that_the_script_opens_are_recorded_once_and_decide(tmp_path):
    opens = "[open(each).read() for each in ('w.bin', '/etc/passwd', 'copy_worker.py')]; "
    opens += "open('made', 'w').write('1'); open('made').read(); fault = p"
    script = SCRIPT.replace("fault = p", opens)
    (tmp_path / "w.bin").write_text("4")
    file = contender(tmp_path, script)

    def fingerprint() -> str:
        return Worker(file=str(file)).describe().fingerprint

    def encode() -> None:
        codec = Worker(file=str(file))
        codec.encode(photograph(), Setting("q", 1))
        codec.encode(photograph(), Setting("q", 1))
        codec.close()

    first = fingerprint()
    encode()
    record = tmp_path / "copy.opened.sha256"
    before = record.read_text()
    assert [line.split()[1] for line in before.splitlines()] == ["w.bin"]
    assert (
        subprocess.run(["sha256sum", "--check", record.name], cwd=tmp_path, check=False).returncode
        == 0
    )
    assert fingerprint() == first
    (tmp_path / "w.bin").write_text("5")
    second = fingerprint()
    encode()
    assert second == fingerprint() != first
    assert record.read_text() == before
    record.write_text(f"{before}{'0' * 64}  w.bin\n")  # of another process, later
    assert fingerprint() == second
    (tmp_path / "w.bin").unlink()
    assert fingerprint() not in (first, second)
    (tmp_path / "w.bin").write_text("4")
    assert fingerprint() == first


def test_files_that_cannot_be_recorded_are_said_to_be_unseen(tmp_path, monkeypatch):
    worker = Worker(file=str(contender(tmp_path)))
    assert "opened files" not in worker.describe().version
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "opened files not recorded" in worker.describe().version


def test_weights_that_are_absent_or_others_are_refused_before_the_run(tmp_path):
    file = contender(tmp_path, weights="{'a.pth' = {sha256 = '00'}}")
    with pytest.raises(Unavailable, match=r"a\.pth is not there"):
        Worker(file=str(file)).describe()
    (tmp_path / "a.pth").write_bytes(b"weights")
    with pytest.raises(Unavailable, match=r"a\.pth has the sha256"):
        Worker(file=str(file)).describe()
    beginning = sha256(b"weights").hexdigest()[:12]
    Worker(
        file=str(contender(tmp_path, weights=f"{{'a.pth' = {{sha256 = '{beginning}'}}}}"))
    ).describe()
    with pytest.raises(Unavailable, match=r"b\.pth is not there"):
        Worker(file=str(contender(tmp_path, weights="{'b.pth' = {}}"))).describe()


def test_random_weights_need_no_file_and_are_said_with_the_rows(tmp_path):
    file = contender(
        tmp_path, weights="{'a.pth' = {sha256 = '00'}}", environment="{BENCH_RANDOM_WEIGHTS = '1'}"
    )
    assert Worker(file=str(file)).describe().caveat == "random weights"
    assert not Worker(file=str(contender(tmp_path, tried="'random weights'"))).describe().caveat


def test_setup_puts_the_script_beside_the_model_and_keeps_one_that_differs(tmp_path):
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
    refused = bench("worker", "setup", file)
    assert refused.returncode == 2
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
    ("text", "named"),
    [
        ("name = 'a'", "script"),
        ("name = 3\nscript = 'a'", "name"),
        ("name = 'a'\nscript = 'a'\nspeed = 3", "speed"),
        ("name = 'a'\nscript = 'a'\nfile = 'b'", "file"),
        ("name = 'a'\nscript = 'a'\nvalues = [1]", "setting"),
        ("name = 'a'\nscript = 'a'\nsetting = 'q'\nvalues = ['x']", "values"),
        ("name = 'a'\nscript = 'a'\nconda = 'a'\nssh = 'b'", "conda and ssh"),
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
def test_a_contender_file_that_cannot_be_used_is_named_with_its_key(tmp_path, text, named):
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=named) as error:
        read_contender(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("key", "begins"),
    [
        ("ssh", ["ssh", "-o", "BatchMode=yes", "--", "x"]),
        ("conda", ["conda", "run", "--no-capture-output", "-n", "x", "python", "a.py"]),
        ("docker", ["docker", "run", "--rm", "--interactive"]),
        ("podman", ["podman", "run", "--rm", "--interactive"]),
    ],
)
def test_other_environments_are_started_by_their_program(tmp_path, key, begins):
    file = tmp_path / "a.toml"
    file.write_text(f"name = 'a'\nscript = 'a.py'\n{key} = 'x'\nenvironment = {{A = '1 2'}}")
    command = read_contender(file).command()
    assert command[: len(begins)] == begins
    assert key == "conda" or any("A=1 2" in word for word in command)
    file.write_text(f"{file.read_text()}\ngpu = true")
    with_gpu = {*read_contender(file).command()} - {*command}
    assert with_gpu == ({"--gpus", "all"} if key in ("docker", "podman") else set())


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


def test_nothing_outlives_a_process_that_is_killed(tmp_path):
    file = contender(
        tmp_path, SCRIPT.replace("return pixels.data", "return str(os.getpid()).encode()")
    )
    program = (
        "import numpy as np, sys, time\n"
        "from baselines.worker.codec import Worker\n"
        "from benchmark.codec import Setting\n"
        f"worker = Worker(file={str(file)!r})\n"
        "data = worker.encode(np.full((4, 4, 3), 255, np.uint8), Setting('q', 1))\n"
        "print(data[5:].decode(), flush=True)\n"
        "time.sleep(60)\n"
    )
    user = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    served = int(user.stdout.readline())
    user.send_signal(signal.SIGKILL)
    user.wait()
    user.stdout.close()
    assert until(lambda: not is_running(served))


def test_the_helper_reads_as_python_3_6_and_imports_the_standard_library_alone():
    tree = ast.parse(HELPER, feature_version=(3, 6))
    names = {
        name.name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert names <= sys.stdlib_module_names
    assert HELPER.count("\n") <= 230


def test_the_example_is_measured_beside_jpeg_from_an_environment_with_another_numpy(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert bench("worker", "new", "Toy-1").returncode == 0
    file = Path("results/contenders/Toy_1.toml")
    text = file.read_text().replace('"python3"', '".venv/bin/python"')
    file.write_text(text.replace("gpu = false", 'gpu = false\npackages = ["numpy==2.2.6"]'))
    made = bench("worker", "setup", file)
    if made.returncode and not _package_index():
        pytest.skip("needs a package index for a second numpy")
    assert made.returncode == 0, made.stderr
    script = Path("results/contenders/Toy_1/Toy_1_worker.py")
    script.write_text(
        script.read_text()
        .replace("return Pixels(height, width, ", "return Pixels.from_numpy(numpy.frombuffer(")
        .replace(
            "zlib.decompress(data))", 'zlib.decompress(data), "u1").reshape(height, width, 3))'
        )
        .replace("import zlib", "import zlib\nimport numpy\nassert numpy.__version__ == '2.2.6'")
    )
    checked = bench("worker", "check", file)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(" dB") == 12
    (tmp_path / "photos").mkdir()
    effect_noise((64, 48), 50).convert("RGB").save("photos/a.png")
    codecs = f"worker:{file},jpeg"
    done = bench("run", "--codecs", codecs, "--dataset", "photos", "--metrics", "psnr")
    assert done.returncode == 0, done.stderr
    assert "Toy-1" in done.stdout


def _package_index() -> bool:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "numpy==2.2.6"]
    return subprocess.run(pip, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.12", "3.13", "3.14"])
def test_other_pythons_serve_it(tmp_path, version):
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    paths = [str(path) for path in installed] or [shutil.which(f"python{version}")]
    if paths[0] is None or subprocess.run([paths[0], "-c", ""], check=False).returncode:
        pytest.skip(f"Python {version} is not here")
    codec = Worker(file=str(contender(tmp_path, python=f"'{paths[0]}'")))
    assert f"Python {version}." in codec.describe().version
    assert len(codec.encode(photograph(), Setting("q", 1))) == 31 * 17 * 3 + 5
    codec.close()


def test_the_user_s_environment_reaches_the_worker_and_its_own_variables_win(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTER", "outer")
    script = SCRIPT.replace(
        "return pixels.data", "return (os.environ['OUTER'] + os.environ['A']).encode()"
    )
    codec = Worker(file=str(contender(tmp_path, script, environment="{A = 'inner'}")))
    assert codec.encode(photograph(), Setting("q", 1))[5:] == b"outerinner"
    codec.close()
    assert "A" not in os.environ
