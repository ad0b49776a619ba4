"""Reconstruct the pixels of many stored rows in fresh processes, several at a time."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from benchmark.codec import Pixels
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.errors import BenchError
from benchmark.measure.engine.decoders import decode_all
from benchmark.measure.execute import Failed
from benchmark.measure.reconstruct import StoredRow, as_scored, reconstruct
from benchmark.packs.contents import DatasetContents
from benchmark.system.device import Device

NOT_KEPT = Failed("load", "its stream was not kept")


def reconstruct_all(
    rows: Sequence[StoredRow], contents: DatasetContents, device: Device, jobs: int
) -> Iterator[tuple[int, Pixels | Failed] | None]:
    """Reconstruct the pixels of rows in fresh processes; yield places in `rows` and pixels.

    They come as they complete, codec by codec, and None at least once a second while none does.
    device: of this machine; what was decoded on another kind of device when it was scored is
    decoded on that kind if possible, since sums of floats, and so pixels, may differ. jobs: streams
    to decode at the same time. A failure of the stage "load" is of what this machine lacks.
    """
    groups: dict[tuple[CodecSpec, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        spec = CodecSpec.of(row["codec"], row["variant"])
        if row["bytes_origin"] == "declared":
            yield place, _declared(spec, row)
        else:
            groups[spec, device if row["device"] == device else "cpu"].append(place)
    for (spec, where), places in groups.items():
        unread: list[tuple[int, Failed]] = []
        streams = _streams(rows, places, contents, unread)
        for done in decode_all(spec, streams, where, jobs):
            if done is None:
                yield None
            else:
                place = int(done[0])
                yield place, as_scored(rows[place], done[2])
        yield from unread


def _declared(spec: CodecSpec, row: StoredRow) -> Pixels | Failed:
    try:
        return reconstruct(load_codec(spec), row, None)
    except BenchError as error:
        return Failed("load", str(error))


def _streams(
    rows: Sequence[StoredRow],
    places: Sequence[int],
    contents: DatasetContents,
    unread: list[tuple[int, Failed]],
) -> Iterator[tuple[str, bytes]]:
    for place in places:
        try:
            data = contents.stream(rows[place])
        except (BenchError, OSError) as error:
            unread.append((place, Failed("decode", str(error))))
            continue
        if data is None:
            unread.append((place, NOT_KEPT))
        else:
            yield str(place), data
