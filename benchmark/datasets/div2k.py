"""Validation set of DIV2K: 100 photographs, 0801.png to 0900.png, 2,040 px on the longer side."""

from benchmark.datasets.archive import Archive, fetcher, opener
from benchmark.datasets.profile import Profile

PROFILES = {"div2k": Profile("DIV2K validation", 100)}
# Bytes and digest as TensorFlow Datasets records them (url_checksums/div2k.txt)
VALIDATION = Archive(
    "div2k",
    "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip",
    100,
    range(400, 2041),
    ("div2k", "DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR", "div2k/DIV2K_valid_HR", "."),
    448_993_893,
    "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
)

open_div2k = opener(VALIDATION)
fetch_dataset = fetcher(VALIDATION)


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of 100 images much like these, an assumption, for planning."""
    return ((2040, 1356),) * 80 + ((1356, 2040),) * 20
