"""Protocol ids, and the rules behind them: numbers are comparable if their ids are equal.

`docs/protocol.md` says the same for people. A change of a rule is a change of its id, so that old
and new numbers never meet in one mean, figure or verdict.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, overload

from benchmark.registry import DISTRIBUTION_METRICS, metric_class

if TYPE_CHECKING:
    from benchmark.codec import Float64Array, Int64Array

    Counts = Int64Array | Float64Array

# Source pixels to `encode`, the whole stream counted, decoded from the bytes alone by an instance
# that never encoded, 8-bit RGB of the source's size back; bpp as in `bits_per_pixel`.
CODING = "coding/1"


@overload
def bits_per_pixel(num_bytes: int, num_pixels: int) -> float: ...
@overload
def bits_per_pixel(num_bytes: "Counts", num_pixels: "Counts") -> "Float64Array": ...
def bits_per_pixel(num_bytes: Any, num_pixels: Any) -> Any:
    """Return the bits of the whole stream over the pixels of the source; padding never divides.

    >>> bits_per_pixel(100, 20 * 20)
    2.0
    """
    return 8 * num_bytes / num_pixels


def protocols(metrics: Iterable[str]) -> dict[str, str]:
    """Return the protocol ids of coding and of metrics, by column."""
    return {"coding": CODING, **{metric_class(name).column: protocol_of(name) for name in metrics}}


def protocol_of(name: str) -> str:
    """Return a metric's protocol id; a distribution metric's names its reduction and its features.

    >>> protocol_of("psnr"), protocol_of("fid256")
    ('psnr-rgb8/1', 'fid256/1-pytorch-fid-0.3.0-6726825d')
    """
    kind = metric_class(name)
    if name not in DISTRIBUTION_METRICS:
        return str(kind.protocol)
    of_features = metric_class(kind.space).protocol
    versions = (protocol.partition("/")[2] for protocol in (kind.protocol, of_features))
    return f"{kind.column}/{'-'.join(versions)}"
