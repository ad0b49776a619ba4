"""Record what a process does to the files below a folder, in the order in which it is done.

`recording(root, log)` replaces the functions by which Python changes files. Each change below
`root` becomes a line of `log`: a JSON list of its name and what it is about. A change that is not
understood raises, and one that goes past Python (a library that writes by itself) is found by
whoever replays the lines: the files do not come out (`support.faults.power_loss`).
"""

import base64
import builtins
import io
import json
import os
import threading

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Recorder:
    def __init__(self, root, log):
        self.root = os.path.realpath(root)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.lock = threading.Lock()
        self.paths = {}  # of open files and folders, by their number

    def below(self, path):
        """Return a path relative to the root; None for one elsewhere."""
        if isinstance(path, int):
            return None
        absolute = os.path.abspath(os.fsdecode(path))
        folder, name = os.path.split(absolute)
        absolute = os.path.join(os.path.realpath(folder), name)
        inside = absolute == self.root or absolute.startswith(self.root + os.sep)
        return os.path.relpath(absolute, self.root) if inside else None

    def tell(self, *what):
        with self.lock:
            _write(self.log, json.dumps(what).encode() + b"\n")


_write = os.write
_recorder: "_Recorder | None" = None  # of this process


class _File(io.FileIO):
    """A file whose writes are recorded when the system gets them, not when a buffer does."""

    def __init__(self, path, mode, name):
        super().__init__(path, mode)
        self._recorded_as = name
        _recorder.paths[self.fileno()] = name
        _recorder.tell("open", name, "a" in mode)

    def write(self, content):
        count = super().write(content)
        text = base64.b64encode(bytes(content)[:count]).decode()
        _recorder.tell("write", self._recorded_as, text)
        return count

    def truncate(self, size=None):
        raise NotImplementedError(f"truncate {self._recorded_as}")

    def close(self):
        if not self.closed:
            _recorder.paths.pop(self.fileno(), None)
        super().close()


def tell(*what):
    """Add a line of one's own to the log, such as what is said to be stored."""
    if _recorder is not None:
        _recorder.tell(*what)


def recording(root, log):
    """Record every later change below `root` in the file `log`."""
    global _recorder  # noqa: PLW0603 - a process has one
    _recorder = _Recorder(root, log)
    python_opens = io.open

    def open_file(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **more):
        name = _recorder.below(file)
        if name is None or not set(mode) & set("wax+"):
            return python_opens(file, mode, buffering, encoding, errors, newline, **more)
        if "+" in mode:
            raise NotImplementedError(f"open {name} with {mode}")
        buffered = io.BufferedWriter(_File(file, mode.replace("b", "").replace("t", ""), name))
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    io.open = builtins.open = open_file
    _wrap("open", _told_open)
    _wrap("close", _told_close)
    _wrap("fsync", _told_fsync)
    _wrap("mkdir", lambda does, path, *a, **k: _told(does, "mkdir", (path,), *a, **k))
    for one in ("rename", "replace"):
        _wrap(one, lambda does, a, b, *r, **k: _told(does, "rename", (a, b), *r, **k))
    _wrap("link", lambda does, a, b, *r, **k: _told(does, "link", (a, b), *r, **k))
    for one in ("unlink", "remove"):
        _wrap(one, lambda does, path, *a, **k: _told(does, "unlink", (path,), *a, **k))
    for one in ("rmdir", "symlink", "truncate", "renames", "mkfifo"):
        _wrap(one, _refused)


def _wrap(name, instead):
    does = getattr(os, name)
    setattr(os, name, lambda *a, **k: instead(does, *a, **k))


def _told(does, what, paths, *rest, **more):
    names = [_recorder.below(path) for path in paths]
    result = does(*paths, *rest, **more)
    if any(name is not None for name in names):
        assert None not in names, f"{what} {paths} across the recorded folder"
        assert not any(more.values()), f"{what} {paths} with {more}"
        _recorder.tell(what, *names)
    return result


def _refused(does, *paths, **more):
    if any(_recorder.below(path) is not None for path in paths if not isinstance(path, int)):
        raise NotImplementedError(f"{does.__name__} {paths}")
    return does(*paths, **more)


def _told_open(does, path, flags, *rest, **more):
    name = None if more.get("dir_fd") is not None else _recorder.below(path)
    if name is not None and flags & WRITES:
        raise NotImplementedError(f"os.open {name} for writing")
    handle = does(path, flags, *rest, **more)
    if name is not None:
        _recorder.paths[handle] = name
    return handle


def _told_close(does, handle):
    _recorder.paths.pop(handle, None)
    return does(handle)


def _told_fsync(does, handle):
    number = handle if isinstance(handle, int) else handle.fileno()
    does(number)
    if (name := _recorder.paths.get(number)) is not None:
        _recorder.tell("fsync", name)
