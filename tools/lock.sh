#!/usr/bin/env bash
# Make locks from pyproject.toml:
# requirements.lock: each package that runs and tests need, with its exact version and hashes;
# requirements-ray.lock, requirements-docs.lock: additional packages of these extras;
# platforms.lock: packages of rdrbench[all], with markers for system, processor and Python.
#
#   tools/lock.sh             keeps the locked versions that still fit
#   tools/lock.sh --upgrade   takes the newest that fit (also: other options of `uv pip compile`)
#
# Needs uv on the PATH. requirements.lock is for Python 3.11 and 3.12: it is resolved for 3.11, then
# checked to be complete for 3.12. All wheels accept glibc 2.34 (compressai's needs that version).
# Only pyvips has no wheel. requirements-cpu.lock is edited by hand; tests/setup/test_locks.py checks
# it. docs/decisions/0011-locks-without-addresses.md explains why there is no uv.lock.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

compile() { # extra, Python, file, more options
  uv pip compile pyproject.toml --extra "$1" --python-version "$2" --output-file "$3" \
    --python-platform x86_64-manylinux_2_34 --only-binary :all: --no-binary pyvips \
    --no-header --no-emit-index-url --no-emit-find-links --quiet "${@:4}"
}

pins() { grep -oE '^[a-z0-9][^ ]*==[^ ]+' "$1"; }

names() { pins "$1" | sed 's/==.*//'; }

beyond() { # extra, its purpose, more options; locks what requirements.lock does not have
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
  echo "requirements.lock lacks packages for Python 3.12; restrict pyproject.toml: $missing" >&2
  exit 1
fi
beyond ray 'For `bench run --engine ray` and its tests (docs/cluster.md), beside requirements.lock.' "$@"
beyond docs 'For `mkdocs build` and its test, beside requirements.lock.' "$@"

[ -e platforms.lock ] || pins requirements.lock >platforms.lock # prefer the same versions
uv pip compile pyproject.toml --extra all --universal --python-version 3.11 \
  --output-file platforms.lock --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
  --quiet "$@"
