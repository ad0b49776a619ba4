"""Compare a report that writes its page with one that does not: ours, JPEG and VTM on `sample`.

    python tests/speed/page.py

Run by hand on two idle cores; bundled rows are there, too. Exit code 1 where a target is missed.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import ROOT, clock, verdict

BENCH = str(Path(sys.executable).with_name("bench"))


def main() -> int:
    """Print the seconds of both, and of the page again, and whether the targets are met."""
    with TemporaryDirectory() as name:
        results = Path(name)
        for folder in ("sample", "packs", "published"):
            shutil.copytree(ROOT / "results" / folder, results / folder)
        place = ("--dataset", "sample", "--results", name)
        clock([BENCH, "run", "--codecs", "ours,jpeg,vtm", "--no-table", *place])
        report = (BENCH, "report", *place)
        alone, first, again = (
            clock([*report, *more]).seconds
            for more in (("--out", f"{name}/out"), ("--page",), ("--page",))
        )
    met = [
        verdict("report and first page, s", first, 15),
        verdict("the same again, s beside the report alone", again - alone, 3),
        verdict("the same again, of the first", again / first, 0.8),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
