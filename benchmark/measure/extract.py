"""A source and a decoded image to their features, in the decode that scores them anyway.

What is kept already is not computed again: a source has one file a dataset and feature space, and
codecs that give the same pixels share theirs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.distribution_metric import FeatureSpace
from benchmark.metrics.metric import metric_columns
from benchmark.registry import metric_class
from benchmark.rows.features import ImageFeatures

IsKept = Callable[[str, str], bool]  # of a space's protocol and the sha256 of an image's pixels


class Picture(NamedTuple):
    """Pixels and their sha256."""

    sha256: str
    pixels: Pixels


class Extracted(NamedTuple):
    """Columns of the row that count patches, and features that were not kept before."""

    columns: dict[str, Any]
    features: tuple[ImageFeatures, ...]


class Extractor:
    """The feature spaces of a run on one device.

    One whose weights are missing gives null with that reason, for every image.
    """

    def __init__(self, spaces: Sequence[str], device: str) -> None:
        self._spaces = {name: _open(name, device) for name in spaces}
        # What was handed over may not be on disk yet when the next cell of its image comes.
        self._handed_over: set[tuple[str, str]] = set()

    def extract(
        self, source: Picture, decoded: Picture, is_kept: IsKept, names: Sequence[str]
    ) -> Extracted:
        """The pair in the spaces named, of those of the run."""
        columns: dict[str, Any] = {}
        features: list[ImageFeatures] = []
        for name in names:
            kind, space = metric_class(name), self._spaces[name]
            count, protocol, reason = metric_columns(kind.column)
            columns[protocol] = kind.protocol
            try:
                if isinstance(space, str):
                    raise NotMeasurable(space)
                for sha256, pixels in {source.sha256: source, decoded.sha256: decoded}.values():
                    key = (kind.protocol, sha256)
                    if key not in self._handed_over and not is_kept(*key):
                        features.append(ImageFeatures(*key, space.features(pixels)))
                        self._handed_over.add(key)
                columns[count] = kind.patch_count(*source.pixels.shape[:2])
                columns[reason] = None
            except NotMeasurable as why:
                columns[count], columns[reason] = None, str(why)
        return Extracted(columns, tuple(features))


def _open(name: str, device: str) -> FeatureSpace | str:
    try:
        space: FeatureSpace = metric_class(name)(device=device)
    except Unavailable as missing:
        return str(missing)
    return space
