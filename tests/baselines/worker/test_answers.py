"""Answers of a worker: faults, wrong types, answers to other questions, prints."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from baselines.worker.codec import Worker
from benchmark.codec import Setting
from benchmark.errors import OutOfDeviceMemory, ProgramFailed, Unavailable, UsageError
from benchmark.system import conversation
from support.codecs.copying_worker import SCRIPT, contender, photograph

FAULTS = {
    1: (ProgramFailed, "exit code 3"),
    2: (ProgramFailed, "copy_worker.py:11: KeyError: 'no such layer'"),
    3: (ProgramFailed, "without an answer"),
    4: (OutOfDeviceMemory, "CUDA out of memory"),
    5: (ProgramFailed, "^Copy: TypeError: encode returned str"),
    7: (ProgramFailed, "^Copy: copy_worker.py:15: x{2000}$"),
    8: (ProgramFailed, "SystemExit: gave up"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_error_with_its_reason_and_the_next_picture_is_coded(worker, fault):
    kind, reason = FAULTS[fault]
    contender_file = worker._contender
    if fault == 3:  # an answer that never comes is not waited for once the process is there
        worker.encode(photograph(), Setting("q", 1))
        worker._contender = replace(contender_file, timeout_seconds=0.1)
    with pytest.raises(kind, match=reason):
        worker.encode(photograph(fault), Setting("q", 1))
    assert worker._conversation is None or worker._conversation.closed
    worker._contender = contender_file
    assert len(worker.encode(photograph(), Setting("q", 1))) == 31 * 17 * 3 + 5


def test_a_hundred_megabytes_of_prints_reach_neither_stream_nor_memory(worker):
    assert len(worker.encode(photograph(6), Setting("q", 1))) == 31 * 17 * 3 + 5
    assert len(worker._conversation._stderr) <= 2000


@pytest.mark.parametrize(("max_bytes", "times"), [(60, 15), (59, 15)])
def test_what_imports_print_is_not_an_answer_and_too_much_of_it_an_error(
    tmp_path, monkeypatch, max_bytes, times
):
    monkeypatch.setattr(conversation, "MAX_PRINTED_BYTES", max_bytes)
    prints = f"os.write(1, b'RDR ' * {times})\nclass Copy"
    worker = Worker(file=str(contender(tmp_path, SCRIPT.replace("class Copy", prints))))
    try:
        if 4 * times <= max_bytes:
            assert len(worker.encode(photograph(), Setting("q", 1))) == 31 * 17 * 3 + 5
        else:
            with pytest.raises(ProgramFailed, match="than an answer"):
                worker.encode(photograph(), Setting("q", 1))
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"seconds": "x"}', "got `str`"),
        ('{"seconds": [1]}', "got `array`"),
        ('{"seconds": 10**400}', "out of range"),
        ('{"estimated_bits": "many"}', "got `str`"),
        ('{"seconds": object()}', "exit code 1"),
    ],
)
def test_an_answer_of_other_types_is_a_failure_with_its_reason(answer, reason, tmp_path):
    wrong = f"import rdrbench_worker as helper\nhelper._encode = lambda *_: ({answer}, b'data')\n"
    wrong += f"with open({str(tmp_path / 'starts')!r}, 'a') as file:\n    file.write('+')\n"
    codec = Worker(file=str(contender(tmp_path, f"{wrong}{SCRIPT}")))
    for _ in range(2):
        with pytest.raises(ProgramFailed, match=reason):
            codec.encode(photograph(), Setting("q", 1))
    codec.close()
    assert (tmp_path / "starts").read_text() == "++"  # what failed is started again


@pytest.mark.parametrize(
    ("changed", "reason"),
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
        ("{**about, 'protocol': 1}", "another version of rdrb"),
        ("{**about, 'sweep': []}", "empty sweep"),
    ],
)
def test_a_description_of_other_types_is_a_sentence_before_the_run(changed, reason, tmp_path):
    wrong = (
        "import rdrbench_worker as helper\n"
        "describe = helper._describe\n"
        "def edited(*arguments):\n"
        "    about = describe(*arguments)\n"
        f"    return {changed}\n"
        "helper._describe = edited\n"
    )
    with pytest.raises((Unavailable, UsageError), match=reason):
        Worker(file=str(contender(tmp_path, f"{wrong}{SCRIPT}"))).describe()


@pytest.mark.parametrize(
    ("answer", "body", "message"),
    [
        ({"height": 2, "width": 2}, b"123", "3 bytes, not 2 x 2"),
        ({}, b"", "0 bytes, not 0 x 0"),
        ({"height": -1, "width": -1}, b"123", "3 bytes, not -1 x -1"),
    ],
)
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
    "answer(number, b'1') + answer(number, b'2')": "before it received a request",
    "answer(number, b'1') + answer(number + 1, b'2')": "before it received a request",
    "answer(1, b'1')": "a request other than",
    "answer(number, b'1') + b'x' * (number == 1)": "before it received a request",
    "answer(None)": "has an old rdrbench_worker.py: copy",
    "answer(0, text='{}')": "has an old rdrbench_worker.py: copy",
    "answer(0, text='[' * 200_000 + ']' * 200_000)": "something other than an answer",
}


@pytest.mark.parametrize("answers", CONFUSED)
def test_an_answer_to_another_question_is_refused(answers, tmp_path):
    codec = Worker(file=str(contender(tmp_path, RAW.format(answers))))

    def thrice() -> None:
        for _ in range(3):
            assert codec.encode(photograph(), Setting("q", 1)) == b"1"

    with pytest.raises(ProgramFailed, match=CONFUSED[answers]):
        thrice()
    assert codec._conversation.closed
    codec.close()
