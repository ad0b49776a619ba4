"""Which measurements a run consists of. Pure: no disk, no codec, no clock."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmark.codec import CodecInfo, Setting
from benchmark.protocol import CODING
from benchmark.registry import CodecSpec
from benchmark.source import Source


class Contender(NamedTuple):
    """A codec variant that runs here, with the settings to measure it at."""

    spec: CodecSpec
    info: CodecInfo
    sweep: tuple[Setting, ...]


class Cell(NamedTuple):
    """One measurement to make."""

    codec: CodecSpec
    info: CodecInfo
    setting: Setting
    dataset: str
    source: Source

    @property
    def key(self) -> str:
        """sha256 of all that decides the stream: the identity of the row in the store.

        Another library, weight file, adapter revision or coding rule is another cell, so an old
        row is never taken for a new one, nor measured again.
        """
        parts = [
            self.codec.name,
            self.codec.variant,
            self.info.fingerprint,
            self.info.revision,
            self.setting.name,
            float(self.setting.value),
            self.source.sha256,
            self.source.width_px,
            CODING,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def plan(contenders: Sequence[Contender], dataset: str, sources: Iterable[Source]) -> list[Cell]:
    """Every codec × setting × image, images outermost so that an early stop is a fair sample."""
    return [
        Cell(contender.spec, contender.info, setting, dataset, source)
        for source in sources
        for contender in contenders
        for setting in contender.sweep
    ]
