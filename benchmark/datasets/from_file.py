"""Datasets of functions in users' files: `path.py:function` to the `Dataset` that it returns."""

import inspect
from collections.abc import Container, Sequence
from pathlib import Path

from benchmark import user_file
from benchmark.datasets.dataset import Dataset, ImageFile
from benchmark.errors import BenchError, UsageError

ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def open_from_file(name: str, folders: Sequence[Path], taken: Container[str]) -> Dataset:
    """Call the function that `path.py:function` names, and return its dataset, images sorted.

    folders: the data folders, most wanted first, which it may take as its only argument. taken:
    names of datasets that it must not use. Raises `UsageError` for a function that fails, or that
    returns no dataset.
    """
    function = user_file.load(name, "function")
    arguments = [list(folders)] if inspect.signature(function).parameters else []
    try:
        found: object = function(*arguments)
    except BenchError:
        raise
    except Exception as error:
        raise user_file.failed_in(name, function, "the function of", error) from error
    place = user_file.place_of(name)
    if not isinstance(found, Dataset):
        raise UsageError(f"{place}: {name} is to return a Dataset, not {type(found).__name__}")
    if found.name in taken or found.store_name in taken:
        raise UsageError(
            f"{place}: the dataset of {name} has the name {found.name!r} of another one, whose "
            "results lie there: give it a name of its own"
        )
    if not found.name or not set(found.name) <= ALLOWED or found.name[0] in ".-":
        raise UsageError(f"{place}: {found.name!r} is no name for a folder of results")
    images = tuple(found.images)
    if not images or not all(isinstance(one, ImageFile) for one in images):
        raise UsageError(f"{place}: the dataset of {name} is to have images, each an ImageFile")
    names = [one.name for one in images]
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise UsageError(f"{place}: the dataset of {name} has two images named {twice!r}")
    for one in images:
        if not Path(one.path).is_file():
            raise UsageError(f"{place}: the image {one.name} of {name} is not at {one.path}")
    return Dataset(found.name, tuple(sorted(images)))
