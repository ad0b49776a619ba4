"""The boundary between scoring and a metric: a source is prepared once, compared often."""

from typing import Any, Literal, Protocol

from benchmark.codec import Pixels


class ImageMetric(Protocol):
    """A number for one decoded image against its source.

    The constructor takes the torch device ("cpu", "cuda") and raises `Unavailable` where weights
    are missing. `column`, `label`, `better` and `protocol` can be read from the class.
    """

    column: str  # column of the table, unit included: "psnr_db"
    label: str  # axis label: "PSNR (dB)"
    better: Literal["higher", "lower"]
    protocol: str  # changes whenever the same pixels would get another number: "psnr-rgb8/1"

    def prepare(self, reference: Pixels) -> Any:
        """Whatever depends on the source alone, so that it is computed once per image.

        Raises `NotMeasurable` where this image can have no value (too small, say).
        """
        ...

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """The metric of a decoded image of the same shape as the source."""
        ...


def metric_columns(column: str) -> tuple[str, str, str]:
    """Names of the table's columns for a metric: its value, its protocol id, why it is null."""
    return column, f"{column}_protocol", f"{column}_reason"
