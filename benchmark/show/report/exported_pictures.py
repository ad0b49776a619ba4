"""Decoded pictures as PNG files under readable names.

Only the pixels that were scored are written: their sha256 is that of the row, or there is no file.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL.Image import fromarray

from benchmark.datasets.image import read_image
from benchmark.errors import ImageRefused
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import reconstruct_all
from benchmark.measure.record import Failure, Progress
from benchmark.rows.packs.contents import DatasetContents
from benchmark.show.report.chosen_pictures import StoredPicture
from benchmark.system.atomic import write_files
from benchmark.system.digest import pixels_sha256
from benchmark.system.settings import Device
from benchmark.system.text import utf8

UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')  # in names of Windows' files; / anywhere
LONGEST_PART = 80  # bytes of an image's or codec's part in a name; a name has 255 at most


class ExportedPictures(NamedTuple):
    """Outcome of an export."""

    files: Mapping[str, StoredPicture]  # of the pictures asked for that are in the folder now
    written: int  # of them; the others were there before with these pixels
    failures: tuple[Failure, ...]  # streams that decode to other pixels than the scored, or none
    absent: Mapping[str, int]  # number of pictures by what this machine lacks to decode them


def export_pictures(
    folder: Path,
    pictures: Sequence[StoredPicture],
    contents: DatasetContents,
    device: Device,
    jobs: int,
    report: Callable[[Progress], None],
) -> ExportedPictures:
    """Write the pictures that are not in the folder yet, in place of files of other content.

    device and jobs: see `reconstruct_all`. `report` is called with the state while streams are
    decoded. Raises `StoreError` if the folder cannot be written.
    """
    names = picture_names(pictures)
    pairs = zip(names, pictures, strict=True)
    files = {name: picture for name, picture in pairs if _is_there(folder / name, picture)}
    before, missing = len(files), [n for n, name in enumerate(names) if name not in files]
    failures: list[Failure] = []
    absent = Counter[str]()
    for result in reconstruct_all([pictures[n].row for n in missing], contents, device, jobs):
        if result is not None:
            picture, name = pictures[missing[result[0]]], names[missing[result[0]]]
            if not isinstance(pixels := result[1], Failed):
                fromarray(pixels).save(png := BytesIO(), "PNG")
                write_files(folder, {name: png.getvalue()}, what="pictures")
                files[name] = picture
            elif pixels.stage == "load":
                absent[f"{picture.label}: {pixels.reason}"] += 1
            else:
                failures.append(_failure(picture, pixels, device))
        report(Progress(len(files) - before + len(failures) + absent.total(), len(failures)))
    shown = {name: files[name] for name in names if name in files}
    return ExportedPictures(shown, len(files) - before, tuple(failures), absent)


def picture_names(pictures: Sequence[StoredPicture]) -> list[str]:
    """Return the pictures' file names, valid on every system and distinct where case is ignored.

    kodim03__ours_beta=3.84__q=2__0.384bpp.png: image, codec variant, setting, rate.
    """
    names = [
        "__".join([*map(_part, (it.image, it.label, str(it.setting))), f"{it.row['bpp']:.3f}bpp"])
        for it in pictures
    ]
    counts = Counter(name.casefold() for name in names)
    cells = [sha256(utf8(picture.row["cell"])).hexdigest()[:8] for picture in pictures]
    return [
        f"{name}__{cell}.png" if counts[name.casefold()] > 1 else f"{name}.png"
        for name, cell in zip(names, cells, strict=True)
    ]


def _part(text: str) -> str:
    """Return a text as a part of a file name, with its end where it is long.

    >>> _part("ours:beta=3.84"), _part("mobile/a:b")
    ('ours_beta=3.84', 'mobile_a_b')
    """
    safe = UNSAFE.sub("_", text).strip(". ")
    while len(utf8(safe)) > LONGEST_PART:
        safe = safe[1:]
    return safe


def _is_there(path: Path, picture: StoredPicture) -> bool:
    with suppress(ImageRefused):
        return path.exists() and (
            pixels_sha256(read_image(path).pixels) == picture.row["decoded_sha256"]
        )
    return False


def _failure(picture: StoredPicture, failed: Failed, device: Device) -> Failure:
    reason, made_on = failed.reason, picture.row["device"]
    if failed.stage == "verify" and made_on != device:
        reason += f" on {made_on}, which this machine does not use"
    return Failure(
        f"{picture.label} {picture.setting} {picture.row['image']}", failed.stage, reason
    )
