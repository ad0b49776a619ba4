"""Sessions shown in documents: commands of ```console blocks with their output, run and compared.

A line that begins with `$ ` is a command for bash, and a line that begins with `> ` continues the
one before it. What follows is its output, standard error included, as doctest writes it: `...`
stands for any text, also of several lines. Everything else is compared exactly, except for the
amount of white space within a line and for numbers with a decimal point, which may differ by one
unit in their last digit, since processors round differently. `[2]` on a line of its own is an exit
code other than 0.
"""

import os
import re
import shlex
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

from PIL import Image

from benchmark.system.machine import package_folder
from support.bench.command import bench
from support.rows.bundled_results import ROOT, copy_bundled_results

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?![\w.])")
PHOTOGRAPHS, CROP = ("astronaut.png", "chelsea.png", "coffee.png"), (60, 40, 444, 296)
SHELL_CHARACTERS = {*"|&;<>$`\\*?[~"}
HIDDEN_VARIABLES = re.compile(r"BENCH_|TORCH_HOME|VTM_DIR|BPG_DIR")  # a stranger has set none


def examples(text: str) -> list[tuple[str, str]]:
    """Return the commands of a document's console blocks, in order, each with its output.

    >>> examples("```console\\n$ echo a \\\\\\n> b\\na b\\n$ true\\n```\\n")
    [('echo a \\\\\\nb', 'a b\\n'), ('true', '')]
    """
    result = [
        match
        for block in BLOCK.findall(text)
        for match in re.findall(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]
    return [(command.replace("\n> ", "\n"), output) for command, output in result]


def agree(doc_text: str, got: str) -> bool:
    """Return True if an output is the one that a document shows, in the notation above.

    >>> agree("a\\n...\\n29.31 dB in ... s\\n", "a\\nb\\nc\\n29.32 dB in  17 s\\n")
    True
    >>> agree("29.31", "29.33"), agree("16 cells", "17 cells"), agree("1.2.3", "1.2.4")
    (False, False, False)
    """
    # Left-out text is skipped to the next shown text, once: a single expression with many `...`
    # would try every way to divide an output that differs.
    first, *later_parts = doc_text.rstrip().split("...")
    end, text = 0, got.rstrip()
    for number, part in enumerate((first, *later_parts)):
        pattern, numbers = _pattern(part)
        last = r"\Z" if number == len(later_parts) else ""
        find = re.compile(pattern + last).search if number else re.compile(pattern + last).match
        result = find(text, end)
        if result is None or not all(map(_near, numbers, result.groups())):
            return False
        end = result.end()
    return True


def _pattern(doc_text: str) -> tuple[str, list[str]]:
    """Return the expression of a text without `...`, a group per number, and the numbers."""
    pieces, numbers = [], []
    for part in re.split(rf"({NUMBER.pattern}| +)", doc_text):
        if NUMBER.fullmatch(part):
            pieces.append(rf"([-+]?\d+\.\d{{{len(part.partition('.')[2])}}})")
            numbers.append(part)
        else:
            pieces.append(re.sub(r"^(?:\\ )+$", " +", re.escape(part)))
    return "".join(pieces), numbers


def _near(doc_number: str, got: str) -> bool:
    units = 10 ** len(doc_number.partition(".")[2])
    return abs(round(float(doc_number) * units) - round(float(got) * units)) <= 1


class Session:
    """A terminal in a copy of the project's results, without network, weights or datasets.

    Next to `results/` is `photos/`, three photographs of 384 x 256 pixels.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / "rdrbench"
        copy_bundled_results(self.folder / "results")
        (home / "bin").mkdir()
        program = home / "bin" / "bench"
        program.write_text(
            f"#!{sys.executable}\nfrom benchmark.__main__ import main\n\n"
            'if __name__ == "__main__":\n    main()\n'
        )
        program.chmod(0o755)
        (self.folder / "photos").mkdir()
        for name in PHOTOGRAPHS:
            with Image.open(package_folder("skimage") / "data" / name) as photograph:
                photograph.convert("RGB").crop(CROP).save(self.folder / "photos" / name)
        variables = {k: v for k, v in os.environ.items() if not HIDDEN_VARIABLES.match(k)}
        nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
        self.environment = variables | nowhere | {
            "PATH": f"{home / 'bin'}{os.pathsep}{variables['PATH']}", "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"), "COLUMNS": "100", "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",  # both streams in the order of a terminal
        }  # fmt: skip

    def run(self, command: str) -> str:
        """Return what a terminal shows, with `~` for the home folder and `[1]` for exit code 1.

        A `bench` that a shell has nothing to do for is called in this process.
        """
        program, *words = shlex.split(command.replace("\\\n", ""))
        if program == "bench" and not SHELL_CHARACTERS & {*command.replace("\\\n", "")}:
            with patch.dict(os.environ, self.environment, clear=True), chdir(self.folder):
                result = bench(*words, mixed=True)
        else:
            result = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env=self.environment, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=600, check=False,
            )  # fmt: skip
        text = result.stdout.replace(str(ROOT), "~/rdrbench").replace(str(self.home), "~")
        code = f"[{result.returncode}]\n" if result.returncode else ""
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines()) + code
