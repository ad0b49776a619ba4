"""Lines of some files that a process executes, written down as they are first executed.

It reads the files' names from FILES in the folder of the variable MUTATION, and appends to LINES
there: a line of JSON for each first time, with the test, the file and the line. A process that is
killed has written what it executed; one that a test starts belongs to that test.
"""

import json
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

FOLDER = "MUTATION"
FILES, LINES = "mutated_files.json", "executed_lines.jsonl"


class Tracer:
    """Trace function that appends each line of the files that the present test executes."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            str(folder / file): file for file in json.loads((folder / FILES).read_text())
        }
        self._out = os.open(folder / LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._seen: set[tuple[str, str, int]] = set()
        self._test = ""

    def start(self, test: str) -> None:
        self._test = test
        threading.settrace(self._called)
        sys.settrace(self._called)

    def stop(self) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def is_of(self, function: Any) -> bool:
        """Return whether a function is written in one of the files."""
        code = getattr(function, "__code__", None)
        return code is not None and code.co_filename in self._files

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        key = (self._test, self._files[frame.f_code.co_filename], frame.f_lineno)
        if event == "line" and key not in self._seen:
            self._seen.add(key)
            os.write(self._out, (json.dumps(key) + "\n").encode())
        return self._line


def trace_child() -> None:
    """Trace this process for the test that started it, if one did."""
    test, _, _ = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
    if test:
        Tracer(Path(os.environ[FOLDER])).start(test)
