"""The identity of a cell: one sha256 of everything that decides its stream."""

import hashlib
import json

from benchmark.codec import CodecInfo, Setting
from benchmark.codec_spec import CodecSpec


def cell_key(
    codec: CodecSpec,
    info: CodecInfo,
    setting: Setting,
    source_sha256: str,
    width_px: int,
    coding_protocol: str,
) -> str:
    """Return the hexadecimal sha256 of all that decides the stream.

    Another library, weight file, adapter revision or coding rule is another cell, so that a row is
    neither taken for one of another version nor measured again.
    """
    parts = [
        codec.name,
        codec.variant,
        info.fingerprint,
        info.revision,
        setting.name,
        float(setting.value),
        source_sha256,
        width_px,
        coding_protocol,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
