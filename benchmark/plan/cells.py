"""Cells, the measurements that a run consists of. Pure: no disk, no codec, no clock."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.codec import Between, CodecInfo, OneOf, Setting
from benchmark.codec_spec import CodecSpec
from benchmark.datasets.dataset import Source
from benchmark.packs.pack import Pack
from benchmark.protocol import CODING
from benchmark.rows.schema import cell_key

NAMES_SHOWN = 5


class Contender(NamedTuple):
    """A codec variant that runs here, with the settings to measure it at."""

    spec: CodecSpec
    info: CodecInfo
    sweep: tuple[Setting, ...]
    pack: Pack | None = None  # whose streams are used instead of encoding
    encoder_lacks: str = ""  # why that is so, unless the pack was asked for
    accepts: Between | OneOf | None = None  # the settings that it takes, if it declares them

    def can_code(self, source: Source, setting: Setting) -> bool:
        """Return whether there is an encoder, or a recorded stream."""
        found = self.pack and self.pack.find(self.spec, source.sha256, source.width_px, setting)
        return self.pack is None or found is not None


class Cell(NamedTuple):
    """A measurement to make: one image coded by one codec variant at one setting."""

    codec: CodecSpec
    info: CodecInfo
    setting: Setting
    dataset: str
    source: Source
    pack: Path | None = None  # where the stream is recorded, if the codec need not encode

    @property
    def key(self) -> str:
        """The identity of its row in the store."""
        source = self.source.sha256, self.source.width_px
        return cell_key(self.codec, self.info, self.setting, *source, CODING)


def plan(contenders: Sequence[Contender], dataset: str, sources: Iterable[Source]) -> list[Cell]:
    """Return codecs x settings x images, images outermost: an early stop is a fair sample.

    Of a codec whose streams come from a pack, what the pack has; `lacking` tells the rest.
    """
    return [
        Cell(one.spec, one.info, setting, dataset, source, one.pack.path if one.pack else None)
        for source in sources
        for one in contenders
        for setting in one.sweep
        if one.can_code(source, setting)
    ]


def lacking(contender: Contender, sources: Sequence[Source]) -> str:
    """Return a sentence on the images that a contender's pack lacks; empty for none."""
    if contender.pack is None:
        return ""
    images = [
        source.file.name
        for source in sources
        if not all(contender.can_code(source, setting) for setting in contender.sweep)
    ]
    if not images:
        return ""
    shown = ", ".join(images[:NAMES_SHOWN]) + (", ..." if len(images) > NAMES_SHOWN else "")
    whose = f"{contender.encoder_lacks}; and " if contender.encoder_lacks else ""
    return (
        f"{whose}{contender.pack.path} has no streams, or not at every setting, of "
        f"{len(images)} of {len(sources)} images: {shown}"
    )
