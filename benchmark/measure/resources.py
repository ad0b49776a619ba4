"""Resources that cells name: pixels, codecs, packs and kept streams, on this machine.

A worker on another machine, which may see none of these files, is given them some other way.
"""

from pathlib import Path
from typing import Any

from benchmark.codec import Pixels
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.datasets.source import Source
from benchmark.packs.pack import Pack, open_pack
from benchmark.plan.cells import Cell
from benchmark.rows.features import FeatureFolder


class Resources:
    """Pixels, codecs, packs and streams from this machine's disk."""

    def __init__(self) -> None:
        self._packs: dict[Path, Pack] = {}

    def pixels(self, source: Source, flatten: bool) -> Pixels:
        """Read the pixels of an image; raise `ImageRefused` if it cannot be read."""
        from benchmark.datasets.image import read_image

        return read_image(source.file.path, flatten).pixels

    def codec(self, spec: CodecSpec) -> Any:
        """Return a new instance of a codec."""
        return load_codec(spec)

    def pack(self, cell: Cell) -> Pack | None:
        """Open the pack that a cell's stream is recorded in, or return None. Raises `BadPack`."""
        if cell.pack is None:
            return None
        return self._packs.get(cell.pack) or self._packs.setdefault(cell.pack, open_pack(cell.pack))

    def stream(self, folder: Path, digest: str | None) -> bytes | None:
        """Read a stream kept in the store at `folder`; raise `StoreError` if it is damaged."""
        from benchmark.rows.store import Store  # brings pyarrow, which measuring does without

        return Store(folder).stream(digest)

    def has_features(self, folder: Path, protocol: str, pixels_sha256: str) -> bool:
        """Return whether the store at `folder` keeps the features of an image."""
        return FeatureFolder(folder).has(protocol, pixels_sha256)
