"""Tecnick TESTIMAGES: 100 photographs of 1200 x 1200 px (Asuni and Giachetti, STAG 2014)."""

from benchmark.datasets.archive import Archive, fetcher, opener
from benchmark.datasets.profile import Profile

PROFILES = {"tecnick": Profile("Tecnick", 100)}
SIDE_PX = 1200
FOLDER = "RGB/RGB_OR_1200x1200"
# Its publisher states no digest: number and sizes of the photographs are what is compared.
SAMPLING = Archive(
    "tecnick",
    "https://downloads.sourceforge.net/project/testimages/OLD/OLD_SAMPLING/testimages.zip",
    100,
    range(SIDE_PX, SIDE_PX + 1),
    (
        "tecnick",
        *(
            f"{above}{FOLDER}"
            for above in ("tecnick/TESTIMAGES/", "TESTIMAGES/", "testimages/", "")
        ),
        "RGB_OR_1200x1200",
        ".",
    ),
    member_folder=FOLDER,
)

open_tecnick = opener(SAMPLING)
fetch_dataset = fetcher(SAMPLING)


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of the 100 images, for planning."""
    return ((SIDE_PX, SIDE_PX),) * SAMPLING.num_images
