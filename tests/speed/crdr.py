"""Compare our codec at `full` with the code of CRDR's authors: one 768x512 picture, same weights.

    python tests/speed/crdr.py --authors CHECKOUT [--threads 2] [--rounds 3]

CHECKOUT is theirs (github.com/iwa-shi/CRDR). Weights are seeded, the picture is noise of two sizes.
Where NumPy computes the entropy path (x86 without VNNI), OPENBLAS_NUM_THREADS has to be that of the
threads. Exit code 1 where the target is missed.
"""

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from harness import options, run, timed, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))  # before `tests`, which has a `baselines` too

from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.crdr.model import HeaderControls
from baselines.neural.picture_codec import PictureCodec
from support.networks.tiny_checkpoint import NAMED, noise, write_checkpoint

Q, BETA = 2.0, 2.56
MOST_OF_THE_AUTHORS = 0.5  # of their time, both ways


def main() -> None:
    """Print the seconds of each way, then the median ratio of the rounds."""
    chosen = options(__doc__, authors="", threads=2, rounds=3)
    from authors import Authors  # needs PyYAML: `all.py` makes an environment with it

    torch.set_num_threads(chosen.threads)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ours.safetensors"
        write_checkpoint(path, NAMED["full"])
        codec = PictureCodec(load_checkpoint(path))
    pixels, controls = noise(512, 768), HeaderControls.nearest(Q, BETA)
    authors = Authors(Path(chosen.authors), chosen.threads, Q, BETA)
    ratios = []
    for _ in range(chosen.rounds):
        encoded = timed(lambda: codec.encode(pixels, controls))
        decoded = timed(lambda data=encoded.result: codec.decode(data))
        theirs = [authors.seconds(way) for way in ("encode", "decode")]
        ratios.append((encoded.wall + decoded.wall) / sum(theirs))
        ways = f"{encoded.wall:.2f} + {decoded.wall:.2f} s for {theirs[0]:.2f} + {theirs[1]:.2f}"
        print(f"{ways}, {len(encoded.result)} bytes")
    authors.close()
    verdict("full, both ways / the authors' code", median(ratios), MOST_OF_THE_AUTHORS)


if __name__ == "__main__":
    run(main)
