"""Streams and pictures of the GPU against those of the CPU, network by network."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmark.codec import Pixels, Setting
from tools.gpu.conditions import Conditions, on_device
from tools.gpu.networks import NamedNetwork, networks
from tools.gpu.part import Cell, Found, cells_of, failures, table

TITLE = "Streams and pictures on both devices"
CLAIM = (
    "A stream of either device decodes on both, to pictures within one level; encoders write the "
    "same bytes."
)
LEVELS = 1


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for every image, network and setting, images outermost."""
    for image, pixels in conditions.images():
        for network in networks(conditions):
            for setting in network.settings:
                key = f"{network.name}/{setting}/{image}"
                yield Cell(key, partial(compared, conditions, network, setting, pixels))


def compared(
    conditions: Conditions, network: NamedNetwork, setting: Setting, pixels: Pixels
) -> dict[str, Any]:
    """Code an image on both devices, and decode each stream on both if it may cross."""
    codecs = []
    for device in (conditions.device, "cpu"):
        with on_device(device):
            codecs.append(network.make())
    streams = [codec.encode(pixels, setting) for codec in codecs]
    same = streams[0] == streams[1]
    if network.crosses:
        pairs = [[codec.decode(stream) for codec in codecs] for stream in dict.fromkeys(streams)]
    else:
        pairs = [[codec.decode(stream) for codec, stream in zip(codecs, streams, strict=True)]]
    levels = max(int(np.abs(one.astype(int) - other).max()) for one, other in pairs)
    return {
        "bytes": [len(one) for one in streams],
        "same_bytes": same,
        "levels": levels,
        "held": levels <= LEVELS if network.crosses or same else None,
    }


def section(found: Found) -> list[str]:
    """Return a table with a row for each network."""
    lines = []
    for name, rows in cells_of(found).items():
        same = sum(row["same_bytes"] for row in rows)
        differ = [abs(row["bytes"][0] / row["bytes"][1] - 1) for row in rows]
        lines.append(
            (
                name, len(rows), f"{same} of {len(rows)}", f"{100 * max(differ):.2f} %",
                max(row["levels"] for row in rows),
            )
        )  # fmt: skip
    header = ("network", "streams", "same bytes", "largest difference in bytes", "in levels")
    return [*table(header, lines), *failures(found)]
