"""Checkpoints of the release: bundled in a checkout; a wheel has the small ones alone.

`bench fetch charm` downloads the others.
"""

from pathlib import Path

from benchmark.system.weights import PublishedFile

BUNDLED = Path(__file__).parents[1] / "checkpoints"
ADDRESS = "https://github.com/rdrbench/rdrbench/releases/download/v0.1.0"
DIGESTS = BUNDLED / "SHA256SUMS"  # in the form of sha256sum, which verifies them, too


def released(*codecs: str) -> list[PublishedFile]:
    """Return the tensors and cards of all networks of codecs, CODEC.* and CODEC-*."""
    return [
        PublishedFile(f"{ADDRESS}/{name}", name, digest)
        for digest, name in map(str.split, DIGESTS.read_text().splitlines())
        if codec_of(name) in codecs
    ]


def codec_of(name: str) -> str:
    """Return the codec that a file's name begins with: `pqmim` of pqmim-perceptual-2.json."""
    return Path(name).stem.partition("-")[0]
