"""Means of what coding costs beside seconds: networks, memory, bits over those estimated."""

import numpy as np

from benchmark.analysis.comparable import Average, ComparableRows, Mean, means

REAL_TO_ESTIMATED = "real_to_estimated_bits"  # of each stream, by the codec's own probabilities
COSTS = (
    *("parameters", "encode_kmac", "decode_kmac", "encode_peak_bytes", "decode_peak_bytes"),
    REAL_TO_ESTIMATED,
)


def cost_means(rows: ComparableRows, average: Average, common: bool) -> dict[str, list[Mean]]:
    """Return the mean of each point in each of COSTS that any row has."""
    estimated = rows.numbers("estimated_bits")
    ratio = 8 * rows.bytes / np.where(estimated > 0, estimated, np.nan)
    result = {}
    for name in COSTS:
        values = ratio if name == REAL_TO_ESTIMATED else rows.numbers(name)
        if not np.isnan(values[rows.ok]).all():
            result[name] = means(rows, values, rows.ok, average, common)
    return result
