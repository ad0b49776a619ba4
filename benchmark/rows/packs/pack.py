"""A pack (bitstream archive) on disk: streams for known images, and what was measured of them.

    pack.json        format, name, number of streams, notes, each codec variant's `CodecInfo`
    rows.csv         one line per stream: source, setting, bytes, seconds, metrics with protocols
    streams/abcd...  the bytes, named by their sha256

A pack is a folder of these files, or an uncompressed tar of them or of that folder. `export_pack`
writes packs; this file reads them, and unpacks nothing to disk.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from tarfile import TarInfo
from typing import Any, NamedTuple

from benchmark.codec import Codec, CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, BadPack, ImageRefused, UsageError
from benchmark.rows.codecs import NamedCodecs, why_not_run
from benchmark.spec import CodecSpec
from benchmark.system.digest import SHA256, pixels_sha256
from benchmark.system.foreign_files import (
    LARGEST_FILE_BYTES,
    LARGEST_WHOLE,
    SHOWN_CHARACTERS,
    BadFile,
    BadTar,
    files_of_tar,
    is_regular,
    open_regular,
    read_regular,
)
from benchmark.system.machine import BUNDLED
from benchmark.system.text import Sheet, by_key, parse_json, parse_sheet

FORMAT = "rdrbench-pack/1"
INDEX, ROWS, STREAMS = "pack.json", "rows.csv", "streams"
SHIPPED = BUNDLED / "packs"
KINDS = {int: "a whole number up to 2^53", float: "a number", bool: "True or False"}
LARGEST_INDEX_BYTES = 1 << 26  # of pack.json and rows.csv: about 100,000 streams


class RecordedStream(NamedTuple):
    """A stream of a pack, as its line in rows.csv describes it."""

    line: int  # number of the line
    spec: CodecSpec
    setting: Setting
    image: str
    image_sha256: str  # of the source's pixels
    width_px: int
    num_bytes: int
    sha256: str  # of the bytes
    encode_seconds: float | None  # on the machine that made it
    fields: Mapping[str, str]  # the whole line, by column


Key = tuple[CodecSpec, str, int, Setting]  # variant, source's pixels and width, setting
# Returns the bytes of a file by its name; None if it is absent or has more than so many bytes.
Files = Callable[[str, int], bytes | None]


@dataclass(frozen=True, slots=True)
class Pack:
    """An opened bitstream archive; `open_pack` makes it."""

    path: Path
    name: str
    notes: tuple[str, ...]
    infos: Mapping[CodecSpec, CodecInfo]
    streams: Mapping[Key, RecordedStream]
    sha256: str  # of pack.json and rows.csv, which name everything else
    files: Files

    def find(
        self, spec: CodecSpec, image_sha256: str, width_px: int, setting: Setting
    ) -> RecordedStream | None:
        """Return the stream of a codec variant for an image at a setting; None without one."""
        at = Setting(setting.name, float(setting.value))
        return self.streams.get((spec, image_sha256, width_px, at))

    def sweep(self, spec: CodecSpec) -> tuple[Setting, ...]:
        """Return the settings of a codec variant, lowest mean size first."""
        known = self.streams.values()
        sizes = by_key((of.setting, of.num_bytes) for of in known if of.spec == spec)
        return tuple(sorted(sizes, key=lambda setting: fmean(sizes[setting])))

    def to_run(self, codecs: NamedCodecs) -> "Pack":
        """Return the pack with streams of these codecs alone; `UsageError` for none, or code."""
        infos = {spec: info for spec, info in self.infos.items() if codecs.select(spec)}
        if not infos:
            known = ", ".join(spec.text for spec in self.infos)
            raise UsageError(f"{self.path} has none of these codecs; it has {known}")
        for spec in infos:
            if not codecs.may_run(spec):
                raise UsageError(f"{self.path}: {why_not_run(spec)}")
        streams = {key: it for key, it in self.streams.items() if it.spec in infos}
        return replace(self, infos=infos, streams=streams)

    def only(self, spec: CodecSpec, image_sha256: str, width_px: int, setting: Setting) -> "Pack":
        """Return the part in memory that a cell needs; raise `BadPack` if its stream is damaged."""
        stream, contents = self.find(spec, image_sha256, width_px, setting), dict[str, bytes]()
        streams = {}
        if stream is not None:
            streams = {(spec, image_sha256, width_px, stream.setting): stream}
            contents = {f"{STREAMS}/{stream.sha256}": self.read(stream)}
        infos = {spec: self.infos[spec]}
        return replace(self, infos=infos, streams=streams, files=partial(_in_memory, contents))

    def read(self, stream: RecordedStream) -> bytes:
        """Return the bytes of a stream; raise `BadPack` if they are missing or not as recorded."""
        data = self.content(stream)
        if len(data) != stream.num_bytes:
            what = f"has {len(data)} bytes, not {stream.num_bytes}"
            raise BadPack(self.path, f"its stream {stream.sha256[:8]} {what}")
        return data

    def content(self, stream: RecordedStream) -> bytes:
        """Return the bytes of a stream, of any number; raise `BadPack` if not of its sha256."""
        data = self.files(f"{STREAMS}/{stream.sha256}", LARGEST_FILE_BYTES)
        if data is None:
            raise BadPack(self.path, f"its stream {stream.sha256[:8]} is missing")
        if hashlib.sha256(data).hexdigest() != stream.sha256:
            raise BadPack(self.path, f"its stream {stream.sha256[:8]} is damaged")
        return data


class Recorded:
    """A codec whose `encode` returns streams of a pack; its `decode` is the codec's own."""

    def __init__(self, pack: Pack, spec: CodecSpec, codec: Codec) -> None:
        self.name = codec.name
        self.sweep = pack.sweep(spec)
        self._pack, self._spec, self._codec = pack, spec, codec

    def describe(self) -> CodecInfo:
        """Return the recorded information on what made the streams."""
        return self._pack.infos[self._spec]

    def find(self, image_sha256: str, width_px: int, setting: Setting) -> RecordedStream:
        """Return the recorded stream of an image; raise `ImageRefused` if there is none."""
        stream = self._pack.find(self._spec, image_sha256, width_px, setting)
        if stream is None:
            raise ImageRefused(f"{self._pack.path} has no stream of this image at {setting}")
        return stream

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the recorded bytes; raise `ImageRefused` if absent, `BadPack` if damaged."""
        return self._pack.read(self.find(pixels_sha256(pixels), pixels.shape[1], setting))

    def decode(self, data: bytes) -> Pixels:
        """Decode a stream with the codec's own decoder."""
        return self._codec.decode(data)


def open_pack(path: Path) -> Pack:
    """Read and check a pack's index; streams are checked when they are read. Raises `BadPack`."""
    import msgspec  # only where a pack is opened

    class Variant(msgspec.Struct):
        codec: str
        variant: str
        info: CodecInfo

    class Index(msgspec.Struct):
        format: str
        name: str
        streams: int
        codecs: list[Variant]
        notes: tuple[str, ...] = ()

    files = _files_of(path)
    index, rows = (files(name, LARGEST_INDEX_BYTES) for name in (INDEX, ROWS))
    if index is None or rows is None:
        name = INDEX if index is None else ROWS
        raise BadPack(path, f"it holds no {name}, or one of more than {LARGEST_INDEX_BYTES} bytes")
    file = INDEX
    try:
        header = parse_json(index, Index)
        infos = {CodecSpec.of(of.codec, of.variant): of.info for of in header.codecs}
        file = ROWS
        lines = _recorded_streams(parse_sheet(rows))
        streams: dict[Key, RecordedStream] = {}
        for it in lines:
            other = streams.setdefault((it.spec, it.image_sha256, it.width_px, it.setting), it)
            if other is not it:
                what = f"{it.spec.text} {it.setting} of the picture of line {other.line}"
                raise BadFile(f"line {it.line} has {what} a second time")
    except (BadFile, BadOption) as error:
        raise BadPack(path, f"{file}: {error}") from error
    if header.format != FORMAT:
        raise BadPack(path, f"{INDEX} does not say that its format is {FORMAT}")
    if not streams or len(streams) != header.streams:
        raise BadPack(path, f"{ROWS} has {len(streams)} streams, {INDEX} says {header.streams}")
    unknown = {stream.spec.text for stream in streams.values() if stream.spec not in infos}
    if unknown:
        raise BadPack(path, f"{INDEX} says nothing of {', '.join(sorted(unknown))}")
    digest = hashlib.sha256(index + rows).hexdigest()
    return Pack(path, header.name, header.notes, infos, streams, digest, files)


def packs_in(folder: Path) -> list[Pack]:
    """Open the packs of a folder, sorted by name. Raises `BadPack`."""
    tars = (path for path in folder.glob("*.tar") if is_regular(path))
    folders = (index.parent for index in folder.glob(f"*/{INDEX}"))
    return [open_pack(path) for path in sorted([*tars, *folders])]


def shipped_packs() -> list[Pack]:
    """Open the packs that are bundled with the project, sorted by name."""
    return packs_in(SHIPPED)


def with_variant(packs: Iterable[Pack], spec: CodecSpec) -> Pack | None:
    """Return the first pack that has streams of a codec variant, or None."""
    return next((pack for pack in packs if spec in pack.infos), None)


def _in_memory(contents: Mapping[str, bytes], name: str, most: int) -> bytes | None:
    data = contents.get(name)
    return None if data is None or len(data) > most else data


def _files_of(path: Path) -> Files:
    try:
        return _files_in_folder(path) if path.is_dir() else _files_in_tar(path)
    except BadTar as bad:
        raise BadPack(path, f"it is neither a folder nor a whole uncompressed tar: {bad}") from bad
    except OSError as error:
        raise BadPack(path, f"it cannot be read ({error.strerror or error})") from error


def _files_in_folder(folder: Path) -> Files:
    def read(name: str, most: int) -> bytes | None:
        with suppress(OSError):
            return read_regular(folder / name, most, within=folder)
        return None

    return read


def _files_in_tar(path: Path) -> Files:
    def refuse(name: str, why: str) -> None:
        raise BadTar(f"{name[:SHOWN_CHARACTERS]}: {why}")

    with open_regular(path) as tar:
        members: dict[str, TarInfo] = {}
        for member in files_of_tar(tar, refuse):
            if members.setdefault(member.name, member) is not member:
                raise BadTar(f"it has {member.name[:SHOWN_CHARACTERS]} twice")
    roots = [name for name in members if name.rpartition("/")[2] == INDEX]
    root = min(roots, key=len, default=INDEX).removesuffix(INDEX)

    def read(name: str, most: int) -> bytes | None:
        member = members.get(root + name)
        if member is None or member.size > most:
            return None
        with open_regular(path) as tar:  # by its place, so that no file stays open
            tar.seek(member.offset_data)
            return tar.read(member.size)

    return read


def _recorded_streams(sheet: Sheet) -> Iterator[RecordedStream]:
    """Yield the streams of rows.csv; raise `BadFile` with the number of a malformed line."""
    for (number, _), line in zip(sheet.lines, sheet.records(), strict=True):
        try:
            for name in ("stream_sha256", "image_sha256"):
                if not SHA256.fullmatch(line[name]):
                    raise BadFile(f"{name} is no sha256: {line[name]!r}")
            if not line["codec"]:
                raise BadFile("codec is empty")
            for name, kind, least in (("height_px", int, 1), ("coding_protocol", str, None)):
                value_of(line, name, kind, least)
            yield RecordedStream(
                number,
                CodecSpec.of_row(line),
                Setting(line["setting_name"], value_of(line, "setting_value", float, -math.inf)),
                line["image"],
                line["image_sha256"],
                value_of(line, "width_px", int, 1),
                value_of(line, "num_bytes", int, 1),
                line["stream_sha256"],
                value_of(line, "encode_seconds", float),
                line,
            )
        except (BadFile, BadOption) as error:
            raise BadFile(f"line {number}: {error}") from error
        except KeyError as error:
            raise BadFile(f"it has no column {error.args[0]}") from error


def value_of(line: Mapping[str, str], name: str, kind: type, least: float | None = None) -> Any:
    """Return a value of a line, None for an empty one unless it has a `least`; raise `BadFile`."""
    text = line[name]
    if not text and least is None:
        return None
    with suppress(KeyError, ValueError):
        value = {"True": True, "False": False}[text] if kind is bool else kind(text)
        if kind in (int, float) and "_" in text:  # as only Python writes numbers
            raise ValueError
        if (kind is not int or abs(value) <= LARGEST_WHOLE) and (least is None or value >= least):
            return value
    which = KINDS[kind] if least is None else KINDS[kind].replace("up to", f"from {least} to")
    raise BadFile(f"{name} is not {which}: {text!r}")
