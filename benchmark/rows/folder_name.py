"""Name of a folder of images below the results: the same wherever the folder lies.

Named by its path, a folder that was moved would be another dataset, and everything would be
measured again. Rows carry the sha256 of their image's pixels, so the stored rows themselves say
which results are those of a folder.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from benchmark.rows.store import Store
from benchmark.user_file import names_file

DIGITS = 6


def stores_below(results: Path) -> dict[str, Path]:
    """Return the folders of a results folder that hold rows, by their names.

    One that is called as a Python file is none: as the name of a dataset it would be loaded.
    """
    found = (path.parent for path in sorted(results.glob("*/per_image")))
    return {path.name: path for path in found if not names_file(path.name)}


def folder_store_name(
    title: str,
    by_path: str,
    images: Collection[str],
    stores: Mapping[str, Path],
    files: Iterable[tuple[str, int]],
) -> str:
    """Return the name of the results of a folder of images: "holiday-1a2b3c".

    title: the folder's own name, with which the returned name begins. by_path: the name that
    earlier versions made from its path. images: sha256 of the pixels of each image, or of some of
    them. stores: folders of results by name. files: name and size in bytes of every image.

    Results belong to the folder if their name begins with its title, and at least half of the
    images of the folder, or of the results if these have fewer, are in both: a folder stays the
    same when an image is added or removed. Of several, `by_path` is taken, else the one with the
    largest share of common images. Where there are none, six hexadecimal digits of a sha256 of
    `files` complete the name, so that it is the same for a run of some of the images.
    """
    here = set(images)
    own = re.compile(rf"{re.escape(title)}-[0-9a-f]{{{DIGITS}}}")
    found: dict[str, tuple[bool, float]] = {}
    for name in filter(own.fullmatch, stores):
        there = Store(stores[name]).images()
        common = len(here & there)
        if common and 2 * common >= min(len(here), len(there)):
            found[name] = name == by_path, common / len(here | there)
    if found:
        return max(sorted(found), key=found.__getitem__)
    told = "".join(f"{name} {size}\n" for name, size in sorted(files))
    name = _completed(title, told)
    # Other images of the same names and sizes; results without any row are taken up.
    while name in stores and Store(stores[name]).images():
        told += "\n"
        name = _completed(title, told)
    return name


def _completed(title: str, told: str) -> str:
    return f"{title}-{sha256(told.encode(errors='surrogateescape')).hexdigest()[:DIGITS]}"
