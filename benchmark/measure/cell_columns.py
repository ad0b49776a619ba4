"""Columns of a coded cell: sizes, seconds, memory, digests, and its codec's declared work."""

from contextlib import suppress
from hashlib import sha256
from typing import Any

from benchmark.codec import Codec
from benchmark.codec_spec import CodecSpec
from benchmark.datasets.dataset import Source
from benchmark.facts import Facts, Work
from benchmark.measure.execute import Coded
from benchmark.protocol import bits_per_pixel
from benchmark.system.digest import pixels_sha256

Row = dict[str, Any]

IN_NO_ROW = ("stream", "decoded")  # of `Coded`


def coded_columns(coded: Coded, source: Source) -> Row:
    """Return what the two calls came to; metrics are not among it."""
    return {
        **{name: value for name, value in coded._asdict().items() if name not in IN_NO_ROW},
        "status": "ok",
        "bytes_origin": "declared" if coded.stream is None else "measured",
        "bpp": bits_per_pixel(coded.num_bytes, source.width_px * source.height_px),
        "stream_sha256": None if coded.stream is None else sha256(coded.stream).hexdigest(),
        "decoded_sha256": pixels_sha256(coded.decoded),
    }


def work_of(spec: CodecSpec, codec: Codec) -> Work:
    """Return what a codec's class declares; nothing of another checkpoint than its own."""
    with suppress(Exception):  # foreign code
        facts: Any = getattr(type(codec), "facts", None)
        declared = facts(dict(spec.options)) if callable(facts) else facts
        if isinstance(declared, Facts) and "checkpoint" not in dict(spec.options):
            weights, *work = declared.work
            kmac = (None if each is None else float(each) for each in work)
            return Work(None if weights is None else int(weights), *kmac)
    return Work()
