"""Measure the load of the cores and the memory of `bench run` on this machine.

    python tests/speed/local_engine.py [--kodak FOLDER] [--settings 5]

Run by hand on two idle cores. Kodak x WebP and AVIF at five settings, 240 cells, some 80 s; 36
settings take ten minutes. The processes are looked at every .2 s, their memory, which takes longer
to read, every 2 s. Exit code 1 where a
target is missed: 97 % of the cores between the first row and the last, and no more memory in the
last quarter of that than 1.1 times that of the second.
"""

import os
import subprocess
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import NamedTuple

import numpy as np
from harness import BENCH, KODAK, kodak_folder, options, run, verdict

from benchmark.system.machine import cores

LOOK_SECONDS = 0.2
LOOKS = 10  # of which memory is read in one
TICKS = os.sysconf("SC_CLK_TCK")
RANGES = {"webp.quality": (10, 90), "avif.crf": (55, 15)}


class Sample(NamedTuple):
    """Time and memory of all processes of a run at one moment."""

    at: float
    cpu_seconds: float
    memory_mb: float  # shared pages divided among those who share them; 0: not looked at


def main() -> None:
    """Run, and print load and memory."""
    chosen = options(__doc__, kodak=str(KODAK), settings=5)
    with TemporaryDirectory() as folder:
        samples = watch(kodak_folder(chosen.kodak), Path(folder), chosen.settings)
    begun = next(
        n for n, one in enumerate(samples) if one.cpu_seconds > samples[-1].cpu_seconds / 20
    )
    # The seconds of workers that end are gone with them where nobody waits for their sum
    first, last = samples[begun], max(samples, key=lambda sample: sample.cpu_seconds)
    busy = (last.cpu_seconds - first.cpu_seconds) / (last.at - first.at) / cores()
    quarter = max((len(samples) - begun) // 4, 1)
    early = max(sample.memory_mb for sample in samples[begun + quarter : begun + 2 * quarter])
    late = max(sample.memory_mb for sample in samples[-quarter:])
    print(f"{len(samples)} samples in {samples[-1].at - samples[0].at:.1f} s, {cores()} cores")
    print(f"busy   {100 * busy:.0f} % of the cores")
    print(f"memory {early:.0f} MB at most in the second quarter, {late:.0f} MB in the last")
    verdict("idle share of the cores", 1 - busy, 0.03)
    verdict("growth", late / early, 1.1)


def watch(kodak: Path, results: Path, settings: int) -> list[Sample]:
    """Sample `bench run` from its start to its end. settings: of each codec.

    The seconds of programs that ended count with the process that waited for them.
    """
    words = ["run", "--codecs", "webp,avif", "--metrics", "psnr,ms_ssim", "--no-table"]
    points = []
    for name, ends in RANGES.items():
        values = ",".join(map(str, np.linspace(*ends, settings).round().astype(int)))
        points += ["--points", f"{name}={values}"]
    place = ["--dataset", str(kodak), "--results", str(results)]
    running = subprocess.Popen(
        [BENCH, *words, *points, *place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ended = threading.Event()
    threading.Thread(target=lambda: (running.wait(), ended.set()), daemon=True).start()
    samples: list[Sample] = []
    while not ended.is_set():
        memory = seconds = 0.0
        for process in family(running.pid):
            try:
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                seconds += sum(map(int, fields[11:15])) / TICKS
                if len(samples) % LOOKS == 0:
                    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
                    lines = (line.split() for line in rollup.splitlines())
                    memory += next(int(words[1]) for words in lines if words[0] == "Pss:") / 1024
            except OSError:  # it has ended since
                continue
        samples.append(Sample(perf_counter(), seconds, memory))
        sleep(LOOK_SECONDS)
    return samples


def family(process: int) -> list[int]:
    """Return a process and all its descendants."""
    result = [process]
    for one in result:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                result += map(int, children.read_text().split())
            except OSError:
                continue
    return result


if __name__ == "__main__":
    run(main)
