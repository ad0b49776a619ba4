"""Run a step of the measurements on a GPU in this process; write a line after each result."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.plugins import one_line
from benchmark.registry import import_target
from benchmark.system.settings import use_device
from tools.gpu.conditions import Conditions, seeded_weights
from tools.gpu.results import Result, result_text, write_line


def run(name: str, cells: str, conditions: Conditions) -> None:
    """Measure the cells of a step; cells: "module:function" that makes them."""
    for cell, function in import_target(cells)(conditions):
        started = monotonic()
        row = {"step": name, "cell": cell, **outcome(function)}
        write_line(conditions.out, row | {"seconds": round(monotonic() - started, 1)})
        print(f"{name}: {result_text(row)}", flush=True)


def outcome(function: Callable[[], Result]) -> dict[str, Any]:
    """Measure; return the result's fields, or why there is none."""
    try:
        return function()._asdict()
    except (Unavailable, NotMeasurable) as reason:
        return Result(f"absent: {reason}", absent=True)._asdict()
    except Exception as error:  # the failure of a measurement is its result
        return {"failed": one_line(error)}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its programs end, too
    name, cells, out, scratch, device, small = sys.argv[1:]
    use_device(device)
    if small:  # tiny layers are faster on one thread
        torch.set_num_threads(1)
    with seeded_weights():
        run(name, cells, Conditions(Path(out), Path(scratch), device, bool(small)))
