"""Runs: their ids, and their records, a json file each, which says where rows come from."""

import json
import platform
import re
import secrets
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark.errors import DamagedResults, StoreError
from benchmark.system.atomic import write_results
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, is_regular, read_regular
from benchmark.system.machine import commit, machine

PACKAGES = (
    "rdrbench", "numpy", "pillow", "pillow-simd", "imagecodecs", "imageio-ffmpeg", "torch",
    "compressai", "lpips", "pyarrow", "scikit-image", "scipy",
)  # fmt: skip
RUN_TIME = "%Y%m%dT%H%M%S"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # of a run or dataset: no path to elsewhere
README = (
    "Read the rows of this folder with `benchmark.load`, which counts no image twice: the parquet "
    "files of `per_image` hold several versions of a row, and bundled rows beside rows measured "
    "here.\n"
)


def new_run_id(folder: Path) -> str:
    """Return an id that sorts by time and differs between runs of the same second.

    It comes after all runs in the folder of a store, whatever the clock says: tables and figures
    show a codec's latest run.
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


class RunRecords:
    """The records of runs below the folder of a dataset's results, each named by its run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, run: str, record: Mapping[str, Any]) -> None:
        """Write a run's record, the first file of a run, and beside it how to read the rows."""
        files = {self._record_path(run): _json(record)}
        if not (readme := self.folder / "README.md").exists():
            files[readme] = README.encode()
        write_results(files)

    def amend(self, run: str, facts: Mapping[str, Any]) -> None:
        """Add facts to a run's record, or replace those of the same names."""
        write_results({self._record_path(run): _json({**self.record(run), **facts})})

    def has_record(self, run: str) -> bool:
        """Return whether a run has a record; False for a name that no file can have."""
        return Path(run).name == run and is_regular(self._record_path(run))

    def record(self, run: str) -> dict[str, Any]:
        """Return a run's record; empty if there is none. Raises `StoreError` for a damaged one."""
        path = self._record_path(run)
        try:
            record = json.loads(read_regular(path, LARGEST_FILE_BYTES))
            if not isinstance(record, dict):
                raise ValueError("it is no record")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read: {error}; restore or remove it") from error
        return record

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all runs, oldest first; warns of those that cannot be read."""
        records = []
        for path in sorted((self.folder / "runs").glob("*.json")):
            try:
                records.append(self.record(path.stem))
            except StoreError as error:
                warnings.warn(f"a run's record is left out: {error}", DamagedResults, stacklevel=2)
        return records

    def keeps_streams(self, run: str) -> bool:
        """Return whether a run kept its streams; True where its record does not say so."""
        try:
            request = self.record(run).get("request")
        except StoreError:
            return True
        return not (isinstance(request, dict) and request.get("keep") is False)

    def _record_path(self, run: str) -> Path:
        if Path(run).name != run:  # in rows of a stranger it may be a path to elsewhere
            raise StoreError(f"{self.folder} has a row whose run is called {run!r}")
        return self.folder / "runs" / f"{run}.json"


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True, default=str).encode()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
