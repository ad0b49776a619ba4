"""Compare the harness with `compressai.utils.bench`: Kodak x JPEG at five qualities.

    python tests/speed/kodak_jpeg.py [folder of Kodak's 24 images]

Run by hand on two idle cores. Of our runs the best of three counts, of the peer's the only one.
Exit code 1 where a target is missed.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from harness import POOLS, Clocked, clock, kodak_folder, mean, run_bench, run_peer, verdict

QUALITIES = (10, 30, 50, 70, 90)
JOBS = 2
METRICS = ("psnr", "ms_ssim")
COLUMNS = {"bpp": "bpp", "psnr-rgb": "psnr_db", "ms-ssim-rgb": "ms_ssim"}
ROUNDING = {"bpp": 1e-9, "psnr-rgb": 1e-4, "ms-ssim-rgb": 1e-5}  # the peer's float32
ONLY_KERNELS = "--kernels"


def main() -> int:
    """Print both runs and their means, then whether the targets are met."""
    kodak = kodak_folder(sys.argv[1:])
    points = ",".join(map(str, QUALITIES))
    script = ("compressai.utils.bench", "jpeg", kodak, "-q", points, "-j", str(JOBS))
    peer = run_peer(*script)
    pinned = run_peer(*script, one_thread=True)
    options = ("--codecs", "jpeg", "--metrics", ",".join(METRICS), "--jobs", str(JOBS))
    ours = best_of_three(kodak, *options, "--points", f"jpeg.quality={points}")
    # A cell for each worker: start-up and little else.
    start = best_of_three(kodak, *options, "--points", "jpeg.quality=10", "--limit", str(JOBS))
    single = dict.fromkeys(POOLS, "1")
    measured = clock([sys.executable, __file__, ONLY_KERNELS, str(kodak)], single)
    kernels = float(measured.result)
    cells = 24 * len(QUALITIES)
    start_up = start.seconds - kernels / cells

    print(f"peer     {peer.seconds:6.2f} s, {peer.cpu_seconds:.2f} s of CPU")
    print(
        f"pinned   {pinned.seconds:6.2f} s, {pinned.cpu_seconds:.2f} s of CPU, one thread a process"
    )
    print(f"ours     {ours.seconds:6.2f} s")
    print(f"start-up {start_up:6.2f} s")
    print(f"kernels  {kernels:6.2f} s on one core, {1000 * kernels / cells:.1f} ms a cell")
    print("quality" + "".join(f"{name:>26}" for name in COLUMNS) + "    (peer, ours)")
    worst = 0.0
    for place, quality in enumerate(QUALITIES):
        rows = ours.result.filter(
            [value == quality for value in ours.result["setting_value"].to_pylist()]
        )
        line = f"{quality:7d}"
        for name, column in COLUMNS.items():
            theirs, own = peer.result[name][place], mean(rows, column)
            worst = max(worst, abs(theirs - own) / ROUNDING[name])
            line += f"{theirs:13.6f}{own:13.6f}"
        print(line)
    print(f"ours / pinned peer: {ours.seconds / pinned.seconds:.3f}")
    met = (
        verdict("ours / peer, start-up included", ours.seconds / peer.seconds, 1 / 4),
        verdict(
            "start-up apart, ours / (kernels / cores)",
            (ours.seconds - start_up) / (kernels / JOBS),
            1.3,
        ),
        verdict("largest difference of a mean, in roundings of the peer", worst, 1),
    )
    return 0 if all(met) else 1


def best_of_three(kodak: Path, *options: str) -> Clocked:
    """Return the fastest of three runs, each into an empty folder."""
    runs = []
    for _ in range(3):
        with TemporaryDirectory() as folder:
            runs.append(run_bench(kodak, Path(folder), *options))
    return min(runs, key=lambda run: run.seconds)


def kernel_seconds(kodak: Path) -> float:
    """Coding and scoring of all cells one after another in this process, and nothing else."""
    import numpy as np
    from PIL import Image

    from benchmark.codec import Setting
    from benchmark.codec_spec import load_codec, parse_codec
    from benchmark.registry import metric_class

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
    if sys.argv[1:2] == [ONLY_KERNELS]:
        print(kernel_seconds(Path(sys.argv[2])))
    else:
        sys.exit(main())
