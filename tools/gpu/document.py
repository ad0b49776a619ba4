"""The page about GPUs, `docs/gpu.md`, from the records of the parts; none are needed.

python -m tools.gpu.document > docs/gpu.md    the page of today, where no GPU was measured
"""

# ruff: noqa: E501 - lines of the page

import sys
from collections.abc import Mapping
from types import ModuleType

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

This page is written by `tools/on_gpu.sh`; a change by hand is lost with its next run.
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

A part is a process of its own that begins nothing new after some minutes and is ended after nine. The same command goes
on with what is missing; `--again` measures anew. Records, one json file a part with numbers, versions, device, driver and
date, are in `.work/gpu` (`--out`). Kodak is measured if `$BENCH_DATA` or the user's cache has it, else the bundled sample;
metrics need their weights (`bench fetch alexnet`). Networks without a checkpoint have seeded weights and are called
untrained. Exit code 1 if a claim does not hold or a part is not complete, 2 without a usable GPU.

Streams for other machines are in `carry/` below the records. Elsewhere, their decoder is tried with

```sh
bench audit pack cuda.tar --dataset kodak --device cpu
```

and `tools/on_gpu.sh --only exchange --carried FOLDER` decodes on the GPU the packs that another machine has made.
"""
WITHOUT = """
## What is shown without a GPU

Tests with the marker `device` (`tests/device/`) run on a GPU where there is one, and else on a stand-in
(`tests/support/networks/stand_in_gpu.py`): tensors that say "cuda", whose values the processor computes. A tensor of each device in one
operation, a conversion to NumPy and a generator of the wrong device are errors there as on a GPU, and what waits for the device
is counted. By these tests alone it is claimed that

- every method encodes and decodes on a GPU, with maps, tiles, `effort`, `exact` and rates to reach, and each stream has the same
  latents on both devices;
- coding waits for the device in the entropy coder, in searches and for the picture, nowhere else;
- metrics and feature spaces have the CPU's values to 1e-5 (those whose weights are present or can be drawn; MUSIQ, CLIP-IQA and
  MANIQA were not tried);
- a training step of every kind of stage keeps to one device and reads nothing back (the base codec of `dirac` and `hfd` does, if
  it runs on the CPU), and its state goes on on the other device.

Kernels and their rounding, bfloat16, speed, memory, streams of kernels and several GPUs have no stand-in.
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
        lines += [f"Not complete, {len(record.cells)} cells so far: {reason}.", ""]
    return lines


if __name__ == "__main__":
    sys.stdout.write(render({}))
