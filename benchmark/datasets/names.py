"""Names of datasets as text: lists of them, and files called after them. No image is opened."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from benchmark.spec import split_unescaped


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
