"""Resumable, verified downloads of files and archives: the only module that uses the network."""

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

TIMEOUT_SECONDS = 60.0  # without receiving a byte
CHUNK_BYTES = 1 << 18
MAX_UNKNOWN_BYTES = 1 << 33  # limit for a file of unknown size
CONNECTIONS = 10  # maximum per file; a further one is opened only if the previous received data
MANIFEST = "manifest.json"
MAX_IMAGE_BYTES = 1 << 30  # unpacked size

# Called repeatedly with a file's name, the bytes received, and the total if the server states it
DownloadProgress = Callable[[str, int, int | None], None]


class ExpectedFile(NamedTuple):
    """Expected size and digest of a file, if they are known."""

    size_bytes: int | None = None
    digest: str = ""  # first or all hex digits of the sha256, or "sha1:" and the sha1

    def objection(self, file: BufferedReader | BufferedRandom) -> str:
        """Return how an open file differs from what is expected; "" if it does not."""
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
        """Return how the file at `path` differs; "" if it does not; `Unavailable` if unreadable."""
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
    """Download `url` to `target`, completely or not at all; only verify an existing target.

    An interrupted download stays in `target`.part, and a later call resumes it. Before the file is
    renamed, size and digest are verified if known (see `ExpectedFile`). Raises `Unavailable`, which
    ends with `remedy` if the server cannot be reached.
    """
    expected_file = ExpectedFile(size_bytes, digest)
    remedy = remedy or f"put the file at {target} yourself"
    draft = target.with_name(f"{target.name}.part")
    try:
        if target.exists():
            if objection := expected_file.objection_to(target):
                raise Unavailable(f"{target} {objection}: remove the file and fetch again")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open_partial_file(draft) as file:
            _require_space(target.parent, (size_bytes or 0) - _size(file))
            is_resumed = _size(file) > 0
            _download(url, file, expected_file, progress, remedy)
            if is_resumed and expected_file.objection(file):  # the draft may be of another file
                file.truncate(0)
                _download(url, file, expected_file, progress, remedy)
            if objection := expected_file.objection(file):
                file.truncate(0)
                raise Unavailable(f"{url} now {objection}, so the file is not used: {remedy}")
            os.fsync(file.fileno())
            os.replace(draft, target)
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror or error}") from error


def _download(
    url: str,
    file: BufferedRandom,
    expected_file: ExpectedFile,
    progress: DownloadProgress | None,
    remedy: str,
) -> None:
    """Append to the file until it is complete, over at most `CONNECTIONS` connections."""
    reason, previous_size = "", -1
    for _ in range(CONNECTIONS):
        if _size(file) in (previous_size, expected_file.size_bytes):
            break
        previous_size = _size(file)
        try:
            reason = _connect(url, file, expected_file, progress)
        except HTTPError as error:
            raise Unavailable(f"{url} answers {error.code} {error.reason}: {remedy}") from error
        if not reason:
            return
    if _size(file) != expected_file.size_bytes:
        progress_note = f" after {_size(file)} bytes, which are kept" if _size(file) else ""
        host = urlsplit(url).hostname
        raise Unavailable(
            f"{host} cannot be reached{progress_note} ({reason}): fetch again, or {remedy}"
        )


def _connect(
    url: str, file: BufferedRandom, expected_file: ExpectedFile, progress: DownloadProgress | None
) -> str:
    """Append data from one connection; return why the file is incomplete, "" if complete."""
    received_bytes = _size(file)
    connection_lost = "the connection was lost"
    headers = {"User-Agent": "rdrbench"} | (
        {"Range": f"bytes={received_bytes}-"} if received_bytes else {}
    )
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{received_bytes}":  # already complete
            return ""
        file.truncate(0)
        return connection_lost
    except (OSError, HTTPException) as error:
        return _network_error(error)
    with response:
        match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        is_continued = response.status == 206 and match and int(match[1]) == received_bytes
        if not is_continued:
            file.truncate(0)
            if response.status == 206:
                return connection_lost
        length = response.headers.get("Content-Length")
        total = _size(file) + int(length) if length is not None else None
        limit = expected_file.size_bytes or MAX_UNKNOWN_BYTES
        if total is not None and (total > limit or expected_file.size_bytes not in (None, total)):
            raise Unavailable(f"{url} now has {total} bytes instead of {limit}, so it is not used")
        while True:
            try:
                chunk = response.read(CHUNK_BYTES)
            except (OSError, HTTPException) as error:
                return _network_error(error)
            if not chunk:
                break
            if _size(file) + len(chunk) > (total or limit):
                file.truncate(0)
                excess = f"more than the {total or limit} bytes expected"
                raise Unavailable(f"{url} sends {excess}, so the file is not used")
            file.write(chunk)
            file.flush()
            if progress:
                progress(PurePosixPath(urlsplit(url).path).name, _size(file), total)
    return "" if (expected_file.size_bytes or total) in (None, _size(file)) else connection_lost


def _network_error(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return text or type(cause).__name__


@contextmanager
def _open_partial_file(draft: Path) -> Iterator[BufferedRandom]:
    with draft.open("a+b") as file:
        try:
            lock(file.fileno())
        except BlockingIOError:
            raise Unavailable(f"another process is downloading {draft}: wait for it") from None
        if not draft.exists() or not os.path.samestat(os.fstat(file.fileno()), draft.stat()):
            raise Unavailable(f"another process has just downloaded {draft}: fetch again")
        try:
            yield file
        finally:
            if _size(file) == 0:
                draft.unlink(missing_ok=True)


def _size(file: BufferedRandom) -> int:
    return file.seek(0, os.SEEK_END)


def _require_space(folder: Path, num_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if num_bytes > free_bytes:
        raise Unavailable(f"{folder} has {free_bytes} bytes free, but {num_bytes} are needed")


def unpack_images(archive: Path, folder: Path, count: int, subfolder: str = "") -> None:
    """Unpack the `count` PNG files of a zip (or its `subfolder`); `Unavailable` if this fails."""
    try:
        with open_regular(archive) as file, ZipFile(file) as zip_file:
            members: dict[str, ZipInfo] = {}
            for member in zip_file.infolist():
                path = PurePosixPath(member.filename)
                is_fork = "__MACOSX" in path.parts or path.name.startswith(".")  # in a Mac's zip
                in_subfolder = f"/{path.parent}".endswith(f"/{subfolder}") or not subfolder
                if member.is_dir() or path.suffix.lower() != ".png" or is_fork or not in_subfolder:
                    continue
                if path.name in members:
                    raise Unavailable(f"{archive} holds two files called {path.name}")
                members[path.name] = member
            if len(members) != count:
                fault = f"is of another year or split, with {len(members)} PNG files, not {count}"
                raise Unavailable(f"{archive} {fault}: replace the archive")
            folder.mkdir(parents=True, exist_ok=True)
            sizes = [member.file_size for member in members.values()]
            if max(sizes) > MAX_IMAGE_BYTES:
                excess = f"an image of {max(sizes)} bytes, more than the {MAX_IMAGE_BYTES} allowed"
                raise Unavailable(f"{archive} has {excess}: get the archive again")
            _require_space(folder, sum(sizes))
            for name, member in members.items():
                with zip_file.open(member) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except Unavailable:
        raise
    except OSError as error:
        raise Unavailable(f"{archive} cannot be unpacked: {error.strerror or error}") from error
    except Exception as error:  # unpacking, and decoding names, may raise many exceptions
        raise Unavailable(f"{archive} is not a complete zip ({error}): remove the file") from error


def publish_folder(dataset_folder: Path, urls: Sequence[str], fill: Callable[[Path], None]) -> None:
    """Fill and rename a draft with a manifest; `Unavailable` if `dataset_folder` exists."""
    if dataset_folder.exists():
        raise Unavailable(
            f"{dataset_folder} exists, but is not the complete dataset: remove the folder first"
        )
    draft = dataset_folder.with_name(f".{dataset_folder.name}.part")
    fill(draft)
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(draft.glob("*.png"))
    }
    fetched_utc = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"urls": list(urls), "fetched_utc": fetched_utc, "files": files}
    write_file(draft / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    os.replace(draft, dataset_folder)


def manifest_objection(folder: Path) -> str:
    """Return how a folder's files differ from its manifest; "" if they agree or it has none."""
    path = folder / MANIFEST
    if not path.is_file():
        return ""
    try:
        for name, facts in read_json(path, dict[str, Any])["files"].items():
            size = int(facts["bytes"])
            if not (folder / name).is_file():
                return f"{folder / name} is missing"
            if (folder / name).stat().st_size != size:
                return f"{folder / name} does not have the {size} bytes that were fetched"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{path} cannot be read ({type(error).__name__})"
    return ""
