"""Draw the documentation's pictures with the commands in their captions.

    python tools/docs_figures.py [--into docs/figures] [--only rd.png,bd.png]

A caption begins below its picture, "*`FILE` of `bench ...`". The command runs in a temporary folder
with the bundled results; if the caption goes on ", after `bench run ...`", after this command.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
CAPTION = re.compile(
    r"!\[[^\]]*\]\((?:\.\./)?figures/([\w.]+)\)\s+\*`([\w.]+)` of `(bench [^`]+)`"
    r"(?:, after\s+`(bench [^`]+)`)?"
)


class Picture(NamedTuple):
    """A picture of the documentation, with its commands."""

    name: str  # in docs/figures
    file: str  # name of the command's output file
    command: str
    preparation: str = ""


def pictures() -> list[Picture]:
    """Return all pictures with a command in the caption."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    return [Picture(*fields) for text in texts for fields in CAPTION.findall(text)]


def draw(picture: Picture, folder: Path) -> Path:
    """Draw a picture in a folder and return its path."""
    if not (folder / "results").exists():
        folder.mkdir(exist_ok=True)
        (folder / "results").mkdir()
        for name in ("kodak", "published", "packs"):
            (folder / "results" / name).symlink_to(ROOT / "results" / name)
    for command in filter(None, [picture.preparation, picture.command]):
        bench_arguments = shlex.split(command)[1:]
        bench_arguments += [] if command == picture.preparation else ["--out", str(folder / "out")]
        bench = [sys.executable, "-m", "benchmark", *bench_arguments]
        subprocess.run(bench, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "out" / picture.file


def main(out: Path, filter_text: str) -> None:
    """Write pictures to a folder; filter_text: their names, comma-separated, or "" for all."""
    names = filter_text.split(",") if filter_text else [picture.name for picture in pictures()]
    with TemporaryDirectory() as folder:
        for picture in pictures():
            if picture.name in names:
                shutil.copy(draw(picture, Path(folder)), out / picture.name)
                sys.stdout.write(f"{out / picture.name}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "figures")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    main(arguments.into, arguments.only)
