"""One cell: every fault of a codec becomes a result with a stage and a reason."""

import re
from asyncio import CancelledError

import numpy as np
import pytest

from benchmark.codec import Setting
from benchmark.measure.cells import Failed
from benchmark.measure.execute import Coded, execute
from support.codecs import fakes

STEP = Setting("step", 16)


def run(kind, photo, setting=STEP):
    return execute(kind(), kind(), "photo.png", photo, setting)


def test_an_honest_codec_gives_its_stream_the_decoded_pixels_and_the_seconds_of_each_call(photo):
    coded = run(fakes.Honest, photo, Setting("step", 1))
    assert isinstance(coded, Coded)
    assert np.array_equal(coded.decoded, photo)
    assert coded.num_bytes == len(coded.stream) == photo.size + 6
    coded = execute(fakes.Honest(pause=0.05), fakes.Honest(), "photo.png", photo, STEP)
    assert coded.encode_seconds >= 0.05
    assert coded.decode_seconds > 0


@pytest.mark.parametrize(("kind", "stage", "reason"), [
    (fakes.CrashesOnEncode, "encode", "RuntimeError: no rate control for this image"),
    (fakes.CrashesOnDecode, "decode", "fakes.py, line N, in decode: ValueError: bad stream"),
    (fakes.Shrinks, "verify", "decoded (180, 203, 3), expected (181, 203, 3)"),
    (fakes.ReturnsFloats, "verify", "float64"), (fakes.ReturnsText, "verify", "str"),
    (fakes.ReturnsOpaque, "verify", " Opaque, "),
    (fakes.CountsBadly, "decode", "ValueError: invalid literal"),
    (fakes.ReturnsNothing, "verify", "encode gave no byte"),
    (fakes.Bloats, "verify", "1,930,409 bytes, "),
    (fakes.Remembers, "decode", "AssertionError: this instance never encoded"),
])  # fmt: skip
def test_a_misbehaving_codec_is_a_failure_with_its_reason(kind, stage, reason, photo):
    failed = run(kind, photo)
    assert failed.stage == stage
    assert reason in re.sub(r"line \d+", "line N", failed.reason)


def test_a_stream_of_a_class_of_its_own_and_a_changed_input_are_harmless(photo):
    coded = run(fakes.ReturnsOwnBytes, photo)
    assert type(coded.stream) is bytes
    assert coded.stream == run(fakes.Honest, photo).stream
    original = photo.copy()
    coded = run(fakes.Scribbles, photo, Setting("step", 1))
    assert np.array_equal(photo, original)
    assert np.array_equal(coded.decoded, original)


def test_a_declared_size_has_no_stream_and_no_seconds(coffee):
    assert run(fakes.Told, coffee[1:]).stage == "verify"
    coded = run(fakes.Told, coffee)
    assert (coded.stream, coded.num_bytes, coded.encode_seconds) == (None, 1000, None)


class UnspeakableError(Exception):
    def __str__(self):
        raise self


@pytest.mark.parametrize("error", [
    GeneratorExit, RecursionError, StopIteration, UnspeakableError, SystemExit, CancelledError,
])  # fmt: skip
def test_whatever_an_author_s_code_raises_is_its_result(error):
    class Raises(fakes.Honest):
        def encode(self, pixels, setting):
            raise error

    outcome = run(Raises, np.zeros((8, 8, 3), np.uint8))
    assert isinstance(outcome, Failed)
    assert (outcome.stage, error.__name__ in outcome.reason) == ("encode", True)
