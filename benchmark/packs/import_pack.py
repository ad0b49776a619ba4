"""Import a pack: its rows, marked as recorded, and its streams, into the store."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from benchmark.errors import BadPack
from benchmark.packs.export_pack import LEFT_OUT
from benchmark.packs.pack import Pack, RecordedStream
from benchmark.protocol import bits_per_pixel
from benchmark.rows.runs import NAME, new_run_id, run_record
from benchmark.rows.schema import cell_key, table_schema
from benchmark.rows.store import Store

Row = dict[str, Any]


class Imported(NamedTuple):
    """Counts of the rows imported into one dataset's store."""

    folder: Path
    added: int
    there: int  # cells that had a row before


def import_pack(pack: Pack, results: Path, arguments: list[str]) -> list[Imported]:
    """Add the pack's rows and streams to the results, except for cells that have a row.

    arguments: of the command, for the record. Every row and stream of a dataset is checked before
    anything of that dataset is written. Raises `BadPack`.
    """
    by_store: dict[str, list[RecordedStream]] = {}
    for one in pack.streams.values():
        by_store.setdefault(_store_name(pack, one), []).append(one)
    return [
        _import_dataset(pack, recorded, Store(results / name), arguments)
        for name, recorded in sorted(by_store.items())
    ]


def row_of(pack: Pack, recorded: RecordedStream, run: str) -> Row:
    """Return a stream of the pack as a row of the store; raise `BadPack` for a malformed value."""
    kinds = {field.name: field.type for field in table_schema()}
    info = pack.infos[recorded.spec]
    try:
        row: Row = {
            name: _value(text, kinds[name])
            for name, text in recorded.fields.items()
            if name in kinds and name not in LEFT_OUT
        }
        bpp = bits_per_pixel(recorded.num_bytes, recorded.width_px, row["height_px"])
        source = recorded.image_sha256, recorded.width_px, row["coding_protocol"]
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadPack(pack.path, f"a line of {recorded.image} cannot be read ({reason})") from error
    return row | {
        "cell": cell_key(recorded.spec, info, recorded.setting, *source),
        "run": run,
        "variant": recorded.spec.variant,
        "status": "ok",
        "bytes_origin": "measured",
        "bpp": bpp,
        "timing": False,  # a timed row is always of this machine
        "codec_version": info.version,
        "command": info.command,
        "timed": info.timed,
        "fingerprint": info.fingerprint,
        "revision": info.revision,
        "caveat": info.caveat,
        "chroma": info.chroma or None,
        "tuned_for": info.tuned_for or None,
        "device": info.device,
        "recorded": True,
    }


def _import_dataset(
    pack: Pack, recorded: Sequence[RecordedStream], store: Store, arguments: list[str]
) -> Imported:
    run = new_run_id(store.folder)
    rows = [row_of(pack, one, run) for one in recorded]
    streams = [pack.read(one) for one in recorded]
    stored = store.read()
    done = stored.done() & {row["cell"] for row in rows}
    done -= stored.without_stream(store, done)
    fresh = [row for row in rows if row["cell"] not in done]
    if fresh:
        told = {"path": str(pack.path), "name": pack.name, "sha256": pack.sha256}
        codecs = {spec.text: asdict(info) for spec, info in pack.infos.items()}
        facts = {"imported": told, "notes": list(pack.notes), "codecs": codecs}
        store.begin(run, run_record(arguments, **facts))
        store.keep_all(streams)
        store.append(fresh)
        store.compact()
    return Imported(store.folder, len(fresh), len(rows) - len(fresh))


def _value(text: str | None, kind: pa.DataType) -> Any:
    if not text:
        return None
    if pa.types.is_integer(kind):
        number = int(text)
        if number.bit_length() > 63:
            raise ValueError(f"a number of {number.bit_length()} bits")
        return number
    if pa.types.is_floating(kind):
        return float(text)
    if pa.types.is_boolean(kind):
        if text not in ("True", "False"):
            raise ValueError(f"{text!r} is neither True nor False")
        return text == "True"
    return text


def _store_name(pack: Pack, recorded: RecordedStream) -> str:
    name = (recorded.fields.get("dataset") or "").partition(":")[0]
    if not NAME.fullmatch(name):
        raise BadPack(pack.path, f"{name!r} is no name of a dataset")
    return name
