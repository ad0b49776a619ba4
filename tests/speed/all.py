"""Run the scripts of this folder and print the table of docs/experiments/speed.md.

    python tests/speed/all.py [--kodak FOLDER] [--only WORD]

Run by hand on two idle cores. Each row is a verdict of a script, which says what it compares and
with which options. Exit code 1 where a target is missed or a script failed.
"""

import re
import subprocess
import sys
from pathlib import Path

from harness import KODAK, ROOT, options

VERDICT = re.compile(r"^(met   |MISSED) (.+): (-?[\d.]+), at most ([\d.]+)$", re.MULTILINE)
# Those that need no folder, as `verbs` and `large` do
SCRIPTS = ("kodak", "metrics", "ours", "store", "start", "clic2020")


def main() -> int:
    """Run each script, then print the table."""
    arguments = options(__doc__, kodak=str(KODAK), only="")
    rows, failed = [], False
    for name in SCRIPTS:
        if arguments.only not in name:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        script = Path(__file__).with_name(f"{name}.py")
        words = ["--kodak", arguments.kodak] if name == "kodak" else []
        command = [sys.executable, script, *words]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        verdicts = VERDICT.findall(result.stdout)
        rows += [f"| {target} | {value} | {bar} | {met.strip()} |"
                 for met, target, value, bar in verdicts]  # fmt: skip
        if not verdicts:
            rows.append(f"| {name} | – | – | failed: {result.stderr.strip()[-200:]} |")
        failed |= result.returncode != 0
    print("\n".join(["| work | figure | bar | verdict |", "|---|--:|--:|---|", *rows]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
