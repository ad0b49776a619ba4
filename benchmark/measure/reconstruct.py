"""Reconstruct the pixels that were scored from a stored row and its stream."""

from collections.abc import Mapping
from typing import Any

from benchmark.codec import Codec, Pixels, Setting
from benchmark.measure.execute import Failed, decode_again
from benchmark.system.digest import pixels_sha256

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
