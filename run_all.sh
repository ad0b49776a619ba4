#!/usr/bin/env bash
# Set up a bare Linux machine with Python 3.11 or 3.12 and compare codecs on it.
#
#   ./run_all.sh         set up; measure our codec, JPEG and VTM on the dataset `sample`; write the
#                        report of these and its page
#   ./run_all.sh all     the same with every codec that runs here; also JPEG and VTM on Kodak, if its
#                        images are present
#   ./run_all.sh paper   set up, draw the paper's figures from results/ into results/figures/crdr
#   ./run_all.sh test    set up, Ray and mkdocs too, then ruff, mypy and pytest; --all adds the slow
#                        tests, and pytest with numpy 2 if there is Python 3.13 or 3.14
#   ./run_all.sh setup   set up, nothing else
#
# It says what it does next. It writes only to .venv and results, to the caches of uv and pip, and
# beside benchmark/metrics/loops.c; .venv/install.log has all that they say. Pillow is the stock wheel;
# `pip install .[simd]` is for those who want pillow-simd.
set -euo pipefail
cd -P "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" >/dev/null
exec </dev/null
# The user's pip configuration decides where packages come from, but not where they are installed.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT

PYTHON=.venv/bin/python
PIP=("$PYTHON" -m pip --disable-pip-version-check --no-input install --progress-bar off)
UV=(.venv/bin/uv pip install --python "$PYTHON" --index-strategy unsafe-best-match)
INSTALL=("${PIP[@]}")

fail() { # one line, exit code
  printf 'run_all.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

# Prints what is wrong with the Python that runs it, or nothing; works with any Python.
PROBE='
import os, platform, sys
version = "%d.%d" % sys.version_info[:2]
system = "%s on %s" % (platform.system(), platform.machine())
try:
    glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
except Exception:
    glibc = "0"
if version not in sys.argv[1:]:
    print("is Python " + version)
elif system != "Linux on x86_64":
    print("runs on %s, but the wheels are for Linux on x86_64" % system)
elif [int(part) for part in glibc.split(".")[:2]] < [2, 34]:
    print("has glibc %s, but the wheels need 2.34" % glibc)
else:
    try:
        import ensurepip, venv
    except ImportError:
        print("has no venv module (on Debian or Ubuntu: apt-get install python%s-venv)" % version)
'

find_python() { # two versions that will do; its path
  local name path reason seen=""
  for name in "${@/#/python}" python3 python; do
    while read -r path; do
      # A pyenv shim with no version behind it is on the PATH, and fails.
      reason=$("$path" -c "$PROBE" "$@" 2>/dev/null) || continue
      [ -n "$reason" ] || { echo "$path"; return; }
      seen="$seen; $path $reason"
    done < <(type -aP "$name")
  done
  fail "needs Python $1 or $2 on the PATH${seen:-; there is none}"
}

select_from() { # lock file, regular expression of names, 1 to keep those or 0 to drop them: a lock
  awk -v names="^($2)==" -v keep="$3" '/^[a-z0-9]/ { kept = ($0 ~ names) == keep } kept' "$1"
}

shown() { # command; all that it says is logged, what takes time is shown
  "$@" 2>&1 | tee -a .venv/install.log | sed -u -n -E \
    -e 's/^ *(Downloading .* \([0-9]{2,}[.0-9]* ?[MG]i?B\)).*/  \1/p' \
    -e 's/^((Prepared|Installed) [0-9]{2,} .*)/  \1/p' \
    -e 's/^Installing collected .*/  unpacking, which takes as long as the downloads/p'
}

install_locked() { # lock file, more options; exactly these wheels, no dependencies beyond them
  shown "${INSTALL[@]}" --no-deps --require-hashes --only-binary :all: -r "$@"
}

use_uv() { # which looks for packages where pip does
  local setting
  select_from requirements.lock uv 1 >.venv/uv.lock
  install_locked .venv/uv.lock >/dev/null || return
  while read -r setting; do export "${setting?}"; done < <("$PYTHON" tools/pip_settings.py)
  INSTALL=("${UV[@]}")
}

bundled_pip() { # the wheel that Python has for ensurepip, which takes ten times as long; or nothing
  "$PYTHON" -c 'import ensurepip, glob, os
print(*glob.glob(os.path.dirname(ensurepip.__file__) + "/_bundled/pip-*.whl"))'
}

make_environment() { # python; pip is unpacked alone, install_packages adds its program
  "$1" -m venv --clear --without-pip .venv || return
  "$PYTHON" -m zipfile -e "$(bundled_pip)" .venv/lib/python3*/site-packages 2>/dev/null ||
    "$PYTHON" -m ensurepip >.venv/install.log
}

install_packages() {
  local separate of_cpu pip files=.venv/lib/python3*/site-packages tries=(none)
  nvidia-smi -L >/dev/null 2>&1 || tries=("torch|torchvision" torch none)
  for of_cpu in "${tries[@]}"; do
    # torch with CUDA has its libraries in packages of their own, which torch+cpu never loads.
    separate="pyvips|uv|$of_cpu|triton|nvidia-.*|cuda-.*"
    [ "$of_cpu" != none ] || separate="pyvips|uv"
    {
      select_from requirements-cpu.lock "$of_cpu" 1
      select_from requirements.lock "$separate" 0
    } >.venv/packages.lock
    if install_locked .venv/packages.lock; then break; fi
    [ "$of_cpu" != none ] || return
  done
  # A torchvision for CUDA finds no operators beside torch+cpu and does without them, but for the
  # declarations of two.
  [ "$of_cpu" != torch ] ||
    sed -i '/^@torch.library.register_fake("torchvision::/d' $files/torchvision/_meta_registrations.py || return
  # pyvips is pure Python and has no wheel. Without build isolation no library of the system is found.
  select_from requirements.lock pyvips 1 >.venv/pyvips.lock
  shown "${INSTALL[@]}" --no-deps --no-build-isolation --require-hashes -r .venv/pyvips.lock || return
  pip=$(bundled_pip)
  [ ! -f "$pip" ] || shown "${INSTALL[@]}" --no-deps --no-index --force-reinstall "$pip"
}

compile_used() { # half of the packages: Python compiles the others where one is imported after all
  local unused="tests?|testing|mypyc?|pip|setuptools|playwright|hypothesis|_pytest|torch_geometric|huggingface_hub"
  unused="$unused|networkx|pygments|aiohttp|anyio|pydantic/v1|pytorch_optimizer|imageio|onnx|_inductor|_export|distributed/[^/]*"
  "$PYTHON" -m compileall -q -j 0 -x "/site-packages/.*\b($unused)/" .venv/lib/python3*/site-packages >>.venv/install.log 2>&1 ||
    true # templates of packages are no Python
}

set_up() { # nothing to do where .venv was completed from these locks, here
  local locked project python
  locked=$({ cat requirements*.lock; pwd; } | sha256sum)
  project=$(cat pyproject.toml benchmark/metrics/loops.c | sha256sum)
  if [ "$(cat .venv/locked 2>/dev/null)" != "$locked" ] || ! "$PYTHON" -c "" 2>/dev/null; then
    python=$(find_python 3.11 3.12) # compressai has no wheels for later ones
    echo "Setting up .venv with $python: 0.6 GB to download, 2 GB unpacked; with CUDA, gigabytes more."
    make_environment "$python" || fail "$python could not make .venv"
    if ! { use_uv && install_packages; }; then
      echo "  uv could not install the packages: now pip, minutes"
      INSTALL=("${PIP[@]}")
      if ! install_packages; then
        tail -n 20 .venv/install.log >&2
        fail "pip could not install requirements.lock; .venv/install.log has all it said"
      fi
    fi
    compile_used
    echo "$locked" >.venv/locked
  fi
  if [ "$(cat .venv/project 2>/dev/null)" != "$project" ]; then
    "${INSTALL[@]}" --no-deps --no-build-isolation --no-index --editable . >>.venv/install.log 2>&1 ||
      fail "pip could not install the project itself, see .venv/install.log"
    echo "$project" >.venv/project
    echo "Set up in $SECONDS s."
  fi
}

add_extra() { # extra, its name in words: what some tests need, which skip without it
  [ ! -e ".venv/$1" ] || return 0
  if install_locked "requirements-$1.lock"; then
    : >".venv/$1"
  else
    echo "$2 could not be installed: its tests skip, see .venv/install.log"
  fi
}

measure_and_report() { # dataset, codecs; a failed cell is 1, and the others still are worth a report
  local status=0
  .venv/bin/bench run --codecs "$2" --dataset "$1" --no-table || status=$?
  [ "$status" -le 1 ] || return "$status"
  .venv/bin/bench report --dataset "$1" --page || return
  return "$status"
}

measure_everything() {
  local status=0
  echo "Next: measure every codec that runs here on 4 photographs, minutes; then results/sample/report."
  measure_and_report sample all || status=$?
  [ "$status" -le 1 ] || return "$status"
  if .venv/bin/bench plan --codecs jpeg --dataset kodak >/dev/null 2>&1; then
    echo "Next: measure JPEG and VTM on Kodak's 24 photographs; then results/kodak/report."
    measure_and_report kodak jpeg,vtm || status=$?
  fi
  return "$status"
}

check_and_test() { # arguments of pytest
  echo "Next: ruff, mypy and pytest, many minutes."
  .venv/bin/ruff check
  .venv/bin/ruff format --check
  .venv/bin/mypy
  run_tests "$PYTHON" "$@"
}

run_tests() { # python, more arguments of pytest
  # A process for each core; more than 8 may not find the memory.
  "$1" -m pytest -n auto --maxprocesses 8 --dist loadfile -p tests.support.skip_account "${@:2}"
}

test_with_numpy_2() { # where CompressAI, which needs numpy 1, has no wheels
  local newer=.venv/newer/bin/python python
  python=$(find_python 3.13 3.14 2>&1) || { echo "Not tested with numpy 2: $python"; return 0; }
  echo "Next: pytest with numpy 2 on $python, gigabytes and many minutes."
  "$python" -m venv .venv/newer
  "$newer" -m pip --no-input install --constraint platforms.lock --editable ".[dev]" >>.venv/install.log
  run_tests "$newer" -m "not slow"
}

case "$*" in
  "" | all | setup | paper | test | "test --all") ;;
  *) fail "usage: ./run_all.sh [all | setup | paper | test [--all]]" 2 ;;
esac
(
  # pip ends an interruption with 1, as it ends a failure.
  trap 'fail "interrupted; run it again to set up" 130' INT
  flock 9 # a second run_all.sh waits until the first one has set up
  set_up
  case "$*" in test*) add_extra ray Ray && add_extra docs mkdocs ;; esac
) 9<.
case "$*" in
  "")
    echo "Next: measure ours, JPEG and VTM on 4 photographs, about a minute; then results/sample/report."
    measure_and_report sample ours,jpeg,vtm
    ;;
  all) measure_everything ;;
  setup) echo "Next: ./run_all.sh compares ours, JPEG and VTM; .venv/bin/bench --help" ;;
  paper)
    echo "Next: draw the paper's figures into results/figures/crdr."
    .venv/bin/bench figures crdr --all
    ;;
  test) check_and_test -m "not slow" ;;
  "test --all")
    check_and_test
    test_with_numpy_2
    ;;
esac
