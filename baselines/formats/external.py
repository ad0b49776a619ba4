"""Run programs of external codecs, query versions, and hash files; read PNG and WebP."""

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

from benchmark.codec import MAX_PIXELS, Pixels, max_stream_bytes
from benchmark.errors import ImageRefused, ProgramFailed, Unavailable
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import (
    MAX_FOREIGN_FILE_BYTES,
    SIGNATURE,
    holds_rows,
    lacks_rows,
    open_regular,
    read_regular,
    walk,
)
from benchmark.system.programs import read_output_file, run_program

# A PNG begins with its signature and the chunk IHDR: width, height, bits per sample.
HEADER_BYTES = 29
DEPTH_OFFSET = 24  # position of the bits per sample


def write_png(path: Path, pixels: Pixels) -> None:
    """Write 8-bit RGB without metadata, with little compression, for a file that is read once."""
    Image.fromarray(pixels).save(path, "PNG", compress_level=1)


def read_png(path: Path) -> Pixels:
    """Return an 8-bit opaque PNG's pixels as RGB; raises `ImageRefused` ("is not a whole PNG")."""
    try:
        with open_regular(path) as file:
            size, header = os.fstat(file.fileno()).st_size, file.read(HEADER_BYTES)
            if len(header) < HEADER_BYTES:
                raise ImageRefused("is not a whole PNG: it ends within its header")
            if not header.startswith(SIGNATURE):
                raise ImageRefused("is not a whole PNG: the signature of a PNG is missing")
            width, height = (
                int.from_bytes(header[offset : offset + 4], "big") for offset in (16, 20)
            )
            if size > max_stream_bytes(height, width):
                raise ImageRefused(f"has {size:,} bytes, too many for {width} x {height} pixels")
            if width * height > MAX_PIXELS:
                raise ImageRefused(f"has {width} x {height} pixels, more than {MAX_PIXELS}")
            if not holds_rows(header, size):
                raise ImageRefused(f"has {size:,} bytes, too few for {width} x {height} pixels")
            data = header + file.read(size - HEADER_BYTES)
    except OSError as error:
        raise ImageRefused(f"cannot be read: {error.strerror}") from error
    try:
        image = PngImageFile(BytesIO(data))
        image.load()
    except Exception as error:  # any exception of Pillow concerns this file
        raise ImageRefused(f"is not a whole PNG: {error}") from error
    if lacks_rows(data, image):
        raise ImageRefused("is not a whole PNG: its last rows are missing")
    if data[DEPTH_OFFSET] > 8:
        raise ImageRefused(f"has {data[DEPTH_OFFSET]} bits per sample: save it with 8 bits")
    return _require_opaque(image)


def read_webp(path: Path) -> Pixels:
    """Return the pixels of an opaque still WebP; raise `ImageRefused` for anything else."""
    try:
        image = WebPImageFile(BytesIO(read_regular(path, MAX_FOREIGN_FILE_BYTES)))
        if image.width * image.height > MAX_PIXELS:
            size = f"{image.width} x {image.height}"
            raise ImageRefused(f"has {size} pixels, but at most {MAX_PIXELS} are read")
        image.load()
    except ImageRefused:
        raise
    except Exception as error:  # any exception of Pillow concerns this file
        reason = getattr(error, "strerror", None) or error
        raise ImageRefused(f"is not a whole WebP: {reason}") from error
    return _require_opaque(image)


def _require_opaque(image: Image.Image) -> Pixels:
    if image.has_transparency_data and np.array(image.convert("RGBA"))[..., 3].min() < 255:
        raise ImageRefused("has transparency: save it without an alpha channel")
    if getattr(image, "n_frames", 1) > 1:
        raise ImageRefused("is an animation: save a single picture")
    return np.array(image.convert("RGB"))


def run_encoder(
    command: Sequence[str | Path],
    stream: Path,
    shape: tuple[int, ...],
    timeout_seconds: float,
    stdin: bytes = b"",
) -> bytes:
    """Run an encoder and return the content of `stream`; raises `ProgramFailed`."""
    # also fails if the encoder wrote nothing, or more than any image of this shape needs
    run_program(command, timeout_seconds=timeout_seconds, stdin=stdin)
    data = read_output_file(stream, command[0], max_stream_bytes(*shape[:2]))
    if not data:
        raise ProgramFailed(f"{Path(command[0]).name} reported no error, but wrote no stream")
    return data


def run_decoder(command: Sequence[str | Path], png: Path, timeout_seconds: float) -> Pixels:
    """Run a decoder and return the pixels of the PNG it wrote; `ProgramFailed` if it wrote none."""
    run_program(command, timeout_seconds=timeout_seconds)
    name = Path(command[0]).name
    if not png.is_file():
        raise ProgramFailed(f"{name} reported no error, but wrote no PNG")
    try:
        return read_png(png)
    except ImageRefused as refused:
        raise ProgramFailed(f"{name} wrote a PNG that {refused}") from None


def query_version(program: Path, option: str, pattern: bytes, encoder: str, remedy: str) -> str:
    """Return an encoder's printed version, group 1 of `pattern`; `Unavailable` without a match."""
    try:
        output = run_program([program, option], timeout_seconds=60, accepted_codes=(0, 1))
    except ProgramFailed as error:
        raise Unavailable(f"{program} cannot be run: {error}") from error
    match = re.search(pattern, output)
    if not match:
        raise Unavailable(f"{program} is not {encoder}'s encoder: {remedy}")
    return match[1].decode("ascii", "replace")


MAX_FILES = 10_000  # limit for a folder
MAX_FOLDER_BYTES = 1 << 33  # enough for weights
MAX_LINE_BYTES = 1 << 10
SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}


def hash_named_files(words: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the sha256 by path of files named in a command line, and what remains unknown.

    The files are programs, files, folders and imported modules. A word may be a path, KEY=PATH or,
    after `-m`, a module. Folders may have `MAX_FILES` files and `MAX_FOLDER_BYTES`; hidden files
    and virtual environments are ignored. The second value is a phrase: "what sh runs" for a
    shell or its script, or "the folder DIR" beyond the limits; "" if all files are known.
    """
    shells = [word for word in words if Path(word).name in SHELLS]
    paths: dict[Path, None] = {}
    unknown_phrase = f"what {shells[0]} runs" if shells else ""
    if program := shutil.which(words[0]):
        paths[Path(program)] = None
    for previous_word, word in zip(("", *words), words, strict=False):
        for path in _candidate_paths(word, previous_word == "-m"):
            if {Path(name).name for name in _read_shebang(path).split()} & SHELLS:
                unknown_phrase = unknown_phrase or f"what {path} runs"
            files = list(islice(_list_files(path), MAX_FILES + 1))
            sizes = (file.stat().st_size for file in files if file.is_file())
            if len(files) > MAX_FILES or sum(sizes) > MAX_FOLDER_BYTES:
                unknown_phrase = unknown_phrase or f"the folder {path}"
            else:
                paths |= dict.fromkeys(files)
    digests = {}
    for path in paths:
        with suppress(OSError):
            digests[str(path)] = file_sha256(path)
    return digests, unknown_phrase


def _candidate_paths(word: str, is_module: bool) -> Iterator[Path]:
    if is_module:
        yield Path(word.replace(".", os.sep) + ".py")
        yield Path(word.replace(".", os.sep))
    for text in {word, word.rpartition("=")[2]} - {"", ".", ".."}:
        with suppress(OSError, ValueError):
            if Path(text).exists():
                yield Path(text)


def _read_shebang(path: Path) -> str:
    # the interpreter in a script's first line: "/usr/bin/env bash"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        shebang = file.readline(MAX_LINE_BYTES)
    return shebang[2:].decode(errors="replace").strip() if shebang.startswith(b"#!") else ""


def _list_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield from find_imports(path)
    for folder, subfolders, files in walk(path):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith((".", "__pycache__"))
            and not Path(folder, name, "pyvenv.cfg").exists()
        )
        yield from (Path(folder, name) for name in sorted(files))


def find_imports(path: Path) -> Iterator[Path]:
    """Yield a file and, for a Python script, the modules it imports from its folder, each once."""
    visited_scripts: set[Path] = set()
    pending_scripts = [path]
    while pending_scripts:
        script = pending_scripts.pop()
        if script in visited_scripts:
            continue
        visited_scripts.add(script)
        yield script
        if script.suffix != ".py" and "python" not in _read_shebang(script):
            continue
        with suppress(OSError, SyntaxError, ValueError):
            for name in _imported_names(ast.parse(script.read_bytes())):
                for folder in {path.parent, script.parent}:  # `script.parent` for relative imports
                    target = folder / name.replace(".", os.sep)
                    modules = [target.with_suffix(".py"), target / "__init__.py"]
                    modules += target.parent.glob(f"{target.name}.*.so")
                    pending_scripts += [module for module in modules if module.is_file()]


def _imported_names(tree: ast.Module) -> Iterator[str]:
    # names of modules, of their packages, and of names imported from them
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names] + [module]
        for name in filter(None, names):
            yield from accumulate(name.split("."), "{}.{}".format)
