"""A program that prints the digests of streams and pixels of two bundled networks."""

STREAMS = """
import sys
from hashlib import sha256
import numpy as np
from benchmark.spec import load_codec, parse_codec, resolve
y, x = np.mgrid[:64, :96]
pixels = np.stack([x * 2, y * 3, (x * y) // 30 + (x ^ y) % 17], 2).astype(np.uint8)
for name in ("ours", "elic"):
    codec = load_codec(resolve(parse_codec(name))[0])
    data = codec.encode(pixels, codec.sweep[-1])
    print(sha256(data).hexdigest(), sha256(codec.decode(data).tobytes()).hexdigest())
"""
