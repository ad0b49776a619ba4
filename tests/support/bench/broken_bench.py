"""Stand-in for `bench` that does nothing, or breaks one promise: broken_bench.py PROMISE WORD...

The promise is broken only where the file `spark` is in the working folder, so that it takes a
certain step of an attack.
"""

import os
import subprocess
import sys
import time
from pathlib import Path


def _leave_a_process() -> None:
    subprocess.Popen(["sleep", "120"], start_new_session=True)


def _leave_a_process_without_environment() -> None:
    mark = os.environ["RDRBENCH_ATTACK"]
    subprocess.Popen(["sleep", mark], start_new_session=True, env={"PATH": os.environ["PATH"]})


def _execute() -> None:
    Path(os.environ["CANARY"]).touch()


def _raise() -> None:
    raise RuntimeError("nobody caught this")


def _lose_a_row() -> None:
    for shard in Path().rglob("per_image/*.parquet"):
        shard.unlink()


def _lose_a_stream() -> None:
    next(Path().rglob("streams/*/*")).unlink()


def _change_a_row() -> None:
    from benchmark.rows.store import Store

    (shards,) = Path().rglob("per_image")
    store = Store(shards.parent)
    rows = store.versions().to_pylist()
    for shard in shards.glob("*.parquet"):
        shard.unlink()
    store.append([{**rows[0], "psnr_db": 99.0}, *rows[1:]])


def _leave_temporary_files() -> None:
    (Path(os.environ["TMPDIR"]) / "rdrbench-left").mkdir()


def _write_a_control_character() -> None:
    sys.stdout.write("\x1b[2J\n")
    sys.stdout.flush()


def _end_with_another_code() -> None:
    sys.exit(77)


def _refuse_without_a_sentence() -> None:
    sys.exit(2)


def _take_memory() -> None:
    b"x" * (1 << 30)


def _hang() -> None:
    time.sleep(3600)


BROKEN = {
    name.strip("_"): act
    for name, act in list(globals().items())
    if name.startswith("_") and callable(act)
}

if __name__ == "__main__" and Path("spark").exists():
    BROKEN[sys.argv[1]]()
