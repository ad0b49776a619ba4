"""Files that a command line names, also within quotes, and those that its scripts import."""

import ast
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmark.system.digest import file_sha256

MOST_FILES = 10_000
MOST_BYTES = 1 << 33  # of a folder, of weights
# Words of a shell that stand for something else: variables, results of programs, patterns, home.
SHELL_SIGNS = re.compile(r"[$`*?\[]|(?:^|[=:])~")
SEPARATORS = re.compile(r"[;&|<>()]+")
SHELLS = ("sh", "bash", "dash", "zsh", "ksh")


class Seen(NamedTuple):
    """Digests of the files that decide what a command does, and what cannot be seen of them."""

    digests: dict[str, str]  # by path
    unseen: str = ""  # the word that stands for more


def named_files(words: Sequence[str]) -> Seen:
    """Return the sha256 of programs, files, folders and imported modules that words name.

    A word may be a path, KEY=PATH, a module after `-m`, or the script of `sh -c`, whose words are
    looked at like these. Folders are read to `MOST_FILES` files and `MOST_BYTES`; hidden ones and
    virtual environments within are left out.
    """
    paths: dict[Path, None] = {}
    unseen = ""
    for command in _commands(words):
        program = shutil.which(command[0])
        if program is not None:
            paths[Path(program)] = None
        for before, word in zip(("", *command), command, strict=False):
            if SHELL_SIGNS.search(word) and _is_shell(words):
                unseen = unseen or repr(word)
            for path in _paths(word, before == "-m"):
                if path.is_dir():
                    inside = list(_inside(path))
                    too_large = _num_bytes(inside) > MOST_BYTES or len(inside) > MOST_FILES
                    unseen = unseen or (f"the folder {path}" if too_large else "")
                    paths.update(dict.fromkeys([] if too_large else inside))
                elif path.is_file():
                    paths.update(dict.fromkeys(with_imports(path)))
    digests = {}
    for path in paths:
        with suppress(OSError):
            digests[str(path)] = file_sha256(path)
    return Seen(digests, unseen)


def _is_shell(words: Sequence[str]) -> bool:
    return any(Path(word).name in SHELLS for word in words)


def _commands(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words of a command, and those of the commands within its quotes.

    >>> list(_commands(["sh", "-c", "python a.py {in} | tee {out}"]))
    [['sh', '-c'], ['python', 'a.py', '{in}'], ['tee', '{out}']]
    """
    plain = [word for word in words if not re.search(r"\s", word)]
    if plain:
        yield plain
    for script in (word for word in words if re.search(r"\s", word)):
        for part in SEPARATORS.split(script):
            with suppress(ValueError):  # a quote that does not end
                inner = shlex.split(part)
                if inner and inner != [script]:
                    yield from _commands(inner)


def _paths(word: str, is_module: bool) -> Iterator[Path]:
    """Yield the paths that a word may be: itself, or what stands after `=`."""
    if is_module:
        yield Path(word.replace(".", os.sep) + ".py")
        yield Path(word.replace(".", os.sep))
    for text in {word, word.rpartition("=")[2]} - {"", ".", ".."}:
        with suppress(OSError, ValueError):
            if Path(text).exists():
                yield Path(text)


def _inside(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__pycache__"))
            and not Path(place, name, "pyvenv.cfg").exists()
        )
        yield from (Path(place, name) for name in sorted(files))


def _num_bytes(paths: Sequence[Path]) -> int:
    total = 0
    for path in paths[:MOST_FILES]:
        with suppress(OSError):
            total += path.stat().st_size
    return total


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
        if script.suffix != ".py":
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
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names] + [module]
        else:
            continue
        for name in filter(None, names):
            parts = name.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)))
