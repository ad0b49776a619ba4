"""Names and origins of rows: ids and records of runs, names of the results of folders."""

import platform
import re
import secrets
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmark.system.machine import commit, machine

PACKAGES = (
    "rdrbench", "numpy", "pillow", "pillow-simd", "imagecodecs", "imageio-ffmpeg", "torch",
    "compressai", "lpips", "polars", "scikit-image", "scipy",
)  # fmt: skip
RUN_TIME = "%Y%m%dT%H%M%S"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # of a run or dataset: no path to elsewhere
DIGITS = 6  # hexadecimal, that complete the name of a folder of images


def new_run_id(folder: Path) -> str:
    """Return an id that sorts after all runs in a store's folder, whatever the clock says."""
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
    from importlib.metadata import PackageNotFoundError, distribution

    with suppress(PackageNotFoundError):
        of = distribution(package)
        line = re.search(r"^Version: (\S+)$", of.read_text("METADATA") or "", re.MULTILINE)
        return line[1] if line else of.version  # which would parse the whole text
    return None


def folder_store_name(
    title: str,
    images: Collection[str],
    stores: Mapping[str, Path],
    files: Iterable[tuple[str, int]],
) -> str:
    """Return the name of the results of a folder of images: "holiday-1a2b3c".

    title: the folder's own name. images: sha256 of the pixels of each image, or of some of them.
    stores: folders of results by name. files: name and size in bytes of every image.

    Results belong to the folder if their name begins with its title, and at least half of the
    images of the folder, or of the results if these have fewer, are in both. Of several, that with
    the largest share of common images is taken; of none, digits of a sha256 of `files` complete the
    title.
    """
    from benchmark.rows.store import Store  # brings polars, which workers do without

    here = set(images)
    own = re.compile(rf"{re.escape(title)}-[0-9a-f]{{{DIGITS}}}")
    known = {name: Store(stores[name]).images() for name in sorted(stores) if own.fullmatch(name)}
    shares = {
        name: len(here & there) / len(here | there)
        for name, there in known.items()
        if here & there and 2 * len(here & there) >= min(len(here), len(there))
    }
    if shares:
        return max(shares, key=shares.__getitem__)
    text = "".join(f"{name} {size}\n" for name, size in sorted(files))
    while True:
        digest = sha256(text.encode(errors="surrogateescape")).hexdigest()
        name = f"{title}-{digest[:DIGITS]}"
        if not known.get(name):  # results without any row are taken up
            return name
        text += "\n"  # other images of the same names and sizes
