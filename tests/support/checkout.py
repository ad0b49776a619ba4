"""A copy of what run_all.sh reads, with stand-ins for Python, uv and pip."""

import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

EXTRA_LOCKS = ("requirements-ray.lock", "requirements-docs.lock")
LOCKS = ("requirements.lock", "requirements-cpu.lock", *EXTRA_LOCKS)

PROGRAMS = (
    *("awk", "bash", "cat", "cp", "dirname", "env", "flock", "grep", "ln", "mkdir", "printf"),
    *("readlink", "rm", "sed", "sha256sum", "sleep", "tail", "tee", "timeout"),
)

TORCHVISION = ".venv/lib/python3.11/site-packages/torchvision/_meta_registrations.py"

# Stands in for Python and all programs of .venv: records how it was called, fails when told to.
STAND_IN = """#!/usr/bin/env bash
call="${0##*/} $*"
[[ "$call" != uv* ]] || call="$UV_DEFAULT_INDEX $call"
[[ "$call" != *packages.lock ]] || call+=" of "
[[ "$call" != *" of " ]] || call+=$(awk -F= '/\\+cpu/ { printf "%s ", $1 }' .venv/packages.lock)
printf '%s\\n' "${call//$'\\n'/ }" >>"$CALLS"
case "$call" in
  *"import os, platform, sys"*) printf '%s' "$OBJECTION" ;;
  *"-r .venv/packages.lock of"*) [ ! -e "$CALLS.uv" ] || . "$CALLS.uv" ;;
  *"tools/pip_settings.py") echo "UV_DEFAULT_INDEX=https://elsewhere/simple" ;;
  *"import ensurepip, glob"*) echo "$CALLS.whl" ;;
  *"-m venv --clear --without-pip .venv")
    mkdir -p .venv/bin .venv/lib/python3.11/site-packages/torchvision
    printf '@torch.library.register_fake("torchvision::%s")\ndef %s(): ...\n' nms nms qnms qnms \
      >.venv/lib/python3.11/site-packages/torchvision/_meta_registrations.py
    for name in python bench ruff mypy; do cp "$0" ".venv/bin/$name"; done ;;
  *"-m venv .venv/newer") mkdir -p .venv/newer/bin; cp "$0" .venv/newer/bin/python ;;
esac
[[ -z "$REFUSED" || ! "$call" =~ $REFUSED ]] || { echo "refused: $call"; exit "$CODE"; }
[[ "$call" != *"-r .venv/uv.lock" ]] || cp "$0" .venv/bin/uv
"""


def pins(lock: str) -> dict[str, str]:
    """Return the versions in a lock, by the names of packages."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


EXTENSIONS = ("benchmark/metrics/loops.c",)


class Checkout:
    """A copy of what run_all.sh reads, on a machine that has one Python: the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.calls = folder / "a b", folder / "bin", folder / "calls"
        for name in (*LOCKS, "run_all.sh", ".ci/run", "pyproject.toml", *EXTENSIONS):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        self.bin.mkdir()
        for program in PROGRAMS:
            (self.bin / program).symlink_to(str(shutil.which(program)))
        self.program("python3.11")
        Path(f"{self.calls}.whl").touch()

    def program(self, name: str, text: str = STAND_IN) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments, refused_call="", code=1, objection="", script="run_all.sh"):
        process = self.start(
            *arguments, script=script, REFUSED=refused_call, CODE=code, OBJECTION=objection
        )
        message, _ = process.communicate()
        return process.returncode, message, self.calls.read_text().splitlines()

    def start(self, *arguments, script="run_all.sh", **environment):
        """Start a run in a process group of its own, as a terminal does."""
        self.calls.write_text("")
        variables = {"REFUSED": "", "CODE": 1, "OBJECTION": ""} | environment
        paths = {"PATH": str(self.bin), "CALLS": str(self.calls)}
        return subprocess.Popen(
            [self.root / script, *arguments], cwd=self.bin, text=True, start_new_session=True,
            env=paths | {name: str(value) for name, value in variables.items()},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )  # fmt: skip

    def uv_says(self, *lines: str, command: str = "") -> None:
        """Have uv and pip say these lines when they install the packages, and do `command`."""
        text = "".join(f"echo {shlex.quote(line)}\n" for line in lines)
        Path(f"{self.calls}.uv").write_text(f"{text}{command}\n")
