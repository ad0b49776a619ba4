"""Normal noise that is the same on every machine: integers of a counter, looked up in a table.

Philox (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) makes
the integers; its key is a hash of the stream and a seed. Sixteen bits choose one of 65,536
equally probable values, the medians of as many intervals of a normal distribution, on a grid of
2^-20. No floating-point function decides anything, so two machines cannot disagree.
"""

from functools import cache
from hashlib import sha256
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

VALUES = 1 << 16
GRID = 1 << 20


def noise_key(stream: bytes, seed: int) -> int:
    """Return the key of 128 bits for a stream and a seed, 0 to 2^64 - 1."""
    digest = sha256(b"noise" + seed.to_bytes(8, "little") + sha256(stream).digest()).digest()
    return int.from_bytes(digest[:16], "little")


def normal_noise(key: int, step: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return noise of mean 0 and variance 1 (to 3e-5) for a step of a drawing.

    Values are at most 4.33 in magnitude. Steps of one key are independent of each other.
    """
    count = int(np.prod(shape))
    philox = np.random.Philox(key=key, counter=step << 192)
    words = philox.random_raw(-(-count // 4)).astype("<u8")
    values: NDArray[np.float32] = normal_values()[words.view("<u2")[:count]].reshape(shape)
    return values


@cache
def normal_values() -> NDArray[np.float32]:
    """Return the 65,536 values, rising, float32 multiples of 2^-20: exact, since below 8."""
    half = VALUES // 2
    normal = NormalDist()
    upper = [round(normal.inv_cdf((half + at + 0.5) / VALUES) * GRID) for at in range(half)]
    table = np.array([*(-one for one in reversed(upper)), *upper], np.int32)
    return (table.astype(np.float64) / GRID).astype(np.float32)
