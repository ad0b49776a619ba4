"""Two codecs compared over pairs of streams of equal quality, as a data frame."""

import pandas as pd

from benchmark.analysis.match import matches, parse_tolerance
from benchmark.interface.tables import summarised
from benchmark.plan.request import metric_names
from benchmark.registry import METRICS


def match(
    frame: pd.DataFrame,
    codec: str,
    against: str,
    metric: str = "psnr",
    *,
    tolerance: str | float = 0.1,
) -> pd.DataFrame:
    """Return ratios of two codecs over pairs of streams that match in one metric.

    Each stream of an image is paired with the nearest one of the other codec, if their values
    differ by no more than the tolerance, and is in one pair at most, as in codec-compare.

    Parameters
    ----------
    frame : DataFrame
        Rows of one dataset, from `load`; any selection of them.
    codec, against : str
        Names of codecs, for all of their variants, or names of variants in `summary`.
    metric : str
        Name of the metric of single images that has to match.
    tolerance : float or str
        Largest difference of matched values: a number in the metric's units (MS-SSIM in dB), or
        "1%" of the larger value.

    Returns
    -------
    DataFrame
        One row per pair of variants. ``bytes_ratio`` is the geometric mean over pairs of the bytes
        of `codec` to those of `against`; ``<metric>_ratio`` likewise, and ``<metric>_difference``
        the mean difference of metrics that are better when higher (MS-SSIM in dB);
        ``encode_seconds_ratio`` and ``decode_seconds_ratio`` are of pairs timed alone on one
        machine. Each is followed by both ends of its 95 % interval over images and by its number of
        pairs. ``images``, ``images_without_match``, ``pairs`` and ``..._streams_without_match`` are
        counts. Without a pair, numbers are NaN.

    Raises
    ------
    UnknownName
        If there is no such metric or no such codec in the frame.
    UsageError
        If the metric is of a set of images, or the tolerance is no such number.
    """
    names = tuple(dict.fromkeys((*METRICS, *metric_names([metric]))))
    summary = summarised(frame, names, False, "per_image", False)
    found = matches(summary, codec, against, metric, parse_tolerance(str(tolerance)))
    table = pd.DataFrame([one.for_machines() for one in found])
    ratios = [name for name in table.columns if "_ratio" in name or "_difference" in name]
    table = table.astype({name: "float64" for name in ratios if not name.endswith("_pairs")})
    table.attrs = {"protocols": summary.protocols_in_use, "machine": summary.machine}
    return table
