"""Codecs in environments of their own: processes, their cost, end, answers and fingerprint."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from baselines.worker import rdrbench_worker
from baselines.worker.codec import Worker, _lock_gpu, gpu_environment
from benchmark.codec import CodecInfo, Setting
from benchmark.errors import OutOfDeviceMemory, ProgramFailed, Unavailable, UsageError
from benchmark.facts import facts_of
from benchmark.rows.store import Store
from benchmark.spec import parse_codec
from benchmark.system import conversation
from benchmark.system.atomic import lock
from benchmark.system.settings import Settings
from support.bench.command import bench
from support.codecs.copying_worker import HELPER, SCRIPT, contender, photograph
from support.processes import is_running, until

Q = Setting("q", 1)
COPY_BYTES = 31 * 17 * 3 + 5  # of a picture, its setting and its size


@pytest.fixture
def worker(tmp_path):
    with closing(Worker(file=str(contender(tmp_path)))) as copying_worker:
        yield copying_worker


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
        with pytest.raises(ValueError, match="uint8"):
            rdrbench_worker.Pixels.from_numpy(wrong)
    with pytest.raises(ValueError, match=r"5 bytes .* 1 x 2"):
        rdrbench_worker.Pixels(1, 2, b"12345")


@pytest.mark.parametrize(("value", "prefix_bytes"), [(1, 5), (2.5, 5), (7, 13)])
def test_setting_and_size_are_counted_bytes_of_the_stream(worker, value, prefix_bytes):
    pixels = photograph()
    data = worker.encode(pixels, Setting("q", value))
    assert len(data) == pixels.size + prefix_bytes
    began = monotonic()
    assert np.array_equal(worker.decode(data), pixels)
    assert 0 < worker.inside_seconds <= monotonic() - began


PYTHON_2 = """#!/bin/sh
[ "$1" = -c ] && echo 2 7 && exit
echo '  File "rdrbench_worker.py", line 68' >&2
echo 'SyntaxError: invalid syntax' >&2
exit 1
"""


@pytest.mark.parametrize(("script", "message"), [
    ("import zlib\n\ndef encode(:\n", "copy_worker.py, line 3: SyntaxError"),
    ("import zlib\n\nzlib.nothing\n", "copy_worker.py, line 3: AttributeError"),
    ("import zlib\n", "exit code 0: "),
    (PYTHON_2, "Python 2.7"),
])  # fmt: skip
def test_a_worker_that_cannot_start_says_where_and_why(tmp_path, script, message):
    fields = {"python": "'./python2'"} if script is PYTHON_2 else {}
    file = contender(tmp_path / "copy", script, **fields)
    (file.parent / "python2").write_text(PYTHON_2)
    (file.parent / "python2").chmod(0o755)
    with pytest.raises(Unavailable, match=re.escape(message)):
        Worker(file=str(file)).describe()


def test_a_worker_sends_the_bits_that_its_class_estimates(worker, tmp_path):
    worker.encode(photograph(), Q)
    assert worker.estimated_bits() is None
    estimate = "    def estimated_bits(self): return 12.5\n    def decode"
    script = SCRIPT.replace("    def decode", estimate)
    file = contender(tmp_path, script, parameters="0", encode_kmac="0.5")
    with closing(Worker(file=str(file))) as estimating:
        estimating.encode(photograph(), Q)
        assert estimating.estimated_bits() == 12.5
    assert facts_of(parse_codec(f"worker:{file}")).work == (0, 0.5, None)


def test_on_a_gpu_a_call_is_timed_once_its_work_has_ended(monkeypatch):
    called = []
    cuda = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, max_memory_allocated=lambda: 7,
        synchronize=lambda: called.append("wait"),
        reset_peak_memory_stats=lambda: called.append("reset"),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    result, cost = rdrbench_worker._call_timed(lambda x: 2 * x, 3)
    assert (result, cost["peak_bytes"]) == (6, 7)
    assert called == ["wait", "reset", "wait"]
    assert rdrbench_worker._describe(SimpleNamespace(sweep=[("q", 1)]), [])["device"] == "cuda"
    with pytest.raises(TypeError, match="Pixels"):
        rdrbench_worker._decode(SimpleNamespace(decode=lambda data: data), {}, b"data")


def test_a_failed_picture_is_a_failed_row_and_the_others_are_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = contender(tmp_path / "authors")
    (tmp_path / "photos").mkdir()
    for name, fault in {"a": 255, "b": 1, "c": 200}.items():
        Image.fromarray(photograph(fault)).save(f"photos/{name}.png")
    words = ("--codecs", f"worker:{file}", "--dataset", "photos", "--metrics", "psnr")
    bench("run", *words, "--results", "results", "--jobs", 2, code=1)
    (folder,) = (path.parent for path in Path("results").glob("*/per_image"))
    rows = Store(folder).versions().rows(named=True)
    failed, measured = ([row for row in rows if row["status"] == s] for s in ("failed", "ok"))
    assert {row["image"] for row in failed} == {"b.png"}
    assert all("exit code 3" in row["reason"] for row in failed)
    assert len(measured) == 4
    for row in measured:
        assert 0 < row["encode_inside_seconds"] <= row["encode_seconds"]
        assert row["bpp"] == 8 * COPY_BYTES / (31 * 17)
        assert row["variant"].endswith("name=Copy")


@pytest.mark.parametrize(("needs_gpu", "device"), [(True, "cuda"), (False, "cuda"), (True, "cpu")])
def test_a_worker_has_its_own_gpu(needs_gpu, device, tmp_path, monkeypatch):
    has_own = needs_gpu and device == "cuda"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("baselines.worker.codec.chosen_device", lambda: device)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("/dev/nvidia0"), Path("/dev/nvidia1")]))
    lock_file = os.open(tmp_path / f"rdrbench-gpu-{os.getuid()}-0", os.O_CREAT | os.O_RDWR)
    assert lock(lock_file)
    _lock_gpu.cache_clear()
    assert gpu_environment(needs_gpu) == ({"CUDA_VISIBLE_DEVICES": "1"} if has_own else {})
    locks = [os.stat(tmp_path / name) for name in os.listdir(tmp_path) if name.endswith("-1")]
    assert [stat.st_mode & 0o777 for stat in locks] == [0o600] * has_own
    if Path("/proc/self/fd").exists():
        opened = [os.path.realpath(path) for path in os.scandir("/proc/self/fd")]
        assert sum(str(tmp_path) in path for path in opened) == 1 + has_own
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert gpu_environment(needs_gpu) == {}
    monkeypatch.setattr("baselines.worker.codec.settings", lambda: Settings(f"{device}:0"))
    assert gpu_environment(needs_gpu) == ({"CUDA_VISIBLE_DEVICES": "7"} if has_own else {})
    _lock_gpu.cache_clear()
    os.close(lock_file)


def test_nothing_outlives_a_process_that_is_killed(tmp_path):
    script = SCRIPT.replace("return pixels.data", "return str(os.getpid()).encode()")
    file = contender(tmp_path, script)
    program = f"""import numpy, time
from baselines.worker.codec import Worker
worker = Worker(file={str(file)!r})
data = worker.encode(numpy.full((4, 4, 3), 255, "u1"), worker.sweep[0])
print(data[5:].decode(), flush=True)
time.sleep(60)"""
    user = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    served = int(user.stdout.readline())
    user.send_signal(signal.SIGKILL)
    user.wait()
    user.stdout.close()
    assert until(lambda: not is_running(served))


def test_the_helper_reads_as_python_3_6_and_imports_the_standard_library_alone():
    tree = ast.parse(HELPER, feature_version=(3, 6))
    imported = [node for node in tree.body if isinstance(node, ast.Import)]
    names = {name.name.partition(".")[0] for node in imported for name in node.names}
    assert names <= sys.stdlib_module_names


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.12", "3.13", "3.14"])
def test_other_pythons_serve_it(tmp_path, version):
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    paths = [str(path) for path in installed] or [shutil.which(f"python{version}")]
    if paths[0] is None or subprocess.run([paths[0], "-c", ""], check=False).returncode:
        pytest.skip(f"Python {version} is not here")
    with closing(Worker(file=str(contender(tmp_path, python=f"'{paths[0]}'")))) as codec:
        assert f"Python {version}." in codec.describe().version
        assert len(codec.encode(photograph(), Q)) == COPY_BYTES


def test_the_user_s_environment_reaches_the_worker_and_its_own_variables_win(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTER", "outer")
    joined = "return (os.environ['OUTER'] + os.environ['A']).encode()"
    script = SCRIPT.replace("return pixels.data", joined)
    file = contender(tmp_path, script, environment="{A = 'inner'}")
    with closing(Worker(file=str(file))) as codec:
        assert codec.encode(photograph(), Q)[5:] == b"outerinner"
    assert "A" not in os.environ


@pytest.mark.parametrize(("fault", "reason"), [
    (1, "exit code 3"), (2, "copy_worker.py:11: KeyError: 'no such layer'"),
    (3, r"\d s "), (4, "CUDA out of memory"), (5, "^Copy: TypeError: encode .* str"),
    (7, "^Copy: copy_worker.py:15: x{2000}$"), (8, "SystemExit: gave up"),
])  # fmt: skip
def test_a_fault_is_an_error_with_its_reason_and_the_next_picture_is_coded(worker, fault, reason):
    kind, contender_file = OutOfDeviceMemory if fault == 4 else ProgramFailed, worker._contender
    if fault == 3:  # an answer that never comes is not waited for once the process is there
        worker.encode(photograph(), Q)
        worker._contender = replace(contender_file, timeout_seconds=0.1)
    with pytest.raises(kind, match=reason):
        worker.encode(photograph(fault), Q)
    assert worker._conversation is None or worker._conversation.closed
    worker._contender = contender_file
    assert len(worker.encode(photograph(), Q)) == COPY_BYTES


def test_closing_ends_the_process_of_a_worker_whose_prints_reach_no_stream(worker):
    assert len(worker.encode(photograph(6), Q)) == COPY_BYTES
    conversation = worker._conversation
    assert len(conversation._stderr) <= 2000
    worker.close()
    assert conversation.closed
    worker.describe()
    assert worker._conversation is None
    worker.close()


def test_prints_of_imports_are_no_answer_nor_endless(tmp_path, monkeypatch):
    prints = "os.write(1, b'RDR ' * 15)\nclass Copy"
    file = contender(tmp_path, SCRIPT.replace("class Copy", prints))
    monkeypatch.setattr(conversation, "MAX_PRINTED_BYTES", 60)
    with closing(Worker(file=str(file))) as worker:
        assert len(worker.encode(photograph(), Q)) == COPY_BYTES
    monkeypatch.setattr(conversation, "MAX_PRINTED_BYTES", 59)
    with pytest.raises(ProgramFailed, match="pipe"):
        worker.encode(photograph(), Q)


@pytest.mark.parametrize(("answer", "reason"), [
    ('{"seconds": "x"}', "got `str`"), ('{"seconds": [1]}', "got `array`"),
    ('{"seconds": 10**400}', "out of range"), ('{"estimated_bits": "many"}', "got `str`"),
    ('{"seconds": object()}', "exit code 1"),
])  # fmt: skip
def test_an_answer_of_other_types_is_a_failure_with_its_reason(answer, reason, tmp_path):
    wrong = f"import rdrbench_worker as helper\nhelper._encode = lambda *_: ({answer}, b'data')\n"
    wrong += f"with open({str(tmp_path / 'starts')!r}, 'a') as file:\n    file.write('+')\n"
    with closing(Worker(file=str(contender(tmp_path, f"{wrong}{SCRIPT}")))) as codec:
        for _ in range(2):
            with pytest.raises(ProgramFailed, match=reason):
                codec.encode(photograph(), Q)
    assert (tmp_path / "starts").read_text() == "++"  # what failed is started again


@pytest.mark.parametrize(("changed", "reason"), [
    ("{}", "missing required field"), ("{**about, 'python': None}", "got `null`"),
    ("{**about, 'sweep': [['q']]}", "length 2"), ("{**about, 'sweep': 'hello'}", "got `str`"),
    ("{**about, 'sweep': [['q', '8']]}", "got `str`"),
    ("{**about, 'sweep': [['q', float('nan')]]}", "NaN"),
    ("{**about, 'sweep': [['q', 1e300]]}", "sweep"), ("{**about, 'sweep': [['', 1.0]]}", "sweep"),
    ("{**about, 'device': 'tpu'}", "'tpu'"), ("{**about, 'weights': [1]}", "got `array`"),
    ("{**about, 'protocol': 1}", "rdrbench_worker.py"), ("{**about, 'sweep': []}", "sweep"),
])  # fmt: skip
def test_a_description_of_other_types_is_a_sentence_before_the_run(changed, reason, tmp_path):
    wrong = "import rdrbench_worker as helper\ndescribe = helper._describe\n"
    wrong += f"helper._describe = lambda *words: (lambda about: {changed})(describe(*words))\n"
    with pytest.raises((Unavailable, UsageError), match=reason):
        Worker(file=str(contender(tmp_path, f"{wrong}{SCRIPT}"))).describe()


@pytest.mark.parametrize(("answer", "body", "message"), [
    ({"height": 2, "width": 2}, b"123", "3 .* 2 x 2"), ({}, b"", "0 .* 0 x 0"),
    ({"height": -1, "width": -1}, b"123", "3 .* -1 x -1"),
])  # fmt: skip
def test_a_decoded_picture_of_another_size_is_a_failure(answer, body, message, worker, monkeypatch):
    monkeypatch.setattr(worker, "_conversation", SimpleNamespace(closed=False, close=bool))
    worker._conversation.ask = lambda *_: (answer, body)
    with pytest.raises(ProgramFailed, match=f"Copy decoded {message}$"):
        worker.decode(b"data")


# Answers a request with the bytes filled in, in a single write, so that they arrive together.
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
    "answer(number, b'1') + answer(number, b'2')": "before",
    "answer(number, b'1') + answer(number + 1, b'2')": "before",
    "answer(1, b'1')": "rdrbench_worker.py",
    "answer(number, b'1') + b'x' * (number == 1)": "before", "answer(None)": "rdrbench_worker.py",
    "answer(0, text='{}')": "rdrbench_worker.py",
    "answer(0, text='[' * 200_000 + ']' * 200_000)": r"pipe \(",
}  # fmt: skip


@pytest.mark.parametrize("answers", CONFUSED)
def test_an_answer_to_another_question_is_refused(answers, tmp_path):
    with closing(Worker(file=str(contender(tmp_path, RAW.format(answers))))) as codec:
        with pytest.raises(ProgramFailed, match=CONFUSED[answers]):
            assert [codec.encode(photograph(), Q) for _ in range(3)] == [b"1"] * 3
        assert codec._conversation.closed


def fingerprint(file: Path) -> str:
    return Worker(file=str(file)).describe().fingerprint


def test_what_decides_the_streams_is_in_the_fingerprint_and_nothing_else(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"weights")
    file = contender(tmp_path, weights="{'a.pth' = {}}")
    assert Worker(file=str(file))._description.code.keys() == {"__main__", "rdrbench_worker"}
    first = fingerprint(file)
    (tmp_path / "notes.py").write_text("# not imported")
    assert fingerprint(file) == first
    (tmp_path / "a.pth").write_bytes(b"other weights")
    second = fingerprint(file)
    (tmp_path / "copy_worker.py").write_text(SCRIPT + "\n# changed")
    assert len({first, second, fingerprint(file)}) == 3


def test_packages_and_where_and_with_what_it_runs_are_in_the_fingerprint(tmp_path, monkeypatch):
    about = Worker(file=str(contender(tmp_path, python=f"'{sys.executable}'")))._description
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

    def of_packages(*packages: str, code: Mapping[str, str] = about.code) -> str:
        codec = Worker(file=str(contender(tmp_path)))
        codec.__dict__["_description"] = replace(about, packages=packages, code=code)
        return codec.describe().fingerprint

    first = of_packages("torch==1")
    assert len({first, of_packages("torch==2"), of_packages()}) == 3
    in_another_order = dict(reversed(about.code.items()))
    assert [*in_another_order] != [*about.code]
    assert of_packages("torch==1", code=in_another_order) == first
    working_set = [SimpleNamespace(project_name=name, version="1") for name in "ba"]
    monkeypatch.setitem(sys.modules, "pkg_resources", SimpleNamespace(working_set=working_set))
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)  # as before Python 3.8
    assert rdrbench_worker._packages() == ["a==1", "b==1"]


def test_files_that_the_script_opens_are_recorded_once_and_decide(tmp_path):
    opens = "[open(each).read() for each in ('w.bin', '/etc/passwd', 'copy_worker.py')]; "
    opens += "open('made', 'w').write('1'); open('made').read(); fault = p"
    (tmp_path / "w.bin").write_text("4")
    file = contender(tmp_path, SCRIPT.replace("fault = p", opens))

    def encode() -> None:
        with closing(Worker(file=str(file))) as codec:
            for _ in range(2):
                codec.encode(photograph(), Q)

    first = fingerprint(file)
    encode()
    record = tmp_path / "copy.opened.sha256"
    record_before = record.read_text()
    assert [line.split()[1] for line in record_before.splitlines()] == ["w.bin"]
    checked = subprocess.run(["sha256sum", "--check", record.name], cwd=tmp_path, check=False)
    assert checked.returncode == 0
    assert fingerprint(file) == first
    (tmp_path / "w.bin").write_text("5")
    second = fingerprint(file)
    encode()
    assert second == fingerprint(file) != first
    assert record.read_text() == record_before
    record.write_text(f"{record_before}{'0' * 64}  w.bin\n")  # written later by another process
    assert fingerprint(file) == second
    (tmp_path / "w.bin").unlink()
    assert fingerprint(file) not in (first, second)
    (tmp_path / "w.bin").write_text("4")
    assert fingerprint(file) == first


def test_the_version_says_that_opened_files_cannot_be_recorded(tmp_path, monkeypatch):
    worker = Worker(file=str(contender(tmp_path)))
    assert "opened" not in worker.describe().version
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "opened" in worker.describe().version


def test_missing_or_changed_weights_are_refused_unless_they_are_random(tmp_path):
    def described(**fields: str) -> CodecInfo:
        return Worker(file=str(contender(tmp_path, **fields))).describe()

    wrong = "{'a.pth' = {sha256 = '00'}}"
    with pytest.raises(Unavailable, match=r"a\.pth "):
        described(weights=wrong)
    (tmp_path / "a.pth").write_bytes(b"weights")
    with pytest.raises(Unavailable, match=r"a\.pth .*sha256"):
        described(weights=wrong)
    described(weights=f"{{'a.pth' = {{sha256 = '{sha256(b'weights').hexdigest()[:12]}'}}}}")
    with pytest.raises(Unavailable, match=r"b\.pth "):
        described(weights="{'b.pth' = {}}")
    random = described(weights=wrong, environment="{BENCH_RANDOM_WEIGHTS = '1'}")
    assert random.caveat == "random weights"
    assert not described(tried="'random weights'").caveat
