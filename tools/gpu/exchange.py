"""Streams made on one device and decoded on the other, by the commands that anybody can give.

`carry/` below the folder of records then has a pack of each device's streams, to be copied to other
machines: `bench audit pack FILE` decodes it there, and this part, given `--carried FOLDER`, decodes
the packs of other machines here. The packs have the exact decoder's pixels, which are the same
everywhere; other streams may differ by a level.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmark.interface.run import run
from tools.gpu.conditions import ROOT, Conditions
from tools.gpu.networks import weights_folder
from tools.gpu.part import Cell, Found, failures, measured, table

TITLE = "Streams carried from device to device"
CLAIM = (
    "`bench audit decode` finds every stream of one device decodable on the other, within one "
    "level; `bench audit pack` finds the exact decoder's pixels identical."
)
OURS, EXACT = "ours:beta=0", "ours:beta=0:exact=1"
POINTS = {"ours.q": [1.0, 3.0]}
IMAGES = 3
MINUTES = 6.0  # that a command may take


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for each direction and kind of audit, and for each pack carried here."""
    for made, other in dict.fromkeys([(conditions.device, "cpu"), ("cpu", conditions.device)]):
        words = f"made on {made}, decoded on {other}"
        yield Cell(f"{words}/rows", partial(rows_decoded, conditions, made, other))
        yield Cell(f"{words}/pack", partial(pack_decoded, conditions, made, other))
    for path in sorted(conditions.carried.glob("*.tar")) if conditions.carried else ():
        name = f"carried here, decoded on {conditions.device}/{path.name}"
        yield Cell(name, partial(_audit_pack, conditions, path, conditions.device))


def rows_decoded(conditions: Conditions, made: str, other: str) -> dict[str, Any]:
    """Code on one device, and decode what was kept on the other."""
    _code(conditions, made)
    results = conditions.out / "exchange" / made
    done = _bench(
        conditions, "audit", "decode", results, "--device", other, "--levels", 1, "--json"
    )
    rows = json.loads(done)["table"]
    names = ("identical", "within", "different", "not decodable")
    counts = {name: sum(row[name] for row in rows) for name in names}
    wrong = counts["different"] + counts["not decodable"]
    return {**counts, "held": not wrong and sum(counts.values()) > 0}


def pack_decoded(conditions: Conditions, made: str, other: str) -> dict[str, Any]:
    """Put one device's streams for the exact decoder into a pack, and audit it on the other."""
    _code(conditions, made)
    pack = conditions.out / "carry" / f"{made}.tar"
    if not pack.exists():
        pack.parent.mkdir(parents=True, exist_ok=True)
        results = conditions.out / "exchange" / made
        _bench(conditions, "pack", "export", pack, "--codecs", EXACT, "--results", results)
    return _audit_pack(conditions, pack, other)


def _audit_pack(conditions: Conditions, pack: Any, device: str) -> dict[str, Any]:
    more = ("--dataset", conditions.dataset)
    words = ("audit", "pack", pack, "--metrics", "psnr", "--device", device, *more, "--json")
    found = json.loads(_bench(conditions, *words))
    wrong = len(found["wrong"])
    return {
        "identical": found["decoded"],
        "within": 0,
        "different": wrong,
        "not decodable": found["streams"] - found["decoded"] - wrong,
        "held": not wrong and found["decoded"] == found["streams"] > 0,
    }


def _code(conditions: Conditions, device: str) -> None:
    """Measure the first images on a device, unless that is done; finished cells are skipped."""
    done = run(
        [OURS, EXACT],
        conditions.dataset,
        metrics=("psnr",),
        points=POINTS,
        limit=IMAGES,
        results=conditions.out / "exchange" / device,
        device=device,
        weights_dir=weights_folder(conditions),
    )
    if done.failures:
        raise RuntimeError(f"{done.failures[0].cell}: {done.failures[0].reason}")


def _bench(conditions: Conditions, *words: object) -> str:
    """Return what `bench` prints; a command that finds something wrong exits with 1."""
    folder = weights_folder(conditions)
    weights = ("--weights-dir", folder) if folder and words[0] == "audit" else ()
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *map(str, (*words, *weights))],
        cwd=ROOT, capture_output=True, text=True, timeout=60 * MINUTES, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or "bench printed nothing")
    return done.stdout


def begin(conditions: Conditions) -> None:
    """Remove streams of another run of the parts."""
    for name in ("exchange", "carry"):
        shutil.rmtree(conditions.out / name, ignore_errors=True)


def section(found: Found) -> list[str]:
    """Return a table with a row for each direction and kind of audit."""
    names = ("identical", "within", "different", "not decodable")
    lines = [
        (*key.split("/"), *(row[name] for name in names)) for key, row in measured(found).items()
    ]
    header = ("streams", "audit", "identical", "within one level", "different", "not decodable")
    return [*table(header, lines), *failures(found)]
