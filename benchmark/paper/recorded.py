"""The csv of a figure that was drawn elsewhere -> its values of pictures, by their pixels. Pure."""

import csv
from collections.abc import Sequence
from io import StringIO

Recorded = dict[tuple[str, str, str], float]  # by sha256 of the pixels, column and protocol


def recorded_values(text: str, columns: Sequence[str]) -> Recorded:
    """Of a csv as `bench figures paper` writes it, with `pixels_sha256`; fields may be empty.

    Raises `ValueError` for a column that is missing and a value that is no number.

    >>> recorded_values("pixels_sha256,psnr_db,psnr_db_protocol\\nab,24.5,psnr/1\\n", ["psnr_db"])
    {('ab', 'psnr_db', 'psnr/1'): 24.5}
    """
    found: Recorded = {}
    for row in csv.DictReader(StringIO(text, newline="")):
        for column in columns:
            try:
                if row[column]:
                    key = row["pixels_sha256"], column, row[f"{column}_protocol"]
                    found[key] = float(row[column])
            except KeyError as missing:
                raise ValueError(f"it has no column {missing}") from missing
    return found
