"""Made-up rows of measurements, for tests of everything that reads rows."""

import hashlib
from collections.abc import Sequence
from typing import Any

import polars as pl

from benchmark.metrics.metric import protocols
from benchmark.registry import METRICS
from benchmark.rows.shard import table_of

PROTOCOLS = protocols(METRICS)
WIDTH, HEIGHT = 100, 80


def row(codec: str, quality: float, image: str, **columns: Any) -> dict[str, Any]:
    """Return the row of a finished cell; numbers follow from setting and image unless given."""
    metrics = {
        "psnr_db": 20 + quality / 5 + len(image) / 7,
        "psnr_y_db": 21 + quality / 5 + len(image) / 7, "ms_ssim": 1 - 1 / (2 + quality),
        "lpips_alex": 1 / (2 + quality),
    }  # fmt: skip
    ids = {f"{name}_protocol": PROTOCOLS[name] for name in metrics}
    num_bytes = columns.get("num_bytes", int(20 * quality + 10 * len(image)))
    filled = {
        "run": "20250101T000000-aa", "finished_utc": "2025-01-01T00:00:00.000+00:00",
        "codec": codec, "variant": "", "setting_name": "quality", "setting_value": float(quality),
        "dataset": "set", "image": image, "width_px": WIDTH, "height_px": HEIGHT,
        "image_sha256": hashlib.sha256(image.encode()).hexdigest(), "status": "ok",
        "num_bytes": num_bytes, "bytes_origin": "measured", "bpp": 8 * num_bytes / (WIDTH * HEIGHT),
        "encode_seconds": 0.2, "decode_seconds": 0.1, "timing": False, "timed": "one call",
        "jobs": 2, "threads": 1, "machine": "Some CPU, 2 cores", "device": "cpu",
        "codec_version": "1.0", "command": "call({quality})", "fingerprint": "f" * 64,
        "revision": 1, "caveat": "", "coding_protocol": PROTOCOLS["coding"],
        **metrics, **ids, **columns,
    }  # fmt: skip
    parts = [filled[n] for n in ("codec", "variant", "setting_value", "image", "fingerprint")]
    return {"cell": "/".join(map(str, parts)), **filled}


def failed(codec: str, quality: float, image: str, stage: str, reason: str) -> dict[str, Any]:
    names = ["num_bytes", "bytes_origin", "bpp", "encode_seconds", "decode_seconds"]
    for name in PROTOCOLS.keys() - {"coding"}:
        names += [name, f"{name}_protocol"]
    failure = {"status": "failed", "stage": stage, "reason": reason}
    return row(codec, quality, image) | dict.fromkeys(names) | failure


def change_rows(rows: Sequence[Any], where: Any = None, **columns: Any) -> list[Any]:
    """Return rows, with these columns in each one that has all values of `where`."""
    where = where or {}
    return [row | columns if where.items() <= row.items() else row for row in rows]


def table(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return table_of(rows)


def sweep(codec: str, images: Sequence[str] = ("a", "bb", "ccc"), **columns: Any) -> list[Any]:
    return [row(codec, q, image, **columns) for q in (5, 10, 20, 40, 60, 80) for image in images]


def scaled_sweep(codec: str, factor: float = 1.0, **columns: Any) -> list[Any]:
    return [row | {"num_bytes": int(row["num_bytes"] * factor)} for row in sweep(codec, **columns)]


def doubling(codec: str, share: float, offset_db: float = 0.0, **columns: Any) -> list[Any]:
    """Return rows of two pictures at five settings, 5 dB and a doubling of the bytes apart."""
    return [
        row(codec, 10.0 * n, image, num_bytes=round(share * 1000 * 2**n),
            psnr_db=20.0 + 5 * n + offset_db + len(image), **{"dataset": "sample", **columns})
        for n in range(1, 6) for image in ("a", "bb")
    ]  # fmt: skip


def beta_rows(beta: float, build="bundled", options="", worse=0.0, **columns: Any) -> list[Any]:
    """Return rows of our codec at three rates: a realism weight costs PSNR and gains LPIPS."""
    protocol = {"lpips_squeeze_protocol": PROTOCOLS["lpips_squeeze"]}
    return [
        row("ours", q, image, variant=f"beta={beta:g}{options}", setting_name="q",
            fingerprint=build, codec_version=f"checkpoint {build}: 9 steps",
            num_bytes=1000 * 2**q, psnr_db=30.0 + 3 * q - beta - worse,
            stream_sha256=f"s{beta}{options}{q}{image}{build}{worse}",
            decoded_sha256=f"d{beta}{q}{image}{worse}",
            lpips_alex=0.2 / (1 + q + beta),
            **{"lpips_squeeze": 0.2 / (1 + q + beta) + worse, **protocol, **columns})
        for q in (0, 1, 2) for image in ("a", "bb", "ccc")
    ]  # fmt: skip
