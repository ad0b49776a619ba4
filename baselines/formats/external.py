"""External programs: run on files, asked for their version; PNG; files that command lines name."""

import ast
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from benchmark.codec import MOST_PIXELS, Pixels, most_stream_bytes
from benchmark.errors import ImageRefused, ProgramFailed, Unavailable
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import (
    LARGEST_FILE_BYTES,
    SIGNATURE,
    holds_rows,
    lacks_rows,
    open_regular,
    read_regular,
    walk,
)
from benchmark.system.programs import read_output_file, run_program

# A PNG begins with its signature and the chunk IHDR: width, height, bits per sample.
HEAD_BYTES = 29
BITS_PER_SAMPLE = 24  # position


def write_png(path: Path, pixels: Pixels) -> None:
    """Write 8-bit RGB without metadata; lightly compressed, since it is read once and removed."""
    Image.fromarray(pixels).save(path, "PNG", compress_level=1)


def read_png(path: Path) -> Pixels:
    """Return the pixels of an 8-bit opaque PNG; grey and palette become RGB, as in a dataset.

    Raises `ImageRefused` for a missing file and anything else: 16 bits, transparent pixels, an
    animation, damage, more than `MOST_PIXELS`. The message continues the file's name.
    """
    try:
        with open_regular(path) as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(HEAD_BYTES)
            if len(head) < HEAD_BYTES:
                raise ImageRefused("is not a whole PNG: it ends within its header")
            if not head.startswith(SIGNATURE):
                raise ImageRefused("is not a whole PNG: it does not begin as a PNG")
            width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
            if size > most_stream_bytes(height, width):
                raise ImageRefused(f"has {size:,} bytes, too many for {width} x {height} pixels")
            if width * height > MOST_PIXELS:
                raise ImageRefused(f"has {width} x {height} pixels, at most {MOST_PIXELS} are read")
            if not holds_rows(head, size):
                raise ImageRefused(f"has {size:,} bytes, too few for {width} x {height} pixels")
            data = head + file.read(size - HEAD_BYTES)
    except OSError as error:
        raise ImageRefused(f"cannot be read: {error.strerror}") from error
    try:
        image = PngImageFile(BytesIO(data))
        image.load()
    except Exception as error:  # whatever Pillow raises is about this file
        raise ImageRefused(f"is not a whole PNG: {error}") from error
    if lacks_rows(data, image):
        raise ImageRefused("is not a whole PNG: its last rows are not there")
    if data[BITS_PER_SAMPLE] > 8:
        raise ImageRefused(f"has {data[BITS_PER_SAMPLE]} bits per sample: save it with 8")
    return _opaque(image)


def read_webp(path: Path) -> Pixels:
    """Return the pixels of an opaque still WebP; raise `ImageRefused` for anything else."""
    try:
        image = WebPImageFile(BytesIO(read_regular(path, LARGEST_FILE_BYTES)))
        if image.width * image.height > MOST_PIXELS:
            size = f"{image.width} x {image.height}"
            raise ImageRefused(f"has {size} pixels, at most {MOST_PIXELS} are read")
        image.load()
    except ImageRefused:
        raise
    except Exception as error:  # whatever Pillow raises is about this file
        why = getattr(error, "strerror", None) or error
        raise ImageRefused(f"is not a whole WebP: {why}") from error
    return _opaque(image)


def _opaque(image: Image.Image) -> Pixels:
    if image.has_transparency_data and np.array(image.convert("RGBA"))[..., 3].min() < 255:
        raise ImageRefused("has transparency: save it without")
    if getattr(image, "n_frames", 1) > 1:
        raise ImageRefused("is an animation: save one picture")
    return np.array(image.convert("RGB"))


def encoded_by(
    command: Sequence[str | Path],
    stream: Path,
    shape: tuple[int, ...],
    timeout_seconds: float,
    stdin: bytes = b"",
) -> bytes:
    """Run an encoder and return the file `stream` that it wrote for an image of this shape.

    Raises `ProgramFailed`, also where it wrote nothing or more than any encoder would.
    """
    run_program(command, timeout_seconds=timeout_seconds, stdin=stdin)
    data = read_output_file(stream, command[0], most_stream_bytes(*shape[:2]))
    if not data:
        raise ProgramFailed(f"{Path(command[0]).name} ended without an error and wrote no stream")
    return data


def decoded_by(command: Sequence[str | Path], png: Path, timeout_seconds: float) -> Pixels:
    """Run a decoder and return the pixels of the PNG that it wrote; `ProgramFailed` without any."""
    run_program(command, timeout_seconds=timeout_seconds)
    name = Path(command[0]).name
    if not png.is_file():
        raise ProgramFailed(f"{name} ended without an error and wrote no PNG")
    try:
        return read_png(png)
    except ImageRefused as refused:
        raise ProgramFailed(f"{name} wrote a PNG that {refused}") from None


def printed_version(program: Path, option: str, pattern: bytes, encoder: str, remedy: str) -> str:
    """Return the version that an encoder prints for an option, with which it may exit with 1.

    encoder: whose `pattern` is, for messages. Raises `Unavailable` where it is not printed.
    """
    try:
        printed = run_program([program, option], timeout_seconds=60, accepted_codes=(0, 1))
    except ProgramFailed as error:
        raise Unavailable(f"{program} does not run: {error}") from error
    match = re.search(pattern, printed)
    if not match:
        raise Unavailable(f"{program} does not say that it is {encoder}'s encoder: {remedy}")
    return match[1].decode("ascii", "replace")


MOST_FILES = 10_000
MOST_BYTES = 1 << 33  # of a folder, of weights
MOST_LINE_BYTES = 1 << 10
SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}


def named_files(words: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the sha256 of the files that words name, by path, and what names others.

    The files are programs, files, folders and imported modules. A word may be a path, KEY=PATH or a
    module after `-m`. Folders are read to `MOST_FILES` files and `MOST_BYTES`; hidden ones and
    virtual environments within are left out. The second, a shell, a script of one or a folder
    beyond that, is "" if all files are known.
    """
    shells = [word for word in words if Path(word).name in SHELLS]
    paths: dict[Path, None] = {}
    unseen = f"what {shells[0]} runs" if shells else ""
    if program := shutil.which(words[0]):
        paths[Path(program)] = None
    for before, word in zip(("", *words), words, strict=False):
        for path in _paths(word, before == "-m"):
            if {Path(part).name for part in _interpreter(path).split()} & SHELLS:
                unseen = unseen or f"what {path} runs"
            files = list(islice(_inside(path), MOST_FILES + 1))
            sizes = (file.stat().st_size for file in files if file.is_file())
            if len(files) > MOST_FILES or sum(sizes) > MOST_BYTES:
                unseen = unseen or f"the folder {path}"
            else:
                paths |= dict.fromkeys(files)
    digests = {}
    for path in paths:
        with suppress(OSError):
            digests[str(path)] = file_sha256(path)
    return digests, unseen


def _paths(word: str, is_module: bool) -> Iterator[Path]:
    """Yield the paths that a word may be: itself, or what comes after `=`."""
    if is_module:
        yield Path(word.replace(".", os.sep) + ".py")
        yield Path(word.replace(".", os.sep))
    for text in {word, word.rpartition("=")[2]} - {"", ".", ".."}:
        with suppress(OSError, ValueError):
            if Path(text).exists():
                yield Path(text)


def _interpreter(path: Path) -> str:
    """Return what a script says that runs it: "/usr/bin/env bash"; empty for any other file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        first = file.readline(MOST_LINE_BYTES)
    return first[2:].decode(errors="replace").strip() if first.startswith(b"#!") else ""


def _inside(path: Path) -> Iterator[Path]:
    """Yield the files of a folder, or a file with what it imports."""
    if path.is_file():
        yield from with_imports(path)
    for folder, below, files in walk(path):
        below[:] = sorted(
            name
            for name in below
            if not name.startswith((".", "__pycache__"))
            and not Path(folder, name, "pyvenv.cfg").exists()
        )
        yield from (Path(folder, name) for name in sorted(files))


def with_imports(path: Path) -> Iterator[Path]:
    """Yield a file and, of a Python script, the modules beside it that it imports, each once."""
    seen: set[Path] = set()
    to_read = [path]
    while to_read:
        script = to_read.pop()
        if script in seen:
            continue
        seen.add(script)
        yield script
        if script.suffix != ".py" and "python" not in _interpreter(script):
            continue
        with suppress(OSError, SyntaxError, ValueError):
            for name in _imported(ast.parse(script.read_bytes())):
                for folder in {path.parent, script.parent}:  # the latter for relative imports
                    place = folder / name.replace(".", os.sep)
                    modules = [place.with_suffix(".py"), place / "__init__.py"]
                    modules += place.parent.glob(f"{place.name}.*.so")
                    to_read += [module for module in modules if module.is_file()]


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names of modules, packages and what is imported from them."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names] + [module]
        for name in filter(None, names):
            yield from accumulate(name.split("."), "{}.{}".format)
