#!/usr/bin/env bash
# Measure on a GPU what a CPU cannot show, as docs/experiments/gpu.md says: `tools/on_gpu.sh --help`.
# It runs in .venv; where there is none, by a `python3` that has the packages, else it sets .venv up.
set -euo pipefail
root=$(cd -P "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." >/dev/null && pwd)
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
for python in "$root/.venv/bin/python" python3 ""; do
  if "$python" -c "import benchmark, polars, torch" 2>/dev/null; then break; fi
done
if [ -z "$python" ]; then
  PYTHONPATH='' "$root/run_all.sh" setup
  python=$root/.venv/bin/python
fi
exec "$python" -m tools.gpu.record "$@"
