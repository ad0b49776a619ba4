"""Extract features of a source and a decoded image, in the decode that scores them anyway.

Features that are kept already are not computed again: a source has one file per dataset and feature
space, and codecs that give the same pixels share theirs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.distribution_metric import FeatureSpace
from benchmark.metrics.metric import metric_columns
from benchmark.registry import metric_class
from benchmark.rows.features import ImageFeatures

IsKept = Callable[[str, str], bool]  # of a space's protocol and the sha256 of an image's pixels


class HashedImage(NamedTuple):
    """Pixels and their sha256."""

    sha256: str
    pixels: Pixels


class Extractor:
    """A feature space on a device.

    If its weights are missing, the count of patches is null with that reason for every image.
    """

    def __init__(self, name: str, device: str) -> None:
        self._kind = metric_class(name)
        self._space: FeatureSpace | str
        try:
            self._space = self._kind(device=device)
        except Unavailable as missing:
            self._space = str(missing)
        # What was handed over may not be on disk yet when the next cell of its image comes.
        self._handed_over: set[tuple[str, str]] = set()

    def extract(
        self, source: HashedImage, decoded: HashedImage, is_kept: IsKept
    ) -> tuple[dict[str, Any], list[ImageFeatures]]:
        """Return the columns that count patches, and the features that were not kept before."""
        count, _, reason = metric_columns(self._kind.column)
        features: list[ImageFeatures] = []
        columns = self.without(None)
        try:
            if isinstance(self._space, str):
                raise NotMeasurable(self._space)
            for sha256, pixels in {source.sha256: source, decoded.sha256: decoded}.values():
                key = (self._kind.protocol, sha256)
                if key not in self._handed_over and not is_kept(*key):
                    features.append(ImageFeatures(*key, self._space.features(pixels)))
            columns[count] = self._kind.patch_count(*source.pixels.shape[:2])
        except NotMeasurable as why:
            columns[reason] = str(why)
        # Not sooner: an error on the way leaves none of them handed over.
        self._handed_over |= {(one.protocol, one.pixels_sha256) for one in features}
        return columns, features

    def without(self, why: str | None) -> dict[str, Any]:
        """Return the columns of an image whose patches are not counted, with the reason."""
        count, protocol, reason = metric_columns(self._kind.column)
        return {protocol: self._kind.protocol, count: None, reason: why}
