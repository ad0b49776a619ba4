#!/usr/bin/env bash
# Measure what needs a GPU (docs/experiments/gpu.md), even on a machine without a network: `pack`
# makes two archives; unpack both into one folder of that machine; `code/tools/on_gpu.sh measure`
# there installs the packages from the archives, then measures.
#
#   tools/on_gpu.sh pack FOLDER
#   tools/on_gpu.sh measure --out FOLDER [--from STEP] [--device cpu --small]
#   tools/on_gpu.sh table FOLDER
set -euo pipefail
root=$(cd -P "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." >/dev/null && pwd)
unpacked=$(dirname "$root") # folder of both unpacked archives, if there are any
packages=$unpacked/packages python=$root/.venv/bin/python
export PYTHONPATH=$root
if [ -d "$unpacked/wheels" ]; then
  python=python3
  if [ ! -e "$packages/complete" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
      --upgrade --target "$packages" "$unpacked"/wheels/*.whl
    touch "$packages/complete"
  fi
  export PYTHONPATH=$root:$packages
  export BENCH_DATA=$unpacked/shared/data BENCH_WEIGHTS=$unpacked/shared/data/weights
elif [ ! -x "$python" ]; then
  "$root/run_all.sh" setup
fi
exec "$python" -m tools.gpu "$@"
