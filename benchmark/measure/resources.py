"""What a cell names to what it stands for: pixels, codecs, packs, kept streams, on this machine.

A worker on another machine, which may see none of these files, is given them some other way.
"""

from pathlib import Path
from typing import Any

from benchmark.codec import Pixels
from benchmark.datasets.source import Source
from benchmark.packs.pack import Pack, open_pack
from benchmark.plan.cells import Cell
from benchmark.registry import CodecSpec, load_codec
from benchmark.rows.features import FeatureFolder


class Resources:
    """Those of this machine's disk."""

    def __init__(self) -> None:
        self._packs: dict[Path, Pack] = {}

    def pixels(self, source: Source, flatten: bool) -> Pixels:
        """The image; `ImageRefused` where it cannot be read."""
        from benchmark.datasets.image import read_image

        return read_image(source.file.path, flatten).pixels

    def codec(self, spec: CodecSpec) -> Any:
        """A new instance."""
        return load_codec(spec)

    def pack(self, cell: Cell) -> Pack | None:
        """The pack that a cell's stream is recorded in, if it is; `BadPack` where there is none."""
        if cell.pack is None:
            return None
        return self._packs.get(cell.pack) or self._packs.setdefault(cell.pack, open_pack(cell.pack))

    def stream(self, folder: Path, digest: str | None) -> bytes | None:
        """A stream kept in the store below `folder`; `StoreError` where it is damaged."""
        from benchmark.rows.store import Store  # brings pyarrow, which measuring does without

        return Store(folder).stream(digest)

    def has_features(self, folder: Path, protocol: str, pixels_sha256: str) -> bool:
        """Whether the store below `folder` keeps the features of an image."""
        return FeatureFolder(folder).has(protocol, pixels_sha256)
