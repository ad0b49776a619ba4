"""Streams, pictures and features of a dataset, named by content. Damaged files are moved away.

results/<dataset>/streams/ab/abcd...                           the bytes, by their sha256
                 /pictures/ab/abcd....png                      decoded pictures of declared
                                                               sizes, by sha256 of the pixels
                 /features/<space protocol>/ab/abcd....npy     float32 (patches, dimensions), by
                                                               sha256 of the pixels
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import ImageRefused, StoreError, UsageError
from benchmark.metrics.metric import Features
from benchmark.rows.schema import is_declared
from benchmark.system.atomic import WaitingFiles, require_inside, write_results
from benchmark.system.digest import SHA256, pixels_sha256
from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES, SIGNATURE, read_regular
from benchmark.system.text import number_in

DAMAGED = "damaged"  # folder of a dataset for damaged files


def set_aside(path: Path, store_folder: Path) -> Path:
    """Move a damaged file to the folder `damaged`; raise `OSError`, or `StoreError` for a link."""
    target = store_folder / DAMAGED / path.name
    require_inside(store_folder, path, target)
    target.parent.mkdir(exist_ok=True)
    os.replace(path, target)
    return target


class StreamFolder:
    """Stored streams of a dataset, and pictures without a stream, below `results/<dataset>`."""

    folder: Path

    def streams(self) -> Iterator[Path]:
        """Iterate over the paths of streams."""
        return (path for path in self.folder.glob("streams/??/*") if path.name[0] != ".")

    def keep(self, *streams: bytes) -> str:
        """Store streams under their sha256, and return the sha256 of the last stream."""
        digest = ""
        with WaitingFiles() as waiting_files:
            for stream in streams:
                digest = hashlib.sha256(stream).hexdigest()
                waiting_files.add(self.stream_files({digest: stream}))
        return digest

    def stream_files(self, streams: Mapping[str, bytes]) -> dict[Path, bytes]:
        """Return the files to write for streams by sha256, without intact existing files."""
        files = {self._path(digest): stream for digest, stream in streams.items()}
        require_inside(self.folder, *files)
        return {path: stream for path, stream in files.items() if not has_content(path, stream)}

    def stream(self, digest: str | None) -> bytes | None:
        """Return a stored stream, or None; raise `StoreError` if damaged."""
        if not digest or not (path := self._path(digest)).exists():
            return None
        try:
            data = read_regular(path, MAX_FOREIGN_FILE_BYTES)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}; remove the file") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(
                f"{path} is damaged: its bytes do not match its name; remove the file, "
                "and `bench run` makes the stream again"
            )
        return data

    def has_stream(self, digest: str | None, num_bytes: int | None = None) -> bool:
        """Return whether a stream (of `num_bytes` bytes, if given) is stored; does not read it."""
        if digest is None or not SHA256.fullmatch(digest):
            return False
        return _has_size(self._path(digest), num_bytes)

    def has_output(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row's stream is stored, or its picture if the size is declared."""
        if is_declared(row):
            return self.has_picture(row["decoded_sha256"])
        return self.has_stream(row["stream_sha256"])

    def set_stream_aside(self, digest: str) -> Path:
        """Move a damaged stream away, so that its cells are measured again; return its new path."""
        return set_aside(self._path(digest), self.folder)

    def pictures(self) -> Iterator[Path]:
        """Iterate over the paths of pictures."""
        return (path for path in self.folder.glob("pictures/??/*.png") if path.name[0] != ".")

    def keep_pictures(self, pictures: Iterable[Pixels]) -> None:
        """Store decoded pictures under the sha256 of their pixels."""
        with WaitingFiles() as waiting_files:
            for pixels in pictures:
                waiting_files.add(self.picture_files({pixels_sha256(pixels): png_bytes(pixels)}))

    def picture_files(self, pictures: Mapping[str, bytes]) -> dict[Path, bytes]:
        """Return the PNG files to write for pictures by sha256, without existing files."""
        files = {self._picture_path(digest): png for digest, png in pictures.items()}
        require_inside(self.folder, *files)
        return {path: png for path, png in files.items() if not has_picture(path)}

    def picture(self, digest: str | None) -> Pixels | None:
        """Return the pixels of a stored picture, or None; raise `StoreError` if damaged."""
        if not digest or not (path := self._picture_path(digest)).exists():
            return None
        try:
            return parse_picture(read_regular(path, MAX_FOREIGN_FILE_BYTES), digest)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}; remove the file") from error
        except ImageRefused as error:
            raise StoreError(
                f"{path} is damaged: {error}; remove the file and import its pack again"
            ) from error

    def has_picture(self, digest: str | None, num_bytes: int | None = None) -> bool:
        """Return whether a picture (of `num_bytes` bytes, if given) is stored; does not read it."""
        if digest is None or not SHA256.fullmatch(digest):
            return False
        return _has_size(self._picture_path(digest), num_bytes)

    def _path(self, digest: str) -> Path:
        return self._content_folder("stream", digest) / digest

    def _picture_path(self, digest: str) -> Path:
        return self._content_folder("picture", digest) / f"{digest}.png"

    def _content_folder(self, kind: str, digest: str) -> Path:
        if not SHA256.fullmatch(digest):  # another author's rows may contain a path
            raise StoreError(f"{self.folder} has a row with the invalid {kind} name {digest!r}")
        return self.folder / f"{kind}s" / digest[:2]


def _has_size(path: Path, num_bytes: int | None) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return num_bytes is None or status.st_size == num_bytes


def has_content(path: Path, content: bytes) -> bool:
    """Return whether a file has the given content."""
    try:
        return read_regular(path, MAX_FOREIGN_FILE_BYTES) == content
    except OSError:
        return False


def has_picture(path: Path) -> bool:
    """Return whether a file is a PNG whose pixels have the sha256 in its name."""
    try:
        parse_picture(read_regular(path, MAX_FOREIGN_FILE_BYTES), path.stem)
    except (OSError, ImageRefused):
        return False
    return True


def parse_picture(png: bytes, digest: str) -> Pixels:
    """Return the pixels of a PNG file; raise `ImageRefused` if their sha256 is not `digest`."""
    from benchmark.datasets.image import decode_image  # imports Pillow

    name = f"{digest[:8]}.png"
    if not png.startswith(SIGNATURE):
        raise ImageRefused(f"{name} is not a PNG file")
    pixels = decode_image(name, png, skip_row_check=True).pixels
    if pixels_sha256(pixels) != digest:
        raise ImageRefused(f"{name} has pixels that do not match its name")
    return pixels


def png_bytes(pixels: Pixels) -> bytes:
    """Encode pixels as PNG, deterministically."""
    from PIL.Image import fromarray

    fromarray(pixels).save(png := BytesIO(), "PNG")
    return png.getvalue()


BUDGET_VARIABLE = "BENCH_FEATURES_GIB"
BUDGET_GIB = 20.0  # one setting of a codec on CLIC2020 takes .24 GB with 2048 dimensions
CACHE_TAG = "CACHEDIR.TAG"
# Backup programs skip folders with this tag: https://bford.info/cachedir
CACHE_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made again by `bench rescore`.\n"


class ImageFeatures(NamedTuple):
    """Features of one image's patches."""

    protocol: str  # id of the feature space
    pixels_sha256: str
    features: Features


class FeatureFolder:
    """Features of one dataset, below `results/<dataset>/features`."""

    def __init__(self, store_folder: Path) -> None:
        self._store_folder, self.folder = store_folder, store_folder / "features"

    def has(self, protocol: str, pixels_sha256: str) -> bool:
        """Return whether features are stored, without reading them."""
        return self._path(protocol, pixels_sha256).exists()

    def images(self, protocol: str) -> set[str]:
        """Return the sha256 of the pixels of all images that have features of a space."""
        return {path.stem for path in self._space_folder(protocol).glob("*/*.npy")}

    def read(self, protocol: str, pixels_sha256: str) -> Features | None:
        """Return the features of an image, or None. A damaged file is removed."""
        path = self._path(protocol, pixels_sha256)
        try:
            features = np.load(
                BytesIO(read_regular(path, MAX_FOREIGN_FILE_BYTES)), allow_pickle=False
            )
            is_valid = features.ndim == 2 and features.dtype == np.float32
            is_valid = is_valid and np.isfinite(features).all()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            is_valid = False
        with suppress(OSError, StoreError):  # a read-only folder, or a link
            require_inside(self._store_folder, path)
            if is_valid:
                os.utime(path)  # `prune` keeps recently used files
            else:
                path.unlink()
        return features if is_valid else None

    def keep(self, image: ImageFeatures) -> None:
        """Write the features of an image, replacing an existing file."""
        content = BytesIO()
        np.save(content, np.asarray(image.features, np.float32))
        path, tag = self._path(image.protocol, image.pixels_sha256), self.folder / CACHE_TAG
        require_inside(self._store_folder, path)
        write_results(
            {path: content.getbuffer(), **({} if tag.exists() else {tag: CACHE_TAG_TEXT})}
        )

    def prune(self, budget_bytes: float) -> int:
        """Remove the least recently used files until the others fit; return the number removed."""
        files = []
        for path in self.folder.glob("*/*/*.npy"):
            with suppress(OSError, StoreError):  # another run removed it, or its path has a link
                require_inside(self._store_folder, path)
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        total_bytes = sum(num_bytes for _, num_bytes, _ in files)
        num_removed = 0
        for _, num_bytes, path in sorted(files):
            if total_bytes <= budget_bytes:
                break
            with suppress(OSError):
                path.unlink()
                num_removed += 1
            total_bytes -= num_bytes
        return num_removed

    def _path(self, protocol: str, pixels_sha256: str) -> Path:
        return self._space_folder(protocol) / pixels_sha256[:2] / f"{pixels_sha256}.npy"

    def _space_folder(self, protocol: str) -> Path:
        return self.folder / protocol.replace("/", "_")


def features_budget_bytes() -> float:
    """Return the size limit of a dataset's features in bytes: `$BENCH_FEATURES_GIB`, or 20 GiB."""
    text = os.environ.get(BUDGET_VARIABLE) or str(BUDGET_GIB)
    gib = number_in(text)
    if not 0 <= gib < float("inf"):
        raise UsageError(f"${BUDGET_VARIABLE} is {text!r}: set it to a number of GiB")
    return gib * 2**30
