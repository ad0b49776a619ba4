"""Facts about a dataset that figures and captions need, read without opening its images."""

from typing import NamedTuple

from benchmark.registry import DATASETS, dataset_module


class Profile(NamedTuple):
    """Facts about a dataset, by its name in the table `PROFILES` of the module that opens it."""

    title: str  # in figures and captions: "Kodak"
    published_images: int | None = None  # images of the set that published means are over
    most_bpp: float | None = None  # highest rate that the paper's figures draw
    anchor: str = ""  # system that the paper's BD-rates are relative to


def profile(name: str) -> Profile:
    """Return a dataset's profile; of a folder, or a dataset that declares none, its name alone."""
    if name not in DATASETS:
        return Profile(name)
    declared: dict[str, Profile] = getattr(dataset_module(name), "PROFILES", {})
    return declared.get(name, Profile(name))
