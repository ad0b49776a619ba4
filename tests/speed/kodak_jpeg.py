"""Compare the harness with `compressai.utils.bench`: Kodak x JPEG at five qualities.

    python tests/speed/kodak_jpeg.py [--kodak FOLDER]

Run by hand on two idle cores. The peer's best form has one thread a process; medians of as many
runs of it as of ours are compared, in processor time with all workers and by the wall clock. No
option of ours is other than its default but the number of jobs. Exit code 1 where a target is
missed.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from harness import (
    COLUMNS,
    KODAK,
    POOLS,
    ROUNDS,
    Clocked,
    clock,
    kodak_folder,
    mean,
    middle,
    options,
    run,
    run_bench,
    run_peer,
    verdict,
)

QUALITIES = (10, 30, 50, 70, 90)
JOBS = 2
METRICS = ("psnr", "ms_ssim")
ROUNDING = {"bpp": 1e-9, "psnr-rgb": 1e-4, "ms-ssim-rgb": 1e-5}  # the peer's float32


def main() -> None:
    """Print both runs and their means, then whether the targets are met."""
    chosen = options(__doc__, kodak=str(KODAK), kernels=False)
    kodak = kodak_folder(chosen.kodak)
    if chosen.kernels:
        print(kernel_seconds(kodak))
        return
    points = ",".join(map(str, QUALITIES))
    script = ("compressai.utils.bench", "jpeg", kodak, "-q", points, "-j", str(JOBS))
    words = ("--codecs", "jpeg", "--metrics", ",".join(METRICS), "--jobs", str(JOBS))
    runs = []
    for _ in range(ROUNDS):
        pinned = run_peer(*script, one_thread=True)
        runs.append((pinned, bench(kodak, *words, "--points", f"jpeg.quality={points}")))
    pinned, ours = map(middle, zip(*runs, strict=True))
    # A cell for each worker: start-up and little else.
    few = (*words, "--points", "jpeg.quality=10", "--limit", str(JOBS))
    start = middle([bench(kodak, *few) for _ in range(ROUNDS)])
    single = dict.fromkeys(POOLS, "1")
    measured = clock([sys.executable, __file__, "--kernels", "--kodak", str(kodak)], single)
    kernels = float(measured.result)
    cells = 24 * len(QUALITIES)
    start_up = start.seconds - kernels / cells

    print(
        f"peer     {pinned.seconds:6.2f} s, {pinned.cpu_seconds:.2f} s of CPU, one thread a process"
    )
    print(f"ours     {ours.seconds:6.2f} s, {ours.cpu_seconds:.2f} s of CPU")
    print(f"start-up {start_up:6.2f} s")
    print(f"kernels  {kernels:6.2f} s on one core, {1000 * kernels / cells:.1f} ms a cell")
    print("quality" + "".join(f"{name:>26}" for name in COLUMNS) + "    (peer, ours)")
    worst = 0.0
    for place, quality in enumerate(QUALITIES):
        rows = ours.result.filter(
            [value == quality for value in ours.result["setting_value"].to_list()]
        )
        line = f"{quality:7d}"
        for name, column in COLUMNS.items():
            theirs, own = pinned.result[name][place], mean(rows, column)
            worst = max(worst, abs(theirs - own) / ROUNDING[name])
            line += f"{theirs:13.6f}{own:13.6f}"
        print(line)
    apart = (ours.seconds - start_up) / (kernels / JOBS)
    verdict("ours / peer, processor time", ours.cpu_seconds / pinned.cpu_seconds, 0.2)
    verdict("ours / peer, wall clock", ours.seconds / pinned.seconds, 0.2)
    verdict("start-up apart, ours / (kernels / cores)", apart, 1.3)
    verdict("largest difference of a mean, in roundings of the peer", worst, 1)


def bench(kodak: Path, *words: str) -> Clocked:
    """Return a run into an empty folder."""
    with TemporaryDirectory() as folder:
        return run_bench(kodak, Path(folder), *words)


def kernel_seconds(kodak: Path) -> float:
    """Coding and scoring of all cells one after another in this process, and nothing else."""
    import numpy as np
    from PIL import Image

    from benchmark.codec import Setting
    from benchmark.registry import metric_class
    from benchmark.spec import load_codec, parse_codec

    codec = load_codec(parse_codec("jpeg"))
    metrics = [metric_class(name)("cpu") for name in METRICS]
    seconds = 0.0
    for path in sorted(kodak.glob("*.png")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        started = perf_counter()
        prepared = [metric.prepare(pixels) for metric in metrics]
        for quality in QUALITIES:
            decoded = codec.decode(codec.encode(pixels, Setting("quality", quality)))
            for metric, source in zip(metrics, prepared, strict=True):
                metric.compare(source, decoded)
        seconds += perf_counter() - started
    return seconds


if __name__ == "__main__":
    run(main)
