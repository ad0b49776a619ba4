"""Sources of measurements: image files with size and digest of their pixels, or refused."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from benchmark.datasets.dataset import ImageFile
from benchmark.errors import ImageRefused
from benchmark.system.digest import pixels_sha256, remembered


class Source(NamedTuple):
    """Photograph that can be measured."""

    file: ImageFile
    sha256: str  # of its pixels
    width_px: int
    height_px: int
    lossy: bool  # the file's own coding has lost something already


class Refused(NamedTuple):
    """File that cannot be measured, and why, in a sentence that names it."""

    file: ImageFile
    reason: str


def probe(files: Sequence[ImageFile], flatten: bool, threads: int) -> list[Source | Refused]:
    """Return every file as a source or a refusal, in order.

    Files that have not changed since they were last read are not read again.
    """
    with ThreadPoolExecutor(threads) as pool:  # decoding and hashing release the interpreter's lock
        return list(pool.map(lambda file: _probe(file, flatten), files))


def without_duplicates(found: Sequence[Source | Refused]) -> list[Source | Refused]:
    """Return the list with repeated images refused, which would count twice in a mean."""
    first: dict[tuple[str, int], str] = {}
    kept: list[Source | Refused] = []
    for one in found:
        if isinstance(one, Source):
            name = first.setdefault((one.sha256, one.width_px), one.file.name)
            if name != one.file.name:
                kept.append(
                    Refused(one.file, f"{one.file.name} has the same pixels as {name}: remove one")
                )
                continue
        kept.append(one)
    return kept


def _probe(file: ImageFile, flatten: bool) -> Source | Refused:
    from benchmark.datasets.image import read_image

    def read() -> tuple[str, int, int, bool]:
        photograph = read_image(file.path, flatten)
        height, width, _ = photograph.pixels.shape
        return pixels_sha256(photograph.pixels), width, height, photograph.lossy

    try:
        return Source(file, *remembered(file.path, f"source flatten={flatten:d}", read))
    except ImageRefused as refused:
        return Refused(file, str(refused))
    except OSError as error:
        return Refused(file, f"{file.name} cannot be read: {error.strerror or error}")
