"""Score a decoded image: metric columns (value, protocol id, reason where null) and features.

Features that are kept already are not computed again: a source has one file per dataset and feature
space, and codecs that give the same pixels share theirs.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from benchmark.codec import Pixels
from benchmark.errors import MemoryKind, NotMeasurable, Unavailable, memory_exhausted
from benchmark.measure.execute import Failed, failed_by, give_memory_back
from benchmark.metrics.availability import reason_text
from benchmark.metrics.distribution_metric import FeatureSpace
from benchmark.metrics.metric import ImageMetric, metric_columns
from benchmark.registry import FEATURE_SPACES, metric_class
from benchmark.rows.features import ImageFeatures
from benchmark.user_file import names_file

Computed = TypeVar("Computed")
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
            self._space = reason_text(missing)
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
            columns[reason] = reason_text(why)
        # Not sooner: an error on the way leaves none of them handed over.
        self._handed_over |= {(one.protocol, one.pixels_sha256) for one in features}
        return columns, features

    def without(self, why: str | None) -> dict[str, Any]:
        """Return the columns of an image whose patches are not counted, with the reason."""
        count, protocol, reason = metric_columns(self._kind.column)
        return {protocol: self._kind.protocol, count: None, reason: why}


class Scores(NamedTuple):
    """Columns of a row, and features that were not kept before."""

    columns: dict[str, Any]
    features: tuple[ImageFeatures, ...] = ()
    failed: tuple[Failed, ...] = ()  # metrics of a user's file that raised; their values are null


class Scorer:
    """The image metrics and feature spaces of a run on one device.

    A metric whose weights are missing gives null with that reason for every image, one that runs
    out of memory for this image. What a metric prepares of a source is kept until another source
    comes, or memory runs out.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self._device = device
        self._prepared: dict[str, Any] = {}
        self._prepared_of = ""
        self._of: dict[str, Extractor | ImageMetric | Failed | str] = {}
        for name in names:
            with suppress(_OutOfMemory):  # tried again where it is needed, and then a reason
                self._loaded(name)

    def score(
        self,
        source: HashedImage,
        decoded: HashedImage,
        names: Sequence[str],
        is_kept: IsKept = lambda protocol, sha256: False,
    ) -> Scores:
        """Score the pair with some of the run's metrics.

        is_kept: whether the features of an image are stored, by protocol and sha256 of its pixels.
        """
        if source.sha256 != self._prepared_of:
            self._prepared, self._prepared_of = {}, source.sha256
        columns: dict[str, Any] = {}
        features: list[ImageFeatures] = []
        failed: list[Failed] = []
        for name in names:
            one = self._loaded_or_reason(name, decoded.pixels)
            if isinstance(one, Extractor):
                counts, new = self._extracted(name, one, source, decoded, is_kept)
                columns |= counts
                features += new
            else:
                # of the instance: the user's file may have changed since
                kind = metric_class(name) if isinstance(one, Failed | str) else type(one)
                value, protocol, reason = metric_columns(kind.column)
                measured = self._value(name, one, source.pixels, decoded)
                if isinstance(measured, Failed):
                    failed.append(measured)
                    measured = None, measured.reason
                columns[value], columns[reason] = measured
                columns[protocol] = kind.protocol
        return Scores(columns, tuple(features), tuple(failed))

    def forget(self, but: str = "") -> bool:
        """Drop what metrics, but for one, have prepared; return whether there was anything."""
        dropped = self._prepared.keys() - {but}
        for name in dropped:
            del self._prepared[name]
        give_memory_back()
        return bool(dropped)

    def _loaded(self, name: str) -> Extractor | ImageMetric | Failed | str:
        """Return a metric, loaded once; the reason where its weights are missing."""
        if name not in self._of:
            self._of[name] = self._within_memory(name, partial(self._open, name))
        return self._of[name]

    def _loaded_or_reason(
        self, name: str, pixels: Pixels
    ) -> Extractor | ImageMetric | Failed | str:
        try:
            return self._loaded(name)
        except _OutOfMemory as lacked:
            return lacked.reason(name, pixels)

    def _extracted(
        self,
        name: str,
        extractor: Extractor,
        source: HashedImage,
        decoded: HashedImage,
        is_kept: IsKept,
    ) -> tuple[dict[str, Any], list[ImageFeatures]]:
        extract = partial(extractor.extract, source, decoded, is_kept)
        try:
            return self._within_memory(name, extract)
        except _OutOfMemory as lacked:
            return extractor.without(lacked.reason(name, decoded.pixels)), []

    def _open(self, name: str) -> Extractor | ImageMetric | Failed | str:
        if name in FEATURE_SPACES:
            return Extractor(name, self._device)
        kind = metric_class(name)
        try:
            metric: ImageMetric = kind(device=self._device)
        except Unavailable as missing:
            return reason_text(missing)
        except Exception as error:
            if not names_file(name) or memory_exhausted(error):
                raise
            return failed_by(kind, "score", error)
        return metric

    def _value(
        self, name: str, metric: ImageMetric | Failed | str, reference: Pixels, decoded: HashedImage
    ) -> tuple[float | None, str | None] | Failed:
        """Return a metric's value, or the reason why there is none; `Failed` if a user's raises."""
        if isinstance(metric, str):
            return None, metric
        if isinstance(metric, Failed):
            return metric

        def compute() -> float:
            if name not in self._prepared:
                self._prepared[name] = metric.prepare(reference)
            return float(metric.compare(self._prepared[name], decoded.pixels))

        try:
            value = self._within_memory(name, compute)
        except NotMeasurable as reason:
            return None, reason_text(reason)
        except _OutOfMemory as lacked:
            return None, lacked.reason(name, decoded.pixels)
        except Exception as error:
            if not names_file(name):  # a fault of the harness
                raise
            return failed_by(metric, "score", error)
        return (None, "not a number") if math.isnan(value) else (value, None)

    def _within_memory(self, name: str, work: Callable[[], Computed]) -> Computed:
        """Do a metric's work; where memory runs out, once more without what others have prepared.

        If that does not help, drop what this metric has prepared too, and raise `_OutOfMemory`.
        """
        lacked: MemoryKind | None = None
        for last in (False, True):
            try:
                return work()
            except Exception as error:
                lacked = memory_exhausted(error)
                if lacked is None:
                    raise
            if not self.forget(but=name) or last:
                break
        self.forget()
        raise _OutOfMemory(lacked)


class _OutOfMemory(Exception):  # noqa: N818 - reads as what happened
    """Memory of the machine or its GPU did not suffice for a metric."""

    def __init__(self, lacked: MemoryKind | None) -> None:
        super().__init__()
        self._lacked = lacked

    def reason(self, name: str, pixels: Pixels) -> str:
        """Return the sentence that a row keeps where this metric has no value."""
        height, width, _ = pixels.shape
        memory = "a GPU's memory" if self._lacked == "device" else "the memory of a worker"
        return (
            f"{getattr(metric_class(name), 'label', name)} of {width} x {height} px does not fit "
            f"into {memory}: `bench rescore` computes it with fewer --jobs or more memory"
        )
