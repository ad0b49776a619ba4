"""Seconds of encoding and decoding an image, with the device's clock and the CPU's in step.

A call begins after the device has done everything before, and ends with bytes or pixels in the
processor's memory, for which the device is waited for: as `bench run` times codecs.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any

from benchmark.codec import Setting
from tools.gpu.conditions import Conditions, on_device
from tools.gpu.networks import NamedNetwork, networks
from tools.gpu.part import Cell, Found, failures, measured, table

TITLE = "Seconds of encoding and decoding"
CLAIM = "No target: medians over images of one call each, the first image once before that."
IMAGES, SMALL_IMAGES = 5, 1


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for every network and device, the one that is measured first."""
    for device in conditions.devices:
        for network in networks(conditions):
            yield Cell(f"{network.name}/{device}", partial(timed, conditions, network, device))


def timed(conditions: Conditions, network: NamedNetwork, device: str) -> dict[str, Any]:
    """Time an encoding and a decoding of the first images at the network's middle setting."""
    with on_device(device):
        codec = network.make()
    count = SMALL_IMAGES if conditions.small else IMAGES
    images = [pixels for _, pixels in islice(conditions.images(), count)]
    setting: Setting = network.settings[len(network.settings) // 2]
    codec.decode(codec.encode(images[0], setting))
    encode, decode = [], []
    for pixels in images:
        conditions.synchronise(device)
        started = perf_counter()
        stream = codec.encode(pixels, setting)
        conditions.synchronise(device)
        encoded = perf_counter()
        codec.decode(stream)
        conditions.synchronise(device)
        decode.append(perf_counter() - encoded)
        encode.append(encoded - started)
    height, width, _ = images[0].shape
    return {
        "encode_seconds": median(encode),
        "decode_seconds": median(decode),
        "images": len(images),
        "pixels": height * width,
    }


def section(found: Found) -> list[str]:
    """Return a table with a row for each network and device."""
    lines = [
        (
            *key.split("/"), row["images"], f"{row['encode_seconds']:.3f}",
            f"{row['decode_seconds']:.3f}",
        )
        for key, row in measured(found).items()
    ]  # fmt: skip
    header = ("network", "device", "images", "encode, s", "decode, s")
    return [*table(header, lines), *failures(found)]
