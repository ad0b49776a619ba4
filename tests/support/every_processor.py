"""Run tests as on other processors: instruction sets, numbers of threads, a busy machine.

    python tests/support/every_processor.py            every room, over the tests that can differ
    python tests/support/every_processor.py --rooms "avx2; busy" tests/metrics
    python tests/support/every_processor.py --list

A room is a set of environment variables that torch, oneDNN and OpenMP read when they are imported,
so that code paths of processors without AVX2 or AVX-512 run on one that has them; the room `busy`
has two endless loops beside the tests. A room that the processor itself lacks runs with what it
has. Prints a table in Markdown; exit code 1 where a test failed.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ONE, TWO = {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}
ROOMS: Mapping[str, Mapping[str, str]] = {
    "own": ONE,
    "own, 2 threads": TWO,
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", **ONE},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", **ONE},
    "avx2, 2 threads": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", **TWO},
    "avx512_core": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", **TWO},
    "busy": ONE,
}
# Whose numbers come from floating point, or whose outcome from the time that something takes.
DIFFER = (
    *("tests/baselines", "tests/metrics", "tests/contract", "tests/analysis", "tests/check"),
    "tests/faults/strangers/test_streams.py",
)
BUSY_LOOPS = 2


def main(rooms: Sequence[str], tests: Sequence[str]) -> int:
    """Run the tests in each room and print the table; raise `RuntimeError` where none ran."""
    print("| room | environment | passed | failed | skipped |\n|---|---|---|---|---|", flush=True)
    failures = []
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *tests]
    for name in rooms:
        loops = BUSY_LOOPS if name == "busy" else 0
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **ROOMS[name]}, capture_output=True,
                text=True, check=False,
            )  # fmt: skip
        finally:
            for loop in busy:
                loop.kill()
                loop.wait()
        found = re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)
        if done.returncode not in (0, 1) or not found:
            raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-2000:]}")
        count = dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
        count |= {kind: int(number) for number, kind in found}
        room = " ".join(f"{key}={value}" for key, value in ROOMS[name].items())
        failed = count["failed"] + count["error"]
        print(
            f"| {name} | `{room}` | {count['passed']} | {failed} | {count['skipped']} |", flush=True
        )
        ids = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        failures += [f"{name}: {test}" for test in ids]
    print("\n".join(["", *failures]))
    return 1 if failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tests", nargs="*", default=DIFFER, help="for pytest; options after --")
    parser.add_argument("--rooms", default=";".join(ROOMS), help="separated by semicolons")
    parser.add_argument("--list", action="store_true", help="print the rooms and end")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name}: {dict(room)}" for name, room in ROOMS.items()))
        sys.exit(0)
    asked = [name.strip() for name in options.rooms.split(";")]
    unknown = [name for name in asked if name not in ROOMS]
    if unknown:
        parser.error(f"no room {unknown[0]!r}: it is one of {'; '.join(ROOMS)}")
    sys.exit(main(asked, options.tests))
