"""Run ids and run records: commit, machine and versions behind numbers."""

import platform
import secrets
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark.system.machine import commit, machine

PACKAGES = (
    "rdrbench", "numpy", "pillow", "pillow-simd", "imagecodecs", "imageio-ffmpeg", "torch",
    "compressai", "lpips", "pyarrow", "scikit-image", "scipy",
)  # fmt: skip

RUN_TIME = "%Y%m%dT%H%M%S"


def new_run_id(folder: Path) -> str:
    """Return an id that sorts by time and differs between runs of the same second.

    It comes after all runs in the folder of a store, whatever the clock says: the latest run of a
    codec is the one that tables and figures show.
    """
    now = datetime.now(UTC)
    for path in (folder / "runs").glob("*.json"):
        with suppress(ValueError, OverflowError):
            run = datetime.strptime(path.stem.partition("-")[0], RUN_TIME).replace(tzinfo=UTC)
            now = max(now, run + timedelta(seconds=1))
    return f"{now:{RUN_TIME}}-{secrets.token_hex(4)}"


def run_record(arguments: list[str], **facts: Any) -> dict[str, Any]:
    """Return facts of this process that readers of its rows may need, json values only."""
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": arguments,
        "commit": commit(),
        "machine": machine(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        **facts,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
