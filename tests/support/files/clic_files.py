"""Files that pass for CLIC 2020's photographs: headers of PNG files, without pixels."""

from pathlib import Path

from support.files.image_files import png


def png_header(width: int, height: int) -> bytes:
    return png(width, height, 8, 2, b"")[:33]


def make_clic(folder: Path, count: int, size: tuple[int, int] = (2048, 1371)) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:03d}.png").write_bytes(png_header(*size))
    return folder
