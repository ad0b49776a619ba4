"""Mutated streams of the codecs that own their container: an error in a sentence or a picture each.

They are decoded in a process of their own, as `bench audit decode` does it. A crash, an error that
is not explained, a hang or more than four GiB is a loss. The work that a stream may ask for is
counted in floating-point operations, which no load of the machine changes.
"""

import random
import re
import struct
from pathlib import Path

import pytest

from baselines.compressai import container as compressai_container
from baselines.neural.bitstream import container as crdr_container
from baselines.neural.bitstream.container import varint
from benchmark.codec_spec import CodecSpec, load_codec, parse_codec
from benchmark.errors import CorruptStream
from benchmark.measure.engine.decoders import DecoderProcess
from benchmark.measure.execute import Failed
from support.faults.ledger import mutated, tell
from support.networks.small_hyperprior import write_small_hyperprior
from support.networks.tiny_checkpoint import noise, write_checkpoint

HANG_SECONDS = 600.0  # the slowest stream takes one
MOST_BYTES = 4 << 30
UNEXPLAINED = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit): ")
SIZES = ((40, 56), (70, 90), (1, 1), (33, 7))


def raw(folder: Path) -> CodecSpec:
    return CodecSpec("raw", ())


def ours(folder: Path) -> CodecSpec:
    write_checkpoint(folder / "ours.safetensors")
    return parse_codec(f"ours:beta=2.56:checkpoint={folder / 'ours.safetensors'}")


def compressai(folder: Path) -> CodecSpec:
    return write_small_hyperprior(folder)


def claiming(make, data: bytes, chance: random.Random) -> bytes:
    """Return the payload behind a valid header of another image size."""
    width, height = (chance.choice((1, 64, 700, 3000, 8192, 60_000)) for _ in range(2))
    if make is raw:
        return struct.pack("<HH", width, height) + data[4:]
    if make is compressai:
        other = compressai_container.unpack(data, 2)._replace(width=width, height=height)
        return compressai_container.pack(other)
    # Sides below 128 px are a byte each, behind the first seven.
    return signed(data[:7] + varint(width) + varint(height) + data[9:])


def signed(data: bytes) -> bytes:
    """Correct the container's checksum, so that the decoder reaches what is behind it."""
    return data[:-2] + crdr_container.checksum(data[:-2])


def peak_bytes(process_id: int | None) -> int:
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return 0
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


@pytest.mark.slow
@pytest.mark.parametrize("make", [raw, ours, compressai], ids=lambda make: make.__name__)
def test_a_mutated_stream_is_an_error_in_a_sentence_or_a_picture(make, tmp_path, record_property):
    number = 10_000
    spec = make(tmp_path)
    codec = load_codec(spec)
    settings = [codec.sweep[0], codec.sweep[-1]]
    sound = [codec.encode(noise(*size), at) for size in SIZES for at in settings]
    chance = random.Random(0)
    lost: list[str] = []
    pictures = errors = 0
    decoder = DecoderProcess(spec, "cpu")
    try:
        for at in range(number):
            whole = sound[at % len(sound)]
            if at % 10 == 9:
                stream = claiming(make, whole, chance)
            elif make is ours and at % 2:
                stream = signed(mutated(whole, chance) + b"??")
            else:
                stream = mutated(whole, chance)
            decoder.send(stream)
            if decoder.waits(HANG_SECONDS):
                decoder.stop()
                lost.append(f"hung over {stream[:40].hex()}")
                continue
            outcome = decoder.receive()
            if peak_bytes(decoder.process_id) > MOST_BYTES:
                decoder.stop()
                lost.append(f"took memory over {stream[:40].hex()}")
            elif not isinstance(outcome, Failed):
                pictures += 1
            elif outcome.stage == "worker" or UNEXPLAINED.match(outcome.reason):
                lost.append(f"{outcome.reason} over {stream[:40].hex()}")
            else:
                errors += 1
    finally:
        decoder.end()
    tell(record_property, f"streams of {make.__name__} mutated", number, number, len(lost))
    assert lost == []
    assert pictures + errors == number
    assert errors > number / 4
    whole = noise(*SIZES[0])
    assert codec.decode(codec.encode(whole, settings[-1])).shape == whole.shape


def operations(codec, stream: bytes) -> tuple[int, bool]:
    """Return the floating-point operations of decoding a stream, and whether that ends in an error.

    They are those of convolutions and matrix products, as torch counts them.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        try:
            codec.decode(stream)
        except CorruptStream:
            return counter.get_total_flops(), True
    return counter.get_total_flops(), False


@pytest.mark.parametrize(
    ("make", "most_pixels", "margin"),
    [(ours, crdr_container.most_pixels, 2), (compressai, compressai_container.most_pixels, 1)],
    ids=["ours", "compressai"],
)
def test_the_work_of_a_stream_is_bounded_by_its_length(make, most_pixels, margin, tmp_path):
    codec = load_codec(make(tmp_path))
    side = 256
    whole = codec.encode(noise(side, side), codec.sweep[-1])
    per_pixel = operations(codec, whole)[0] / side**2
    assert per_pixel > 100
    short = codec.encode(noise(40, 56), codec.sweep[0])
    chance = random.Random(1)
    refused = 0
    for _ in range(40):
        stream = claiming(make, short, chance)
        work, error = operations(codec, stream)
        refused += error and not work
        # A side of `ours` is padded to 64 pixels: at most twice the pixels beyond the first 2^22.
        assert work <= 1.1 * per_pixel * margin * most_pixels(len(stream))
    assert refused >= 5  # before any work
