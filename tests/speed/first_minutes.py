"""Compare set-up by uv with set-up by pip, and run `./run_all.sh` twice after it, in fresh clones.

    python tests/speed/first_minutes.py

Run by hand on two idle cores; it downloads all packages twice, into caches of its own. Exit code 1
where a target is missed.
"""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import ROOT, clock, run, verdict


def clone(folder: Path) -> Path:
    """Clone what is committed; return the clone's run_all.sh."""
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    return folder / "run_all.sh"


def main() -> None:
    """Print the seconds and their ratio, and whether the targets are met."""
    with TemporaryDirectory() as name:
        for variable in ("UV_CACHE_DIR", "PIP_CACHE_DIR", "XDG_CACHE_HOME"):
            os.environ[variable] = f"{name}/{variable}"
        by_pip = clone(Path(name, "pip-only"))
        script = by_pip.read_text()
        by_pip.write_text(script.replace("use_uv && install_packages", "false"))
        by_uv = clone(Path(name, "project"))
        os.sync()  # each begins with an empty queue of writes: two gigabytes follow
        uv = clock([str(by_uv), "setup"])
        os.sync()
        pip = clock([str(by_pip), "setup"])
        first, second = (clock([str(by_uv)]) for _ in range(2))
    verdict("set-up by uv, of pip's seconds", uv.seconds / pip.seconds, 1 / 3)
    verdict("./run_all.sh after it, s", first.seconds, 60 - uv.seconds)
    verdict("./run_all.sh again, s", second.seconds, 20)


if __name__ == "__main__":
    run(main)
