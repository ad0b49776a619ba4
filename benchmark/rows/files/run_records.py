"""Records of runs: a json file per run, which says where its rows come from."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import DamagedResults, StoreError
from benchmark.rows.result_file import write_result, write_results
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, is_regular, read_regular

README = (
    "Read the rows of this folder with `benchmark.load`, which counts no image twice: the parquet "
    "files of `per_image` hold several versions of a row, and bundled rows beside rows measured "
    "here.\n"
)


class RunRecords:
    """The records below the folder of a dataset's results, each named by its run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = folder / "runs"

    def begin(self, run: str, record: Mapping[str, Any]) -> None:
        """Write a run's record, and beside the first one how to read the rows."""
        files = {self._path(run): _text(record)}
        if not (readme := self.folder / "README.md").exists():
            files[readme] = README.encode()
        write_results(files)

    def amend(self, run: str, facts: Mapping[str, Any]) -> None:
        """Add facts to a run's record, or replace those of the same names."""
        write_result(self._path(run), _text({**self.read(run), **facts}))

    def has(self, run: str) -> bool:
        """Return whether a run has a record; False for a name that no file can have."""
        try:
            return is_regular(self._path(run))
        except StoreError:
            return False

    def read(self, run: str) -> dict[str, Any]:
        """Return a run's record; empty if there is none. Raises `StoreError` for a damaged one."""
        path = self._path(run)
        try:
            record: dict[str, Any] = json.loads(read_regular(path, LARGEST_FILE_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read: {error}; restore or remove it") from error
        if not isinstance(record, dict):
            raise StoreError(f"{path} cannot be read: it is no record; restore or remove it")
        return record

    def read_all(self) -> list[dict[str, Any]]:
        """Return the records of all runs, oldest first; warns of those that cannot be read."""
        records = []
        for path in sorted(self._runs.glob("*.json")):
            try:
                records.append(self.read(path.stem))
            except StoreError as error:
                warnings.warn(f"a run's record is left out: {error}", DamagedResults, stacklevel=3)
        return records

    def keeps_streams(self, run: str) -> bool:
        """Return whether a run kept its streams; True where its record does not say so."""
        try:
            request = self.read(run).get("request")
        except StoreError:
            return True
        return not (isinstance(request, dict) and request.get("keep") is False)

    def _path(self, run: str) -> Path:
        if Path(run).name != run:  # in rows of a stranger it may be a path to elsewhere
            raise StoreError(f"{self.folder} has a row whose run is called {run!r}")
        return self._runs / f"{run}.json"


def _text(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True, default=str).encode()
