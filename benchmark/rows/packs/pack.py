"""Pack (bitstream archive) on disk: streams of images, and their rows.

    rows.parquet           a row per stream, as in a shard, with notes and licences as metadata
    streams/abcd...        the bytes, named by their sha256
    pictures/abcd....png   decoded picture of a row of declared size without a stream, named by the
                           sha256 of its pixels

A pack is a folder of these files, or an uncompressed tar of the files or the folder. `export_pack`
writes packs; this module reads them without unpacking to disk.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from tarfile import TarInfo
from typing import TYPE_CHECKING, Any

from benchmark.codec import Codec, CodecInfo, Pixels, Setting, bits_per_pixel
from benchmark.errors import BadOption, BadPack, ImageRefused, UsageError
from benchmark.registry import is_python_file
from benchmark.rows.codecs import NAME, NamedCodecs, explain_refusal
from benchmark.rows.edition import Edition
from benchmark.rows.schema import cell_key, info_of, is_declared
from benchmark.rows.streams import parse_picture
from benchmark.spec import CodecSpec
from benchmark.system.digest import SHA256, pixels_sha256
from benchmark.system.foreign_files import (
    MAX_FOREIGN_FILE_BYTES,
    MAX_SHOWN_CHARACTERS,
    BadFile,
    BadTar,
    files_of_tar,
    is_regular,
    open_regular,
    read_regular,
)
from benchmark.system.machine import BUNDLED
from benchmark.system.text import group_by_key, parse_json

if TYPE_CHECKING:
    import polars as pl

ROWS, STREAMS, PICTURES = "rows.parquet", "streams", "pictures"
ABOUT = "pack"  # key of the metadata: notes, and licences by spec, as JSON
SHIPPED = BUNDLED / "packs"
RUN = "00000000T000000-pack"  # sorts before every run, so that rows measured here are preferred
MAX_ROWS_BYTES = 1 << 24  # size of rows.parquet; enough for 100,000 streams
MAX_STREAMS = 200_000
COLUMN_FORMS = {
    "image_sha256": SHA256,
    "dataset": re.compile(rf"{NAME.pattern}(:.+)?"),
    **dict.fromkeys(
        ("codec", "image", "setting_name", "coding_protocol", "codec_version", "command",
         "fingerprint"),
        re.compile(r"(?s).+"),
    ),
}  # fmt: skip
CONTENT_COLUMNS = {"measured": "stream_sha256", "declared": "decoded_sha256"}  # by origin
NUMBER_COLUMNS = ("setting_value", "width_px", "height_px", "num_bytes", "bpp", "revision")
# Columns that a pack's author cannot set: timed rows, for example, come only from this machine.
FIXED_VALUES = {
    "status": "ok",
    "timing": False,
    "recorded": True,
    "run": RUN,
    **dict.fromkeys(("stage", "reason", "attested")),
}

Row = dict[str, Any]
Key = tuple[CodecSpec, str, int, Setting]  # variant, source's pixels and width, setting
# Takes a file's name and maximum size; returns its bytes, or None if it is absent or larger.
Files = Callable[[str, int], bytes | None]


@dataclass(frozen=True, slots=True)
class Pack:
    """Opened bitstream archive; see `open_pack`."""

    path: Path
    notes: tuple[str, ...]
    infos: Mapping[CodecSpec, CodecInfo]
    rows: Mapping[Key, Row]  # with all columns of the table; bpp as recorded
    sha256: str  # digest of rows.parquet, which contains the digests of all other files
    files: Files

    def find(
        self, spec: CodecSpec, image_sha256: str, width_px: int, setting: Setting
    ) -> Row | None:
        """Return the row of a codec variant's stream of an image at a setting, or None."""
        key_setting = Setting(setting.name, float(setting.value))
        row = self.rows.get((spec, image_sha256, width_px, key_setting))
        return None if row is None or is_declared(row) else row

    def sweep(self, spec: CodecSpec) -> tuple[Setting, ...]:
        """Return the settings of a codec variant, lowest mean size first."""
        sizes = group_by_key(
            (setting, row["num_bytes"])
            for (variant, *_, setting), row in self.rows.items()
            if variant == spec
        )
        return tuple(sorted(sizes, key=lambda setting: fmean(sizes[setting])))

    def has_only_pictures(self, spec: CodecSpec) -> bool:
        """Return whether a codec variant has pictures of declared sizes and no stream."""
        rows = [row for (codec, *_), row in self.rows.items() if codec == spec]
        return bool(rows) and all(map(is_declared, rows))

    def select_codecs(self, codecs: NamedCodecs) -> "Pack":
        """Return the pack with only some codecs; `UsageError` if empty, or if code may not run."""
        infos = {
            spec: info for spec, info in self.infos.items() if codecs.select(Edition.create(spec))
        }
        if not infos:
            specs = ", ".join(spec.text for spec in self.infos)
            raise UsageError(f"{self.path} has none of these codecs: choose one of {specs}")
        for spec in infos:
            if not (codecs.may_run(spec) or self.has_only_pictures(spec)):
                raise UsageError(f"{self.path}: {explain_refusal(spec)}")
        rows = {key: row for key, row in self.rows.items() if key[0] in infos}
        return replace(self, infos=infos, rows=rows)

    def part_for_cell(
        self, spec: CodecSpec, image_sha256: str, width_px: int, setting: Setting
    ) -> "Pack":
        """Return the part of the pack that a cell needs, in memory; `BadPack` if damaged."""
        row, contents = self.find(spec, image_sha256, width_px, setting), dict[str, bytes]()
        rows = {}
        if row is not None:
            recorded_setting = Setting(row["setting_name"], row["setting_value"])
            rows = {(spec, image_sha256, width_px, recorded_setting): row}
            contents = {f"{STREAMS}/{row['stream_sha256']}": self.read(row)}
        infos = {spec: self.infos[spec]}
        return replace(self, infos=infos, rows=rows, files=partial(_read_memory, contents))

    def read(self, row: Mapping[str, Any]) -> bytes:
        """Return the bytes of a stream; raise `BadPack` if missing or not as recorded."""
        data = self.stream(row)
        if len(data) != row["num_bytes"]:
            problem = f"has {len(data)} bytes, not {row['num_bytes']}"
            raise BadPack(self.path, f"its stream {row['stream_sha256'][:8]} {problem}")
        return data

    def stream(self, row: Mapping[str, Any]) -> bytes:
        """Return the bytes of a stream of any size; raise `BadPack` if their sha256 differs."""
        digest = row["stream_sha256"]
        data = self.files(f"{STREAMS}/{digest}", MAX_FOREIGN_FILE_BYTES)
        if data is None:
            raise BadPack(self.path, f"its stream {digest[:8]} is missing")
        if hashlib.sha256(data).hexdigest() != digest:
            raise BadPack(self.path, f"its stream {digest[:8]} is damaged")
        return data

    def picture(self, row: Mapping[str, Any]) -> Pixels | None:
        """Return the picture of a row of declared size, else None; `BadPack` if damaged."""
        if not is_declared(row):
            return None
        digest = row["decoded_sha256"]
        png = self.files(f"{PICTURES}/{digest}.png", MAX_FOREIGN_FILE_BYTES)
        if png is None:
            raise BadPack(self.path, f"its picture {digest[:8]} is missing")
        try:
            return parse_picture(png, digest)
        except ImageRefused as refused:
            raise BadPack(self.path, f"its picture {refused}") from refused


class RecordedCodec:
    """Codec that encodes by returning a pack's streams, and decodes with the actual codec."""

    def __init__(self, pack: Pack, spec: CodecSpec, codec: Codec) -> None:
        self.name = codec.name
        self.sweep = pack.sweep(spec)
        self._pack, self._spec, self._codec = pack, spec, codec

    def describe(self) -> CodecInfo:
        """Return the recorded information on the codec."""
        return self._pack.infos[self._spec]

    def find(self, image_sha256: str, width_px: int, setting: Setting) -> Row:
        """Return the recorded row of an image; raise `ImageRefused` if there is none."""
        row = self._pack.find(self._spec, image_sha256, width_px, setting)
        if row is None:
            raise ImageRefused(f"{self._pack.path} has no stream of this image at {setting}")
        return row

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the recorded bytes; raise `ImageRefused` if absent, `BadPack` if damaged."""
        return self._pack.read(self.find(pixels_sha256(pixels), pixels.shape[1], setting))

    def decode(self, data: bytes) -> Pixels:
        """Decode a stream with the codec's own decoder."""
        return self._codec.decode(data)


def open_pack(path: Path) -> Pack:
    """Read and check a pack's rows; streams are checked when read. Raises `BadPack`."""
    import msgspec  # imported only if a pack is opened

    from benchmark.rows.shard import BadShard, fill_columns, parse_shard, read_fact

    class PackNotes(msgspec.Struct):
        notes: tuple[str, ...] = ()
        licences: dict[str, str] = {}

    files = _open_files(path)
    content = files(ROWS, MAX_ROWS_BYTES)
    if content is None:
        raise BadPack(path, f"it has no {ROWS}, or one with more than {MAX_ROWS_BYTES} bytes")
    try:
        table = fill_columns(parse_shard(content))
        about = parse_json(read_fact(content, ABOUT) or "{}", PackNotes)
        rows, infos = _check_rows(table, about.licences)
    except (BadShard, BadFile, BadOption) as error:
        raise BadPack(path, f"{ROWS}: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    return Pack(path, about.notes, infos, rows, digest, files)


def _check_rows(
    table: "pl.DataFrame", licences: Mapping[str, str]
) -> tuple[dict[Key, Row], dict[CodecSpec, CodecInfo]]:
    """Return checked rows by key, and codec information by variant; raise `BadFile`."""
    if not 1 <= table.height <= MAX_STREAMS:
        raise BadFile(f"it has {table.height} rows, but 1 to {MAX_STREAMS} are allowed")
    rows, infos = dict[Key, Row](), dict[CodecSpec, CodecInfo]()
    for number, row in enumerate(table.rows(named=True), 1):
        origin = "declared" if is_declared(row) else "measured"
        forms = {**COLUMN_FORMS, CONTENT_COLUMNS[origin]: SHA256}
        bad_columns = [name for name, form in forms.items() if not form.fullmatch(row[name] or "")]
        bad_columns += [name for name in NUMBER_COLUMNS if row[name] is None]
        if bad_columns or not row["num_bytes"] or is_python_file(row["dataset"]):
            name = [*bad_columns, "dataset" if row["num_bytes"] else "num_bytes"][0]
            raise BadFile(f"row {number} has the invalid {name} {row[name]!r}")
        spec, setting = CodecSpec.parse_row(row), Setting(row["setting_name"], row["setting_value"])
        source = row["image_sha256"], row["width_px"]
        info = info_of(row, licences.get(spec.text, "NOASSERTION"))
        if infos.setdefault(spec, info) != info:
            raise BadFile(f"row {number} has a different version of {spec.text} than earlier rows")
        if (spec, *source, setting) in rows:
            raise BadFile(f"row {number} repeats {spec.text} {setting} of an image")
        key = cell_key(spec, info, setting, *source, row["coding_protocol"])
        checked_row = {**row, **FIXED_VALUES, "bytes_origin": origin, "cell": key}
        checked_row["variant"] = spec.variant
        if origin == "declared":
            checked_row["stream_sha256"] = None
        rows[spec, *source, setting] = checked_row
    return rows, infos


def recompute_rate(row: Row) -> Row:
    """Replace a row's recorded rate by the rate of its bytes."""
    return {**row, "bpp": bits_per_pixel(row["num_bytes"], row["width_px"] * row["height_px"])}


def packs_in(folder: Path) -> list[Pack]:
    """Open the packs of a folder, sorted by name. Raises `BadPack`."""
    tars = (path for path in folder.glob("*.tar") if is_regular(path))
    folders = (rows.parent for rows in folder.glob(f"*/{ROWS}"))
    return [open_pack(path) for path in sorted([*tars, *folders])]


def shipped_packs() -> list[Pack]:
    """Open the packs bundled with the project, sorted by name."""
    return packs_in(SHIPPED)


def find_pack(packs: Iterable[Pack], spec: CodecSpec) -> Pack | None:
    """Return the first pack with rows of a codec variant, or None."""
    return next((pack for pack in packs if spec in pack.infos), None)


def _read_memory(contents: Mapping[str, bytes], name: str, max_bytes: int) -> bytes | None:
    data = contents.get(name)
    return None if data is None or len(data) > max_bytes else data


def _open_files(path: Path) -> Files:
    try:
        return _files_in_folder(path) if path.is_dir() else _files_in_tar(path)
    except BadTar as bad:
        raise BadPack(path, f"it is neither a folder nor an uncompressed tar: {bad}") from bad
    except OSError as error:
        raise BadPack(path, f"it cannot be read ({error.strerror or error})") from error


def _files_in_folder(folder: Path) -> Files:
    def read(name: str, max_bytes: int) -> bytes | None:
        with suppress(OSError):
            return read_regular(folder / name, max_bytes, within=folder)
        return None

    return read


def _files_in_tar(path: Path) -> Files:
    def refuse(name: str, problem: str) -> None:
        raise BadTar(f"{name[:MAX_SHOWN_CHARACTERS]}: {problem}")

    with open_regular(path) as tar:
        members: dict[str, TarInfo] = {}
        for member in files_of_tar(tar, refuse):
            if members.setdefault(member.name, member) is not member:
                raise BadTar(f"it has {member.name[:MAX_SHOWN_CHARACTERS]} twice")
    roots = [name for name in members if name.rpartition("/")[2] == ROWS]
    root = min(roots, key=len, default=ROWS).removesuffix(ROWS)

    def read(name: str, max_bytes: int) -> bytes | None:
        member = members.get(root + name)
        if member is None or member.size > max_bytes:
            return None
        with open_regular(path) as tar:  # reopened for each read, so that no file stays open
            tar.seek(member.offset_data)
            return tar.read(member.size)

    return read
