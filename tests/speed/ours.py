"""Measure encode and decode of `ours` by default, one picture of 768 x 512, on one thread.

    python tests/speed/ours.py [--height 512] [--width 768] [--rounds 3]

Processor time of the codec's two calls, medians of the rounds. Exit code 1 where a target is
missed.
"""

from statistics import median

import harness  # before numpy and torch: it pins the pools of threads
import numpy as np
from harness import options, run, timed, verdict
from PIL import Image
from skimage import data

from benchmark.spec import load_codec, parse_codec


def main() -> None:
    """Print the seconds of both ways, and whether the targets are met."""
    arguments = options(__doc__, height=512, width=768, rounds=harness.ROUNDS)
    picture = Image.fromarray(data.astronaut()).resize((arguments.width, arguments.height))
    pixels = np.asarray(picture)
    codec = load_codec(parse_codec("ours:beta=3.84"))
    setting = codec.sweep[2]
    stream = codec.encode(pixels, setting)
    codec.decode(stream)
    ways = {"encode": lambda: codec.encode(pixels, setting), "decode": lambda: codec.decode(stream)}
    for (way, call), limit in zip(ways.items(), (0.08, 0.1), strict=True):
        took = median(timed(call).cpu for _ in range(arguments.rounds))
        verdict(f"ours, {way}, s of processor", took, limit)


if __name__ == "__main__":
    run(main)
