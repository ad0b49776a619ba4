"""Measure codecs and metrics on a photograph of 20 megapixels and on one of Kodak's size.

    python tests/speed/large.py --photographs FOLDER [--weights-dir DIR] [--only WORD]

The large one is a mosaic of squares from the photographs in FOLDER and below, at least 384 pixels
a side; the small one is its first 768 x 512. Each codec, at the middle of its sweep, and each
metric, of JPEG at quality 50, runs in a process of its own on one thread: nanoseconds of processor
time for each pixel of both sizes, and the growth of the peak of resident memory with the large one.
Exit code 1 where a metric takes more than 1.5 times as long for each pixel, or a process more than
6 GiB.
"""

import os
import subprocess
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from harness import options, peak_mb, run, timed, verdict  # before torch: it pins the pools
from PIL import Image

from benchmark.codec import Pixels
from benchmark.registry import metric_class
from benchmark.spec import load_codec, parse_codec

SIDE, ROWS, COLUMNS = 384, 10, 14  # of the mosaic: 5,376 x 3,840 pixels
SMALL = (slice(512), slice(768))
CODECS = ("jpeg", "avif", "ours:beta=3.84")
METRICS = ("psnr", "ssim", "ms_ssim", "lpips", "lpips_squeeze")
ROUNDS = (9, 3)  # of the small and of the large photograph
MAX_RATIO, MAX_GIB = 1.5, 6.0


def main() -> None:
    """Make the photograph, then measure each codec and metric."""
    arguments = options(__doc__, photographs="", weights_dir="", only="", image="", what="")
    if arguments.weights_dir:
        os.environ["BENCH_WEIGHTS"] = str(Path(arguments.weights_dir).absolute())
    if arguments.what:
        _measure(arguments.what, np.asarray(Image.open(arguments.image)))
        return
    if not arguments.photographs:
        sys.exit("name a folder of photographs by --photographs")
    with TemporaryDirectory() as folder:
        image = Path(folder, "mosaic.png")
        Image.fromarray(_mosaic(Path(arguments.photographs))).save(image, compress_level=1)
        print("what                   |  small ns |  large ns | ratio | bytes a pixel | GiB")
        for subject in (*CODECS, *METRICS):
            if arguments.only in subject:
                command = [sys.executable, __file__, "--what", subject, "--image", str(image)]
                result = subprocess.run(command, check=True, capture_output=True, text=True)
                _judge(subject, result.stdout)


def _mosaic(photographs: Path) -> Pixels:
    squares: list[Pixels] = []
    for path in sorted(photographs.rglob("*.jpg")):
        with Image.open(path) as image:
            if min(image.size) >= SIDE:
                squares.append(np.asarray(image.convert("RGB"))[:SIDE, :SIDE])
        if len(squares) == ROWS * COLUMNS:
            break
    lines = [np.hstack(squares[row::ROWS]) for row in range(ROWS)]
    return np.vstack(lines)


def _measure(subject: str, large: Pixels) -> None:
    """Print a line for each part of the work: its name, both times, and both memories."""
    small = np.ascontiguousarray(large[SMALL])
    if subject in CODECS:
        codec = load_codec(parse_codec(subject))
        setting = codec.sweep[len(codec.sweep) // 2]
        parts = {"encode": lambda pixels: codec.encode(pixels, setting), "decode": codec.decode}
    else:
        metric = metric_class(subject)("cpu")
        parts = {"prepare": metric.prepare, "compare": lambda pair: metric.compare(*pair)}
    first, second = parts
    _repeated(parts, small, subject, 1)  # loads what is loaded once
    memory_before = peak_mb()
    times = []
    for pixels, rounds in zip((small, large), ROUNDS, strict=True):
        took = _repeated(parts, pixels, subject, rounds)
        times.append([1e9 * seconds / pixels.shape[0] / pixels.shape[1] for seconds in took])
    growth = (peak_mb() - memory_before) * (1 << 20) / large.shape[0] / large.shape[1]
    for part, *timings in zip((first, second), *times, strict=True):
        print(part, *timings, growth, peak_mb() / 1024)


def _repeated(parts: dict[str, Any], pixels: Pixels, subject: str, rounds: int) -> list[float]:
    """Return the minimum seconds of both parts: other work on the machine only adds to them."""
    first, second = parts.values()
    seconds, first_timing, second_input = [], None, None
    for _ in range(rounds):
        del first_timing, second_input  # as a worker forgets what is prepared before the next image
        first_timing = timed(lambda: first(pixels))
        second_input = first_timing.result
        if subject not in CODECS:
            second_input = second_input, _decoded(pixels)
        seconds.append((first_timing.cpu, timed(partial(second, second_input)).cpu))
    return [min(times) for times in zip(*seconds, strict=True)]


def _decoded(pixels: Pixels) -> Pixels:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=50)
    with Image.open(stream) as image:
        return np.asarray(image)


def _judge(subject: str, printed: str) -> None:
    for line in printed.splitlines():
        part, *numbers = line.split()
        small, large, growth, gib = map(float, numbers)
        name, ratio = f"{subject}, {part}", large / small
        print(
            f"{name:22} | {small:9.1f} | {large:9.1f} | {ratio:5.2f} | {growth:13.0f} | {gib:.2f}"
        )
        if subject in METRICS:
            verdict(f"{name}: 20 megapixels / Kodak's size, for each pixel", ratio, MAX_RATIO)
        verdict(f"{name}: peak memory, GiB", gib, MAX_GIB)


if __name__ == "__main__":
    run(main)
