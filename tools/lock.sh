#!/usr/bin/env bash
# pyproject.toml -> requirements.lock: every package that a run or a test needs, exact, with hashes;
# platforms.lock: what rdrbench[all] needs on each system, processor and Python, by markers.
#
#   tools/lock.sh             keeps the versions that are locked and still fit
#   tools/lock.sh --upgrade   takes the newest that fit (any other option of `uv pip compile` works too)
#
# Needs uv on the PATH. One lock serves Python 3.11 and 3.12: it is resolved for the first, and
# refused unless the second, held to the same versions, wants nothing else. The oldest C library
# that all the wheels accept is glibc 2.34 (compressai's wheel decides). pyvips alone has no wheel.
#
# requirements-cpu.lock and requirements-ray.lock are kept by hand; tests/setup/test_locks.py says
# when they no longer fit.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

compile() {
  uv pip compile pyproject.toml --extra dev --python-version "$1" --output-file "$2" \
    --python-platform x86_64-manylinux_2_34 --only-binary :all: --no-binary pyvips \
    --no-header --no-emit-index-url --no-emit-find-links --quiet "${@:3}"
}

pins() { grep -oE '^[a-z0-9][^ ]*==[^ ]+' "$1"; }

compile 3.11 requirements.lock --generate-hashes "$@"

newer=$(mktemp)
trap 'rm -f "$newer"' EXIT
compile 3.12 "$newer" --no-annotate --constraint requirements.lock
if ! missing=$(diff <(pins requirements.lock) <(pins "$newer") | grep '^>'); then
  echo "requirements.lock: $(pins requirements.lock | wc -l) packages, for Python 3.11 and 3.12"
else
  echo "Python 3.12 needs what the lock does not have; narrow pyproject.toml: $missing" >&2
  exit 1
fi

[ -e platforms.lock ] || pins requirements.lock >platforms.lock # the same versions where they fit
uv pip compile pyproject.toml --extra all --universal --python-version 3.11 \
  --output-file platforms.lock --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
  --quiet "$@"
