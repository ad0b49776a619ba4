"""External programs: run on files, asked for their version; PNG; files that command lines name."""

import ast
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from benchmark.codec import MOST_PIXELS, Pixels, most_stream_bytes
from benchmark.errors import ImageRefused, ProgramFailed, Unavailable
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import SIGNATURE, holds_rows, lacks_rows, open_regular, walk
from benchmark.system.programs import read_written, run_program

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
    data = read_written(stream, command[0], most_stream_bytes(*shape[:2]))
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
        printed = run_program([program, option], timeout_seconds=60, accepted=(0, 1))
    except ProgramFailed as error:
        raise Unavailable(f"{program} does not run: {error}") from error
    match = re.search(pattern, printed)
    if not match:
        raise Unavailable(f"{program} does not say that it is {encoder}'s encoder: {remedy}")
    return match[1].decode("ascii", "replace")


MOST_FILES = 10_000
MOST_BYTES = 1 << 33  # of a folder, of weights
MOST_SCRIPT_BYTES = 1 << 20
# Words of a shell that mean something else: variables, results of programs, patterns, home.
SHELL_SIGNS = re.compile(r"[$`*?\[]|(?:^|[=:])~")
# Of a script: its parameters, whose words are given, the last program's result, and the test `[`.
NAMES_NOTHING = re.compile(r"\$(?:[@*#?1-9]|\{[@*#?1-9]\})|(?<!\S)\[{1,2}(?!\S)")
SEPARATORS = re.compile(r"[;&|<>()]+")
SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}


def named_files(words: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the sha256 of the files that words name, by path, and a word that names others.

    The files are programs, files, folders and imported modules. A word may be a path, KEY=PATH, a
    module after `-m`, or the script of `sh -c`, whose words are looked at like these; so are those
    of a file that a shell runs, unless it is of a folder of programs. Folders are read to
    `MOST_FILES` files and `MOST_BYTES`; hidden ones and virtual environments within are left out.
    The word, which may be a folder beyond that, is "" if all files are known.
    """
    in_shell = any(Path(word).name in SHELLS for word in words)
    paths: dict[Path, None] = {}
    unseen = ""
    listed = list(_commands(words))
    commands, scripts = listed.copy(), set[Path]()
    for command in commands:  # whose number grows by those of scripts
        if program := shutil.which(command[0]):
            paths[Path(program)] = None
        for before, word in zip(("", *command), command, strict=False):
            if in_shell and command in listed and SHELL_SIGNS.search(word):
                unseen = unseen or repr(word)
            for path in _paths(word, before == "-m"):
                script = [] if path in scripts else _script(path)
                names = {Path(part).name for part in _interpreter(script).split()}
                if script and (before in SHELLS or names & SHELLS):
                    scripts.add(path)
                    if any(SHELL_SIGNS.search(NAMES_NOTHING.sub("", line)) for line in script):
                        unseen = unseen or f"what {path} names by variables or patterns"
                    for line in script:
                        commands += _commands([f"{line} "])
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


def _commands(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words of a command, and those of the commands within its quotes.

    >>> list(_commands(["sh", "-c", "python a.py {in} | tee {out}"]))
    [['sh', '-c'], ['python', 'a.py', '{in}'], ['tee', '{out}']]
    """
    scripts = [word for word in words if re.search(r"\s", word)]
    if plain := [word for word in words if word not in scripts]:
        yield plain
    for script in scripts:
        for part in SEPARATORS.split(script):
            with suppress(ValueError):  # a quote that does not end
                inner = shlex.split(part)
                if inner and inner != [script]:
                    yield from _commands(inner)


def _paths(word: str, is_module: bool) -> Iterator[Path]:
    """Yield the paths that a word may be: itself, or what comes after `=`."""
    if is_module:
        yield Path(word.replace(".", os.sep) + ".py")
        yield Path(word.replace(".", os.sep))
    for text in {word, word.rpartition("=")[2]} - {"", ".", ".."}:
        with suppress(OSError, ValueError):
            if Path(text).exists():
                yield Path(text)


def _script(path: Path) -> list[str]:
    """Return the lines of a script, the first one also where it is a comment.

    A script is a text that begins with #! or that is called *.sh; others have no lines here.
    """
    folders = map(Path, os.get_exec_path())
    if not path.is_file() or path.absolute().parent in folders:
        return []
    with path.open("rb") as file:
        begin = file.read(MOST_SCRIPT_BYTES)
    if not (begin.startswith(b"#!") or path.suffix == ".sh") or b"\0" in begin:
        return []
    first, *others = begin.decode(errors="replace").splitlines() or [""]
    return [first, *(line for line in others if not line.lstrip().startswith("#"))]


def _interpreter(script: Sequence[str]) -> str:
    """Return what a script's first line runs it by: "/usr/bin/env bash" of #!/usr/bin/env bash."""
    first = script[0] if script else ""
    return first.removeprefix("#!") if first.startswith("#!") else ""


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
        if script.suffix != ".py" and "python" not in _interpreter(_script(script)):
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
