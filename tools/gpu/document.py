"""The page about GPUs, `docs/gpu.md`, from the records of the parts; none are needed.

python -m tools.gpu.document > docs/gpu.md    the page of today, where no GPU was measured
"""

# ruff: noqa: E501 - lines of the page

import sys
from collections.abc import Mapping
from types import ModuleType

from benchmark.system.text import counted
from tools.gpu import coding, exchange, frechet, metrics, seconds, suite, training, workers
from tools.gpu.part import broken
from tools.gpu.record import Record

# In the order in which they are run and shown.
PARTS: Mapping[str, ModuleType] = {
    "suite": suite,
    "coding": coding,
    "metrics": metrics,
    "exchange": exchange,
    "seconds": seconds,
    "frechet": frechet,
    "training": training,
    "workers": workers,
}

HEAD = """# On a GPU

`tools/on_gpu.sh` writes this page; a change by hand is lost with its next run.
"""
NONE = """
**No GPU has been measured.** None was at hand. On a machine with CUDA, one command measures the parts
below and writes their numbers here.
"""
ON_CPU = """
**A CPU was measured in place of a GPU**, to try the parts themselves. Nothing here is about a GPU.
"""
HOW = """
## How to measure

```sh
tools/on_gpu.sh                        # all parts, at most 25 minutes; sets up .venv where there is none
tools/on_gpu.sh --only coding,metrics  # these parts
tools/on_gpu.sh --list                 # the parts, and what each of them shows
tools/on_gpu.sh --device cpu --small --out try   # the parts themselves, in a minute or two, without a GPU
```

Each part is a process of its own, which begins no new measurement after some minutes and is ended after nine. The same command
measures what is missing; `--again` measures everything anew. Records are in `.work/gpu` (`--out`), one json file for each part
with numbers, versions, device, driver and date. Kodak is measured if `$BENCH_DATA` or the user's cache has it, otherwise the bundled
sample. Metrics need their weights (`bench fetch alexnet`). Networks without a checkpoint have seeded weights and are called
untrained. The exit code is 1 if a claim does not hold or a part is not complete, and 2 without a usable GPU.

Streams for other machines are in `carry/` below the records. On another machine, this command tries their decoder:

```sh
bench audit pack cuda.tar --dataset kodak --device cpu
```

`tools/on_gpu.sh --only exchange --carried FOLDER` decodes on the GPU the packs that another machine has made.
"""
WITHOUT = """
## What is shown without a GPU

Tests with the marker `device` (`tests/device/`) run on a GPU where there is one, and otherwise on a stand-in for it
(`tests/support/networks/stand_in_gpu.py`): tensors that report the device "cuda", whose values the processor computes. An operation on
tensors of both devices, a conversion to NumPy and a generator of the wrong device are errors there as on a GPU, and whatever waits for
the device is counted. The following claims rest on these tests alone:

- every method encodes and decodes on a GPU, with maps, tiles, `effort`, `exact` and rates to reach, and each stream has the same
  latents on both devices;
- coding waits for the device in the entropy coder, in searches and for the picture, and nowhere else;
- metrics and feature spaces have the CPU's values to 1e-5 (those whose weights are present or can be drawn; MUSIQ, CLIP-IQA and
  MANIQA were not tried);
- a training step of every kind of stage keeps to one device and reads nothing back (the base codec of `dirac` and `hfd` does, if
  it runs on the CPU), and training can continue from its state on the other device.

The stand-in shows nothing about kernels and their rounding, bfloat16, speed, memory, streams of kernels and several GPUs.
"""


def render(records: Mapping[str, Record]) -> str:
    """Return the page; a part without a record is said to be not run."""
    lines = [HEAD]
    first = next(iter(records.values()), None)
    if first is None:
        lines.append(NONE)
    else:
        if first.described["device"] != "cuda":
            lines.append(ON_CPU)
        lines += ["\n".join(_machine(records))]
    lines.append(HOW)
    why = "it was not asked for" if records else "no GPU was at hand"
    lines += ["\n".join(["", *_part(name, records.get(name), why)]) for name in PARTS]
    lines.append(WITHOUT)
    return "".join(lines)


def _machine(records: Mapping[str, Record]) -> list[str]:
    """Return the machine of the records; a line for each if there are several."""
    lines: dict[str, None] = {}
    for record in records.values():
        said = record.described
        versions = ", ".join(f"{name} {number}" for name, number in said["versions"].items())
        driver = f", driver {said['driver']}" if said["driver"] else ""
        cuda = f", CUDA {said['cuda']}" if said["cuda"] else ""
        lines[
            f"- {said['device_name']}{driver}{cuda}; {said['machine']}; Python {said['python']}, "
            f"{versions}; commit {(said['commit'] or 'unknown')[:12]}; images: {said['dataset']}; "
            f"{said['date']}"
        ] = None
    return ["", *lines, ""]


def _part(name: str, record: Record | None, why: str) -> list[str]:
    """Return the section of a part; `why` says why there is no record."""
    part = PARTS[name]
    lines = [f"## {part.TITLE}", "", f"`--only {name}`. {part.CLAIM}", ""]
    if record is None:
        return [*lines, f"Not run: {why}.", ""]
    if not record.cells:
        return [*lines, f"Not run: {record.ended or 'it was ended before its first number'}.", ""]
    lines += part.section(record.cells)
    wrong = broken(record.cells)
    if wrong:
        lines += [f"**Does not hold** for {len(wrong)} of {len(record.cells)}: {wrong[0]}.", ""]
    if not record.complete:
        reason = record.ended or "its time was up"
        lines += [f"Not complete, {counted(len(record.cells), 'cell')} so far: {reason}.", ""]
    return lines


if __name__ == "__main__":
    sys.stdout.write(render({}))
