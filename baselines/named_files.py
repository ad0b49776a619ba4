"""Files that a command line names, also within quotes, and those that its scripts import."""

import ast
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, islice
from pathlib import Path

from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import walk

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
