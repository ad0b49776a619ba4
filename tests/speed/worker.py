"""Overhead of a worker: seconds of a call beyond those inside, and beyond copying its bytes.

    python tests/speed/worker.py [--calls 60]

The null worker returns its input; `copying` moves the same bytes through two pipes to `cat`. Exit
code 1 where the target is missed.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from harness import options, run, verdict

from baselines.worker import rdrbench_worker
from baselines.worker.codec import Worker
from benchmark.codec import Setting

MOST_SECONDS = 0.005
SCRIPT = """
from rdrbench_worker import Pixels, serve
class Null:
    sweep = [("q", 1)]
    decoder_needs = ("size",)
    def encode(self, pixels, setting): return pixels.data
    def decode(self, data, size): return Pixels(size[0], size[1], data)
serve(Null)
"""


def copying(data: bytes, calls: int) -> float:
    """Return the median seconds to send the bytes to another process and receive them."""
    frame = len(data)
    echo = (
        "import sys\n"
        f"while data := sys.stdin.buffer.read({frame}):\n"
        "    sys.stdout.buffer.write(data); sys.stdout.buffer.flush()\n"
    )
    seconds = []
    with subprocess.Popen(
        [sys.executable, "-c", echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        for _ in range(calls):
            started = perf_counter()
            process.stdin.write(data)
            process.stdin.flush()
            process.stdout.read(frame)
            seconds.append(perf_counter() - started)
        process.stdin.close()
    return median(seconds)


def main() -> None:
    """Print medians and the verdict."""
    calls = options(__doc__, calls=60).calls
    pixels = np.random.default_rng(0).integers(0, 256, (512, 768, 3), np.uint8)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rdrbench_worker.py").write_bytes(Path(rdrbench_worker.__file__).read_bytes())
        (folder / "null.py").write_text(SCRIPT)
        file = folder / "null.toml"
        file.write_text(f"name = 'null'\nscript = 'null.py'\npython = '{sys.executable}'\n")
        encoder, decoder = Worker(file=str(file)), Worker(file=str(file))
        beyond = []
        for _ in range(calls):
            started = perf_counter()
            data = encoder.encode(pixels, Setting("q", 1))
            inside = encoder.inside_seconds
            decoded = decoder.decode(data)
            inside += decoder.inside_seconds
            beyond.append(perf_counter() - started - inside)
            assert np.array_equal(decoded, pixels)
        encoder.close()
        decoder.close()
    # Encoder and decoder each send and receive the picture once.
    copied = 2 * copying(pixels.tobytes(), calls)
    overhead = median(beyond) - copied
    print(f"768 x 512, encode and decode: {1000 * median(beyond):.2f} ms beyond the inside seconds")
    print(f"copying: {1000 * copied:.2f} ms; overhead: {1000 * overhead:.2f} ms an image")
    verdict("overhead of an image, ms", 1000 * overhead, 1000 * MOST_SECONDS)


if __name__ == "__main__":
    run(main)
