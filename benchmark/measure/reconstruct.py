"""Reconstruct the pixels that were scored from a stored row and its stream."""

from collections.abc import Mapping
from typing import Any

from benchmark.codec import Codec, Pixels, Setting
from benchmark.measure.execute import Failed, decode_again
from benchmark.system.digest import pixels_sha256


def reconstruct(decoder: Codec, row: Mapping[str, Any], stream: bytes | None) -> Pixels | Failed:
    """Decode a row's stream and compare the pixels with the sha256 of what was measured."""
    setting = Setting(row["setting_name"], row["setting_value"])
    decoded = decode_again(decoder, row["image"], setting, stream)
    if isinstance(decoded, Failed):
        return decoded
    if pixels_sha256(decoded) != row["decoded_sha256"]:
        return Failed("verify", "the stream decodes to pixels that differ from the measured ones")
    return decoded
