"""Fuzz a parser with atheris (`pip install atheris`), beginning with its kept inputs.

    python tests/faults/fuzz.py level-map /tmp/corpus -max_total_time=300

The words after the parser's name are libFuzzer's. An input that breaks what `target.judge` demands
ends it with a traceback; as a line of tests/faults/corpus/ (`to_line`) a test replays it.
"""

import base64
import sys
import zlib
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
sys.path[:1] = [str(HERE.parent), str(HERE.parents[1])]

from faults.fuzzing.target import judge, kept_inputs, load_target  # noqa: E402


def to_line(data: bytes) -> str:
    """Return an input as a line of its target's file of kept inputs."""
    return base64.b85encode(zlib.compress(data, 9)).decode()


def main() -> None:
    """Fuzz the parser that the first word names, in the folder that the second names."""
    import atheris  # absent where tests alone run

    _, name, corpus, *words = sys.argv
    with TemporaryDirectory(prefix="fuzz-") as folder:
        with atheris.instrument_imports(include=["baselines", "benchmark"]):
            target = load_target(name, Path(folder))
        Path(corpus).mkdir(parents=True, exist_ok=True)
        for data in kept_inputs(name):
            (Path(corpus) / sha256(data).hexdigest()[:40]).write_bytes(data)

        def execute(data: bytes) -> None:
            finding = judge(target, data).finding
            assert not finding, f"{finding}\n{to_line(data)}"

        atheris.Setup(["fuzz", corpus, f"-max_len={target.longest + 1}", *words], execute)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
