"""Downloads of files and archives, resumed and verified: the only module that uses a network."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from io import BufferedRandom, BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen
from zipfile import ZipFile, ZipInfo

from benchmark.errors import Unavailable
from benchmark.system.atomic import lock, write_file
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import open_regular
from benchmark.system.text import read_json

TIMEOUT_SECONDS = 60.0  # without a byte
CHUNK_BYTES = 1 << 18
LARGEST_UNKNOWN_BYTES = 1 << 33  # of a file whose size is not known beforehand
CONNECTIONS = 10  # for a file; another only while the last brought something
MANIFEST = "manifest.json"
LARGEST_IMAGE_BYTES = 1 << 30  # unpacked

# Receives, many times, a file's name, its bytes so far, and all of them where the server says it
DownloadProgress = Callable[[str, int, int | None], None]


class Expected(NamedTuple):
    """Size and digest of a file, as far as they are known beforehand."""

    size_bytes: int | None = None
    digest: str = ""  # hex digits of the sha256, at least the first; or "sha1:" and the sha1

    def objection(self, file: BufferedReader | BufferedRandom) -> str:
        """Return why a file, open to be read, is another; empty where it is as expected."""
        size_bytes = file.seek(0, os.SEEK_END)
        if self.size_bytes not in (None, size_bytes):
            return f"has {size_bytes} bytes instead of {self.size_bytes}"
        algorithm, _, digest = self.digest.rpartition(":")
        algorithm = algorithm or "sha256"
        file.seek(0)
        result = hashlib.file_digest(file, algorithm).hexdigest() if digest else ""
        if not result.startswith(digest):
            return f"has {algorithm} {result[:16]}... instead of {digest[:16]}..."
        return ""

    def objection_to(self, path: Path) -> str:
        """Return why the file at a path is another; raise `Unavailable` if it is unreadable."""
        try:
            with open_regular(path) as file:
                return self.objection(file)
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror or error}") from error


def fetch(
    url: str,
    target: Path,
    size_bytes: int | None = None,
    digest: str = "",
    progress: DownloadProgress | None = None,
    remedy: str = "",
) -> None:
    """Download `url` to `target`, whole or not at all; an existing target is verified instead.

    An interrupted download waits in `target`.part, and a later call resumes it. Size and digest
    (see `Expected`) are verified where they are known, before the file gets its name. Raises
    `Unavailable`, which ends with `remedy` where the server cannot be reached.
    """
    expected = Expected(size_bytes, digest)
    remedy = remedy or f"put the file at {target} yourself"
    part = target.with_name(f"{target.name}.part")
    try:
        if target.exists():
            if objection := expected.objection_to(target):
                raise Unavailable(f"{target} {objection}: remove it and fetch again")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with _opened_alone(part) as file:
            _require_space(target.parent, (size_bytes or 0) - _size(file))
            resumed = _size(file) > 0
            _download(url, file, expected, progress, remedy)
            if resumed and expected.objection(file):  # what was left over may be of another file
                file.truncate(0)
                _download(url, file, expected, progress, remedy)
            if objection := expected.objection(file):
                file.truncate(0)
                raise Unavailable(f"{url} now {objection}, so it is not used: {remedy}")
            os.fsync(file.fileno())
            os.replace(part, target)
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror or error}") from error


def _download(
    url: str,
    file: BufferedRandom,
    expected: Expected,
    progress: DownloadProgress | None,
    remedy: str,
) -> None:
    """Append to the file until it is complete, over up to CONNECTIONS connections."""
    reason, before = "", -1
    for _ in range(CONNECTIONS):
        if _size(file) in (before, expected.size_bytes):
            break
        before = _size(file)
        try:
            reason = _connect(url, file, expected, progress)
        except HTTPError as error:
            raise Unavailable(f"{url} answers {error.code} {error.reason}: {remedy}") from error
        if not reason:
            return
    if _size(file) != expected.size_bytes:
        so_far = f" after {_size(file)} bytes, which are kept" if _size(file) else ""
        host = urlsplit(url).hostname
        raise Unavailable(f"{host} cannot be reached{so_far} ({reason}): fetch again, or {remedy}")


def _connect(
    url: str, file: BufferedRandom, expected: Expected, progress: DownloadProgress | None
) -> str:
    """Append the data of a connection; return why the file is not complete, "" if it is."""
    have = _size(file)
    broken = "the connection broke off"
    headers = {"User-Agent": "rdrbench"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":  # nothing after what we have
            return ""
        file.truncate(0)
        return broken
    except (OSError, HTTPException) as error:
        return _reason(error)
    with response:
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        continues = response.status == 206 and start and int(start[1]) == have
        if not continues:
            file.truncate(0)
            if response.status == 206:
                return broken
        length = response.headers.get("Content-Length")
        total = _size(file) + int(length) if length is not None else None
        most = expected.size_bytes or LARGEST_UNKNOWN_BYTES
        if total is not None and (total > most or expected.size_bytes not in (None, total)):
            raise Unavailable(f"{url} now has {total} bytes instead of {most}, so it is not used")
        while True:
            try:
                chunk = response.read(CHUNK_BYTES)
            except (OSError, HTTPException) as error:
                return _reason(error)
            if not chunk:
                break
            if _size(file) + len(chunk) > (total or most):
                file.truncate(0)
                known = f"more than the {total or most} bytes"
                raise Unavailable(f"{url} sends {known} that are expected, so it is not used")
            file.write(chunk)
            file.flush()
            if progress:
                progress(PurePosixPath(urlsplit(url).path).name, _size(file), total)
    return "" if (expected.size_bytes or total) in (None, _size(file)) else broken


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return text or type(cause).__name__


@contextmanager
def _opened_alone(part: Path) -> Iterator[BufferedRandom]:
    with part.open("a+b") as file:
        try:
            lock(file.fileno())
        except BlockingIOError:
            raise Unavailable(f"{part} is being downloaded by another process: wait") from None
        if not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat()):
            raise Unavailable(f"{part} has just been downloaded by another process: fetch again")
        try:
            yield file
        finally:
            if _size(file) == 0:
                part.unlink(missing_ok=True)


def _size(file: BufferedRandom) -> int:
    return file.seek(0, os.SEEK_END)


def _require_space(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise Unavailable(f"{folder} has room for {free} bytes, and {num_bytes} are needed")


def unpack_images(archive: Path, folder: Path, count: int, below: str = "") -> None:
    """Write `count` PNG files of a zip, or of its folder `below`, into `folder`; `Unavailable`."""
    try:
        with open_regular(archive) as file, ZipFile(file) as opened:
            members: dict[str, ZipInfo] = {}
            for member in opened.infolist():
                path = PurePosixPath(member.filename)
                fork = "__MACOSX" in path.parts or path.name.startswith(".")  # in a Mac's zip
                inside = f"/{path.parent}".endswith(f"/{below}") or not below
                if member.is_dir() or path.suffix.lower() != ".png" or fork or not inside:
                    continue
                if path.name in members:
                    raise Unavailable(f"{archive} holds two files called {path.name}")
                members[path.name] = member
            if len(members) != count:
                raise Unavailable(
                    f"{archive} holds {len(members)} PNG files instead of {count}: "
                    "it is the archive of another year or split"
                )
            folder.mkdir(parents=True, exist_ok=True)
            sizes = [member.file_size for member in members.values()]
            if max(sizes) > LARGEST_IMAGE_BYTES:
                raise Unavailable(f"{archive} holds an image of {max(sizes)} bytes: remove it")
            _require_space(folder, sum(sizes))
            for name, member in members.items():
                with opened.open(member) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except Unavailable:
        raise
    except OSError as error:
        raise Unavailable(f"{archive} cannot be unpacked: {error.strerror or error}") from error
    except Exception as error:  # whatever decompressors and decoders of names raise
        raise Unavailable(f"{archive} is not a whole zip archive ({error}): remove it") from error


def publish_folder(finished: Path, urls: Sequence[str], fill: Callable[[Path], None]) -> None:
    """Have `fill` write, or resume, a draft of a folder, named when it is whole. `Unavailable`."""
    if finished.exists():
        raise Unavailable(f"{finished} is there, but is not the whole dataset: remove it first")
    draft = finished.with_name(f".{finished.name}.part")
    fill(draft)
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(draft.glob("*.png"))
    }
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"urls": list(urls), "fetched_utc": now, "files": files}
    write_file(draft / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    os.replace(draft, finished)


def manifest_objection(folder: Path) -> str:
    """Return what a folder lacks of its manifest's names and sizes; empty without a manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        return ""
    try:
        for name, facts in read_json(path, dict[str, Any])["files"].items():
            size = int(facts["bytes"])
            if not (folder / name).is_file():
                return f"{folder / name} is missing"
            if (folder / name).stat().st_size != size:
                return f"{folder / name} does not have the {size} bytes it was fetched with"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{path} cannot be read ({type(error).__name__})"
    return ""
