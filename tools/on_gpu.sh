#!/usr/bin/env bash
# Measure on a GPU what a CPU cannot show (docs/experiments/gpu.md), also on a machine without a
# network: `pack` makes two archives, which are brought there one after the other and unpacked into
# one folder; `code/tools/on_gpu.sh measure` there installs the packages that came with them.
#
#   tools/on_gpu.sh pack FOLDER
#   tools/on_gpu.sh measure --out FOLDER [--from STEP] [--device cpu --small]
#   tools/on_gpu.sh table FOLDER
set -euo pipefail
root=$(cd -P "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." >/dev/null && pwd)
brought=$(dirname "$root") # the folder where both archives were unpacked, or that of a checkout
packages=$brought/packages python=$root/.venv/bin/python
export PYTHONPATH=$root
if [ -d "$brought/wheels" ]; then
  python=python3
  if [ ! -e "$packages/complete" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
      --upgrade --target "$packages" "$brought"/wheels/*.whl
    touch "$packages/complete"
  fi
  export PYTHONPATH=$root:$packages
  export BENCH_DATA=$brought/shared/data BENCH_WEIGHTS=$brought/shared/data/weights
elif [ ! -x "$python" ]; then
  "$root/run_all.sh" setup
fi
exec "$python" -m tools.gpu "$@"
