#!/usr/bin/env bash
# Measure on a GPU what a CPU cannot show, and write docs/experiments/gpu.md (which says what the parts are).
#
#   tools/on_gpu.sh                                  all parts, at most eight minutes; resumes
#   tools/on_gpu.sh --only coding,metrics            these parts
#   tools/on_gpu.sh --device cpu --small --out try   the parts themselves, without a GPU
#
# It sets up .venv where there is none, as ./run_all.sh setup does.
set -euo pipefail
root=$(cd -P "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." >/dev/null && pwd)
if ! "$root/.venv/bin/python" -c "import benchmark" 2>/dev/null; then
  "$root/run_all.sh" setup
fi
PYTHONPATH=$root exec "$root/.venv/bin/python" "$root/tools/on_gpu.py" "$@"
