"""Reconstruct the pixels that were scored from stored rows, here or in fresh processes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.codec import Codec, Pixels, Setting
from benchmark.errors import BenchError
from benchmark.measure.decoders import decode_all
from benchmark.measure.execute import Failed, decode_again
from benchmark.rows.packs.contents import DatasetContents
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.digest import pixels_sha256
from benchmark.system.settings import Device

NOT_KEPT = Failed("load", "its stream was not kept")
StoredRow = Mapping[str, Any]


def reconstruct(decoder: Codec, row: StoredRow, stream: bytes | None) -> Pixels | Failed:
    """Decode a row's stream and compare the pixels with the sha256 of what was measured."""
    setting = Setting(row["setting_name"], row["setting_value"])
    return as_scored(row, decode_again(decoder, row["image"], setting, stream))


def as_scored(row: StoredRow, decoded: Pixels | Failed) -> Pixels | Failed:
    """Return the pixels if they are those that were measured, else a failure."""
    if isinstance(decoded, Failed) or pixels_sha256(decoded) == row["decoded_sha256"]:
        return decoded
    return Failed("verify", "the stream decodes to pixels that differ from the measured ones")


def reconstruct_all(
    rows: Sequence[StoredRow], contents: DatasetContents, device: Device, jobs: int
) -> Iterator[tuple[int, Pixels | Failed] | None]:
    """Reconstruct the pixels of rows in fresh processes; yield places in `rows` and pixels.

    They come as they complete, codec by codec, and None at least once a second. What was decoded on
    another kind of device than this `device` is decoded on that kind, since pixels may differ. A
    failure of the stage "load" is of what this machine lacks.
    """
    groups: dict[tuple[CodecSpec, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        spec = CodecSpec.of(row["codec"], row["variant"])
        if row["bytes_origin"] == "declared":
            try:
                yield place, reconstruct(load_codec(spec), row, None)
            except BenchError as error:
                yield place, Failed("load", str(error))
        else:
            groups[spec, device if row["device"] == device else "cpu"].append(place)
    unread: list[tuple[int, Failed]] = []

    def streams(places: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        for place in places:
            try:
                if (data := contents.stream(rows[place])) is None:
                    unread.append((place, NOT_KEPT))
                else:
                    yield str(place), data
            except (BenchError, OSError) as error:
                unread.append((place, Failed("decode", str(error))))

    for (spec, where), places in groups.items():
        for done in decode_all(spec, streams(places), where, jobs):
            place = int(done[0]) if done else 0
            yield done and (place, as_scored(rows[place], done[2]))
    yield from unread
