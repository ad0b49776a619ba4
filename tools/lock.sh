#!/usr/bin/env bash
# pyproject.toml -> requirements.lock: every package that a run or a test needs, exact, with hashes;
# requirements-ray.lock, requirements-docs.lock: what these extras need beyond it;
# platforms.lock: what rdrbench[all] needs on each system, processor and Python, by markers.
#
#   tools/lock.sh             keeps the versions that are locked and still fit
#   tools/lock.sh --upgrade   takes the newest that fit (any other option of `uv pip compile` works too)
#
# Needs uv on the PATH. One lock serves Python 3.11 and 3.12: it is resolved for the first, and
# refused unless the second, held to the same versions, wants nothing else. The oldest C library
# that all the wheels accept is glibc 2.34 (compressai's wheel decides). pyvips alone has no wheel.
#
# requirements-cpu.lock is kept by hand; tests/setup/test_locks.py says when it no longer fits.
# docs/decisions/0011-locks-without-addresses.md says why there is no uv.lock.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

compile() { # extra, Python, file, more options
  uv pip compile pyproject.toml --extra "$1" --python-version "$2" --output-file "$3" \
    --python-platform x86_64-manylinux_2_34 --only-binary :all: --no-binary pyvips \
    --no-header --no-emit-index-url --no-emit-find-links --quiet "${@:4}"
}

pins() { grep -oE '^[a-z0-9][^ ]*==[^ ]+' "$1"; }

names() { pins "$1" | sed 's/==.*//'; }

beyond() { # extra, what it is for; its lock without what requirements.lock has
  local lock=requirements-$1.lock
  compile "$1" 3.11 "$lock" --no-annotate --generate-hashes \
    --constraint requirements.lock --constraint requirements-ray.lock "${@:3}"
  names requirements.lock | awk -v head="# $2" '
    BEGIN { print head }
    NR == FNR { there[$1]; next }
    /^[a-z0-9]/ { split($0, name, "=="); kept = !(name[1] in there) }
    kept' - "$lock" >"$scratch"
  cp "$scratch" "$lock"
  echo "$lock: $(pins "$lock" | wc -l) packages"
}

scratch=$(mktemp) newer=$(mktemp)
trap 'rm -f "$scratch" "$newer"' EXIT

compile dev 3.11 requirements.lock --generate-hashes "$@"
compile dev 3.12 "$newer" --no-annotate --constraint requirements.lock
if ! missing=$(diff <(pins requirements.lock) <(pins "$newer") | grep '^>'); then
  echo "requirements.lock: $(pins requirements.lock | wc -l) packages, for Python 3.11 and 3.12"
else
  echo "Python 3.12 needs what the lock does not have; narrow pyproject.toml: $missing" >&2
  exit 1
fi
beyond ray 'For `bench run --engine ray` and its tests (docs/cluster.md), beside requirements.lock.' "$@"
beyond docs 'For `mkdocs build` and its test, beside requirements.lock.' "$@"

[ -e platforms.lock ] || pins requirements.lock >platforms.lock # the same versions where they fit
uv pip compile pyproject.toml --extra all --universal --python-version 3.11 \
  --output-file platforms.lock --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
  --quiet "$@"
