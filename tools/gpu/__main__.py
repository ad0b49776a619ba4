"""The command `tools/on_gpu.sh`: pack the project for a machine with a GPU, and measure there.

`measure` runs eight steps, each in its own process, and writes a line of JSON after each result.
Exit code 1 if a claim does not hold or a measurement failed or was cut off; 2 if none can start.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

from benchmark.datasets.dataset import open_dataset
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.system.machine import commit, machine
from tools.gpu import loads
from tools.gpu.results import FILE, REST, is_good, read_lines, table, write_line

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "compressai", "pytorch-fid", "lpips", "numpy", "constriction")
END_SECONDS = 5.0  # between SIGTERM and SIGKILL of a step
MINUTES = 13.0  # default time limit of all steps


class Step(NamedTuple):
    """Measurements in one process, with a time limit."""

    name: str
    seconds: float  # 0 for the last step, which has the remaining time
    cells: str  # "module:function"; the function makes named measurements for `Conditions`


STEPS = (
    Step("start", 15, "tools.gpu.agreement:start"),
    Step("tests", 75, "tools.gpu.agreement:tests"),
    Step("train", 60, "tools.gpu.training:train"),
    Step("losses", 25, "tools.gpu.training:losses"),
    Step("coding", 65, "tools.gpu.agreement:coding"),
    Step("steps", 45, "tools.gpu.training:steps"),
    Step("metrics", 60, "tools.gpu.agreement:metrics"),
    Step("harness", 0, "tools.gpu.harness:harness"),
)


def measure(
    out: Path, steps: Sequence[Step], device: str, small: bool = False, minutes: float = MINUTES
) -> bool:
    """Run steps within `minutes`; return whether all succeeded and all their claims hold."""
    description = describe(device, small)
    out.mkdir(parents=True, exist_ok=True)
    write_line(out, {"described": description, "date": f"{datetime.now(UTC):%Y-%m-%d}"})
    start_time = monotonic()
    with TemporaryDirectory(prefix="on_gpu-") as scratch:
        for step, deadline in zip(steps, deadlines(steps, minutes), strict=True):
            seconds = None if small else start_time + deadline - monotonic()
            arguments = (step.name, step.cells, out, scratch, device, "small" if small else "")
            write_line(out, {"begun": step.name})
            command = [sys.executable, "-m", "tools.gpu.step", *map(str, arguments)]
            failure = _run_step(command, seconds)
            if failure:
                write_line(out, {"step": step.name, "cell": REST, "failed": failure})
                print(f"{step.name}: {failure}", flush=True)
    return all(map(is_good, read_lines(out)[1]))


def deadlines(steps: Sequence[Step], minutes: float) -> list[float]:
    """Return when each step is cut off, in seconds after the start.

    >>> deadlines(STEPS[:3], 2), deadlines(STEPS[-1:], 13)
    ([15, 90, 120], [780])
    """
    *earlier, _ = accumulate(step.seconds for step in steps)
    return [min(seconds, 60 * minutes) for seconds in (*earlier, 60 * minutes)]


def _run_step(command: Sequence[str], seconds: float | None) -> str:
    if seconds is not None and seconds < 1:
        return "no time was left"
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            code = process.wait(seconds)
            return f"the process exited with code {code}" if code else ""
        except subprocess.TimeoutExpired:
            return f"cut off after {seconds:.0f} s"
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:  # e.g. it waits for a GPU forever
                process.kill()


def describe(device: str, small: bool) -> dict[str, Any]:
    """Describe GPU, machine, versions and images; raises `Unavailable` for "cuda" without a GPU."""
    gpu = "a CPU in place of a GPU"
    if device == "cuda":
        query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
        try:
            query_output = subprocess.run(query, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = "there is no GPU: try out the measurements with --device cpu --small"
            raise Unavailable(reason) from error
        gpu = query_output.stdout.strip()
    try:
        images = "sample" if small else str(open_dataset("kodak").name)
    except Unavailable:
        images = "sample"
    commit_file = ROOT / loads.COMMIT
    return {
        "device": gpu,
        "machine": machine(),
        "versions": {name: version(name) for name in PACKAGES if any(distributions(name=name))},
        "commit": commit_file.read_text() if commit_file.exists() else commit() or "unknown",
        "images": f"{images}, one crop" if small else images,
    }


def main(command_line: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    names = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(prog="tools/on_gpu.sh", description=(__doc__ or "").strip())
    verbs = parser.add_subparsers(dest="verb", required=True)
    pack_parser = verbs.add_parser("pack", help="make archives for a machine without a network")
    pack_parser.add_argument("folder", type=Path)
    table_parser = verbs.add_parser("table", help="print tables of results and bars")
    table_parser.add_argument("folder", type=Path, help="folder given to measure as --out")
    measure_parser = verbs.add_parser("measure", help="measure in steps with time limits")
    measure_parser.add_argument("--out", type=Path, required=True, help=f"folder for {FILE}")
    measure_parser.add_argument(
        "--from", choices=names, default=names[0], dest="first_step", metavar="STEP"
    )
    measure_parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    measure_parser.add_argument("--small", action="store_true", help="only one crop, tiny networks")
    measure_parser.add_argument("--minutes", type=float, default=MINUTES, help="time limit")
    arguments = parser.parse_args(command_line)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step's process ends, too
    try:
        if arguments.verb == "pack":
            loads.pack(arguments.folder)
            return 0
        if arguments.verb == "measure":
            if arguments.small and arguments.device != "cpu":
                raise UsageError("--small is only for trials on a CPU: add --device cpu")
            steps = STEPS[names.index(arguments.first_step) :]
            is_success = measure(
                arguments.out.resolve(), steps, arguments.device, arguments.small, arguments.minutes
            )
            return 0 if is_success else 1
        print(*table(arguments.folder), sep="\n")
    except BenchError as error:
        print(f"on_gpu: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
