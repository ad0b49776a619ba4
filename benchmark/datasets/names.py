"""Names of datasets as text: lists, those of a hub, files called after them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import UsageError
from benchmark.spec import split_unescaped

HUB = "hf:"
HUB_NAME = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+)(:(?P<split>[\w.-]+)|/(?P<file>[\w./-]+))?"
    r"(@(?P<revision>[\w./-]+))?"
)


class HubName(NamedTuple):
    """Dataset or file of the Hugging Face Hub."""

    repository: str  # "USER/NAME"
    split: str
    file: str
    revision: str | None

    @property
    def dataset(self) -> str:
        """Name of the results of its photographs."""
        name = self.repository.replace("/", "--")
        return f"{name}:{self.split}" if self.split else name


def hub_name(text: str) -> HubName:
    """Return the parts of `hf:USER/NAME[:SPLIT|/FILE][@REVISION]`; `UsageError` for other texts.

    >>> hub_name("hf:me/photos:test@v1").dataset, hub_name("hf:me/weights/low.pth").file
    ('me--photos:test', 'low.pth')
    """
    if parts := HUB_NAME.fullmatch(text):
        repository, split, file = (parts[key] or "" for key in ("repository", "split", "file"))
        return HubName(repository, split, file, parts["revision"])
    raise UsageError(f"{text} is not of the form hf:USER/NAME[:SPLIT][@REVISION]")


def plain_name(dataset: str) -> str:
    """Return the name that results have of a dataset of a hub; others stay."""
    return hub_name(dataset).dataset if dataset.startswith(HUB) else dataset


def listed_datasets(text: str) -> list[str]:
    r"""Return the datasets of a comma-separated list; a comma of a folder's name is written \\, .

    >>> listed_datasets(r"kodak, clic2020:mobile,my\,photos")
    ['kodak', 'clic2020:mobile', 'my,photos']
    """
    if os.path.exists(text):
        return [text]
    parts = (part.strip().replace("\\,", ",") for part in split_unescaped(text, ","))
    return list(dict.fromkeys(filter(None, parts))) or [text]


def file_stem(dataset: str) -> str:
    """Return a dataset's name for a file.

    >>> file_stem("clic2020:mobile"), file_stem("../photos/")
    ('clic2020-mobile', 'photos')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(dataset).name)


def text_of_list(datasets: Iterable[str | Path]) -> str:
    """Return the comma-separated list of datasets."""
    return ",".join(str(name).replace(",", "\\,") for name in datasets)
