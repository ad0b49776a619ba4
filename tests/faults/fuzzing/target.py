"""Parsers under test: by name, what they are given, and what must hold of every input."""

import base64
import random
import re
import resource
import time
import traceback
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

from benchmark.errors import CorruptStream

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "faults" / "corpus"
Parse = Callable[[bytes], int]  # bytes to the number of decoded pixels, 0 where there are none
MEND = 1  # bit of an input's first byte: make the checksums right
MAX_SECONDS = 5.0  # of processor time; what is usual is milliseconds
MAX_SENTENCE_CHARACTERS = 1000
UNEXPLAINED = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit): ")
HEADERS = (
    "crdr_header", "plain_header", "single_header", "level_map", "symbols", "zoo_header", "raw",
    "avif_boxes", "bpg_header", "y4m", "jpeg_segments",
)  # fmt: skip
FILES = ("tar", "pack", "sizes", "card", "photograph", "tiff", "decoded_png")
NETWORKS = (
    "ours", "charm", "elic", "ivr", "hific", "multirealism", "pqmim", "dirac", "hfd", "hyperprior",
)  # fmt: skip
TARGETS = {  # text, so that a process imports only its own
    name.replace("_", "-"): (f"faults.fuzzing.{module}", name)
    for module, names in (("headers", HEADERS), ("files", FILES), ("networks", NETWORKS))
    for name in names
}


class Target(NamedTuple):
    """A parser of bytes that others send.

    An input is one byte and the bytes for the parser. If the byte has the bit `MEND`, checksums and
    names of machine-made checkpoints are made right first, so that changes get past them.
    """

    parse: Parse  # raises one of `refusals`, and nothing else
    mend: Callable[[bytes], bytes] = lambda data: data
    refusals: tuple[type[Exception], ...] = (CorruptStream,)
    max_pixels: int = 0  # that `parse` may return
    max_bytes: int = 256 << 20  # by which one execution may raise the process's peak memory
    max_input_bytes: int = 512  # bytes of an input
    inputs: tuple[bytes, ...] = ()  # made anew, beside those that are kept

    def bytes_of(self, data: bytes) -> bytes:
        return self.mend(data[1:]) if data[:1] and data[0] & MEND else data[1:]


def without_pixels(parse: Callable[[bytes], object]) -> Parse:
    """Return a parser whose answer is no picture."""
    return lambda data: (parse(data), 0)[1]


def load_target(name: str, folder: Path) -> Target:
    """Make a target; files and networks that it needs are written below `folder`."""
    module, function = TARGETS[name]
    return cast(Callable[[Path], Target], getattr(import_module(module), function))(folder)


def stored_inputs(name: str) -> list[bytes]:
    """Return the inputs of a target that are kept, a line each: deflated, in base 85."""
    lines = (CORPUS / f"{name}.txt").read_text().splitlines()
    return [zlib.decompress(base64.b85decode(line)) for line in lines if not line.startswith("# ")]


class Verdict(NamedTuple):
    refused: bool
    finding: str = ""  # what does not hold; empty where everything does


def judge(target: Target, data: bytes, max_seconds: float = MAX_SECONDS) -> Verdict:
    """Parse one input: pixels within bounds, or a refusal in one sentence; time and memory."""
    payload = target.bytes_of(data)
    began, memory = time.process_time(), peak_bytes()
    is_refused, finding = False, ""
    try:
        pixels = target.parse(payload)
        if pixels > target.max_pixels:
            finding = f"it decodes to {pixels} pixels, beyond {target.max_pixels}"
    except target.refusals as error:
        is_refused = True
        finding = _sentence_problem(str(error))
    except Exception as error:  # every kind of it is a finding
        frames = traceback.extract_tb(error.__traceback__)
        project_frames = [
            frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)
        ] or frames
        location = f"{Path(project_frames[-1].filename).name}:{project_frames[-1].lineno}"
        finding = f"{type(error).__name__} at {location}: {error}"
    seconds, growth = time.process_time() - began, peak_bytes() - memory
    if not finding and seconds > max_seconds:
        finding = f"it takes {seconds:.1f} s"
    elif not finding and growth > target.max_bytes:
        finding = f"it takes {growth >> 20} MiB"
    return Verdict(is_refused, finding)


def mutate(data: bytes, chance: random.Random, head: int = 40) -> bytes:
    """Return the data after one to four changes of bits or bytes, half of them in its head."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        end = len(changed) if chance.random() < 0.5 else min(len(changed), head)
        position = chance.randrange(max(end, 1))
        match chance.randrange(7):
            case 0:
                changed[position : position + 1] = bytes([chance.randrange(256)])
            case 1 if changed:
                changed[min(position, len(changed) - 1)] ^= 1 << chance.randrange(8)
            case 2:
                del changed[position : position + chance.randint(1, 9)]
            case 3:
                changed[position:position] = chance.randbytes(chance.randint(1, 9))
            case 4:
                changed[position:position] = changed[: chance.randint(1, 99)]
            case 5:
                changed[position : position + 8] = b"\xff" * 8
            case _:
                del changed[position:]
    return bytes(changed)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _sentence_problem(text: str) -> str:
    if not text.strip():
        return "a refusal without words"
    if "\n" in text.strip() or len(text) > MAX_SENTENCE_CHARACTERS:
        return "a refusal of more than a sentence"
    return "a refusal that is an error's name" if UNEXPLAINED.match(text) else ""
