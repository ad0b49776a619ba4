"""Test set of CLIC 2021: 60 professional photographs."""

from benchmark.datasets.archive import Archive, fetcher, opener
from benchmark.datasets.profile import Profile

PROFILES = {"clic2021": Profile("CLIC2021 test", 60)}
# The sha1 is the one that two independent loaders of this archive record; its size is not recorded.
TEST = Archive(
    "clic2021",
    "https://storage.googleapis.com/clic2021_public/professional_test_2021.zip",
    60,
    range(64, 8193),
    ("clic2021", "professional_test_2021", "."),
    digest="sha1:6dadb31eeae6cee8d2455a35818129eb68b0adbb",
)

open_clic2021 = opener(TEST)
fetch_dataset = fetcher(TEST)


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of 60 images much like these, an assumption, for planning."""
    return ((2048, 1365),) * 42 + ((1365, 2048),) * 18
