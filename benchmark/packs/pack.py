"""An anchor pack on disk: streams of codecs for known images, and what was measured of them.

    pack.json        format, name, number of streams, notes, each codec variant's `CodecInfo`
    rows.csv         a line a stream: source, setting, bytes, seconds, metrics with their protocols
    streams/abcd...  the bytes, named by their sha256

A pack is a folder of these, or an uncompressed tar of them or of that folder. Nothing here writes
one (`export_pack` does), and nothing is unpacked to disk.
"""

import csv
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benchmark.codec import Codec, CodecInfo, Pixels, Setting
from benchmark.errors import BadPack, ImageRefused, UsageError
from benchmark.registry import CodecSpec, names_code
from benchmark.system.digest import pixels_sha256

FORMAT = "rdrbench-pack/1"
INDEX, ROWS, STREAMS = "pack.json", "rows.csv", "streams"
SHIPPED = Path(__file__).parents[2] / "results" / "packs"
LARGEST_FILE_BYTES = 1 << 30
LARGEST_INDEX_BYTES = 1 << 26  # of pack.json and rows.csv: about 100,000 streams
SHA256 = re.compile("[0-9a-f]{64}")


class Line(NamedTuple):
    """One stream of a pack."""

    spec: CodecSpec
    setting: Setting
    image: str
    image_sha256: str  # of the source's pixels
    width_px: int
    num_bytes: int
    stream_sha256: str
    encode_seconds: float | None  # on the machine that made it
    cells: Mapping[str, str]  # everything in its line of rows.csv


Key = tuple[CodecSpec, str, int, Setting]  # variant, source's pixels and width, setting


class _Files(Protocol):
    def read(self, name: str, most: int = LARGEST_FILE_BYTES) -> bytes | None:
        """The bytes of a file; None where there is none, or one larger than that."""
        ...


@dataclass(frozen=True, slots=True)
class Pack:
    """An opened pack; `open_pack` makes it."""

    path: Path
    name: str
    notes: tuple[str, ...]
    infos: Mapping[CodecSpec, CodecInfo]
    lines: Mapping[Key, Line]
    sha256: str  # of pack.json and rows.csv, which name everything else
    files: _Files

    def find(
        self, spec: CodecSpec, image_sha256: str, width_px: int, setting: Setting
    ) -> Line | None:
        """The `Line` of that stream, or None."""
        return self.lines.get((spec, image_sha256, width_px, _plain(setting)))

    def sweep(self, spec: CodecSpec) -> tuple[Setting, ...]:
        """The settings of a variant, lowest rate first."""
        sizes: dict[Setting, list[int]] = {}
        for line in self.lines.values():
            if line.spec == spec:
                sizes.setdefault(line.setting, []).append(line.num_bytes)
        return tuple(sorted(sizes, key=lambda setting: sum(sizes[setting]) / len(sizes[setting])))

    def stream(self, line: Line) -> bytes:
        """The bytes; `BadPack` where they are missing or not those that were recorded."""
        data = self.files.read(f"{STREAMS}/{line.stream_sha256}")
        if data is None:
            raise BadPack(self.path, f"its stream {line.stream_sha256[:8]} is missing")
        if len(data) != line.num_bytes or hashlib.sha256(data).hexdigest() != line.stream_sha256:
            raise BadPack(self.path, f"its stream {line.stream_sha256[:8]} is damaged")
        return data


class Recorded:
    """A codec whose `encode` is answered from a pack; it decodes for real."""

    def __init__(self, pack: Pack, spec: CodecSpec, codec: Codec) -> None:
        self.name = codec.name
        self.sweep = pack.sweep(spec)
        self._pack, self._spec, self._codec = pack, spec, codec

    def describe(self) -> CodecInfo:
        """What made the streams, as recorded."""
        return self._pack.infos[self._spec]

    def line(self, image_sha256: str, width_px: int, setting: Setting) -> Line:
        """What is recorded of an image; `ImageRefused` where nothing is."""
        found = self._pack.find(self._spec, image_sha256, width_px, setting)
        if found is None:
            raise ImageRefused(f"{self._pack.path} has no stream of this image at {setting}")
        return found

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """The recorded stream; `ImageRefused` where there is none, `BadPack` if damaged."""
        return self._pack.stream(self.line(pixels_sha256(pixels), pixels.shape[1], setting))

    def decode(self, data: bytes) -> Pixels:
        """The image, by the codec's own decoder."""
        return self._codec.decode(data)


def open_pack(path: Path) -> Pack:
    """The pack's index, read and checked; the streams are checked when they are read.

    Raises `BadPack` where it is not a whole pack of this format.
    """
    files = _files_of(path)
    index, rows = _required(path, files, INDEX), _required(path, files, ROWS)
    try:
        told = json.loads(index)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise BadPack(path, f"{INDEX} does not say that its format is {FORMAT}")
        infos = {
            CodecSpec.of(one["codec"], one["variant"]): _info(one["info"]) for one in told["codecs"]
        }
        table = csv.DictReader(io.StringIO(rows.decode()))
        lines = {_key(line): line for line in map(_line, table)}
        name, notes = str(told["name"]), tuple(map(str, told.get("notes", ())))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadPack(path, f"{INDEX} or {ROWS} cannot be read ({reason})") from error
    if not lines or len(lines) != told.get("streams"):
        raise BadPack(path, f"{ROWS} has {len(lines)} streams, {INDEX} says {told.get('streams')}")
    unknown = {line.spec.text for line in lines.values() if line.spec not in infos}
    if unknown:
        raise BadPack(path, f"{INDEX} says nothing of {', '.join(sorted(unknown))}")
    return Pack(path, name, notes, infos, lines, hashlib.sha256(index + rows).hexdigest(), files)


def refuse_code(pack: Pack, purpose: str) -> None:
    """Raise `UsageError` where a codec of the pack is a program or Python file that it names."""
    for spec in pack.infos:
        if names_code(spec):
            raise UsageError(
                f"{pack.path} itself names what decodes its streams, {spec.text!r}: look at it, "
                f"and {purpose} with --trust if you would run it yourself"
            )


def shipped_packs() -> list[Pack]:
    """The packs that came with the project, by name."""
    found = [*SHIPPED.glob("*.tar"), *(index.parent for index in SHIPPED.glob(f"*/{INDEX}"))]
    return [open_pack(path) for path in sorted(found)]


def with_variant(packs: Iterable[Pack], spec: CodecSpec) -> Pack | None:
    """The first pack that has streams of a codec variant."""
    return next((pack for pack in packs if spec in pack.infos), None)


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str, most: int = LARGEST_FILE_BYTES) -> bytes | None:
        file = self._path / name
        if not file.is_file() or file.stat().st_size > most:
            return None
        return file.read_bytes()


class _Tar:
    """Where each file of a tar lies in it, so that none stays open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with tarfile.open(path, "r:") as tar:
            members = {member.name: member for member in tar if member.isreg()}
        roots = [name for name in members if name.rpartition("/")[2] == INDEX]
        root = min(roots, key=len, default=INDEX).removesuffix(INDEX)
        self._places = {
            name.removeprefix(root): (member.offset_data, member.size)
            for name, member in members.items()
            if name.startswith(root)
        }

    def read(self, name: str, most: int = LARGEST_FILE_BYTES) -> bytes | None:
        start, size = self._places.get(name, (0, 0))
        if not start or size > most:
            return None
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(size)


def _files_of(path: Path) -> _Files:
    if path.is_dir():
        return _Folder(path)
    try:
        return _Tar(path)
    except tarfile.TarError as error:
        raise BadPack(path, "it is neither a folder nor a whole uncompressed tar") from error
    except OSError as error:
        raise BadPack(path, f"it cannot be read ({error.strerror or error})") from error


def _required(path: Path, files: _Files, name: str) -> bytes:
    data = files.read(name, LARGEST_INDEX_BYTES)
    if data is None:
        raise BadPack(path, f"it holds no {name}, or one of more than {LARGEST_INDEX_BYTES} bytes")
    return data


def _info(told: Mapping[str, Any]) -> CodecInfo:
    kinds = {field.name: int if field.name == "revision" else str for field in fields(CodecInfo)}
    if wrong := [name for name, value in told.items() if type(value) is not kinds[name]]:
        raise ValueError(f"what it says of {', '.join(wrong)} is of another kind")
    return CodecInfo(**told)


def _line(cells: Mapping[str, str]) -> Line:
    if None in cells or None in cells.values():
        raise ValueError("a line has more or fewer values than the first one has names")
    digest, seconds = cells["stream_sha256"], cells["encode_seconds"]
    if not SHA256.fullmatch(digest) or not SHA256.fullmatch(cells["image_sha256"]):
        raise ValueError(f"{digest!r} or {cells['image_sha256']!r} is no sha256")
    return Line(
        CodecSpec.of(cells["codec"], cells["variant"]),
        _plain(Setting(cells["setting_name"], float(cells["setting_value"]))),
        cells["image"],
        cells["image_sha256"],
        int(cells["width_px"]),
        int(cells["num_bytes"]),
        digest,
        float(seconds) if seconds else None,
        cells,
    )


def _key(line: Line) -> Key:
    return line.spec, line.image_sha256, line.width_px, line.setting


def _plain(setting: Setting) -> Setting:
    return Setting(setting.name, float(setting.value))
