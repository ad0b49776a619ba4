"""One target in a process of its own: fuzzed for some seconds, or its finds reduced.

What is under way stands in a file that outlives the process, since a parser in native code may end
it: numbers of executions and refusals, and the input.
"""

import base64
import json
import mmap
import resource
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from faults.fuzzing.guide import Edge, Guided, Tracer, fewest
from faults.fuzzing.judge import judge
from faults.fuzzing.target import Target
from faults.fuzzing.targets import load_target

STATE = struct.Struct("<QQI")  # executions, refusals, length of the input
MOST_INPUT = 1 << 20
MOST_DATA_BYTES = 6 << 30  # of the process, so that the machine is spared
HANG_SECONDS = 60
ENDS, HANGS = "it ends the process", "it does not end"  # how such findings begin
UNREPEATED = (ENDS, HANGS)  # which would end or hold up whoever looks at them again
MOST_TRIES = 3000  # of shrinking one finding


class State(NamedTuple):
    """The file of what is under way."""

    executions: int
    refused: int
    data: bytes


def read_state(path: Path) -> State:
    """Return the state that a process left."""
    content = path.read_bytes() if path.exists() else b""
    if len(content) < STATE.size:
        return State(0, 0, b"")
    executions, refused, length = STATE.unpack_from(content)
    return State(executions, refused, content[STATE.size : STATE.size + length])


class Watched:
    """Executions of a target, counted and judged; each finding is written at once."""

    def __init__(self, target: Target, state: Path, findings: Path) -> None:
        self._target, self._findings = target, findings
        state.write_bytes(bytes(STATE.size + MOST_INPUT))
        with state.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), 0)
        self._executions = self._refused = 0
        self._smallest: dict[str, int] = {}

    def __call__(self, data: bytes) -> None:
        """Execute one input."""
        self._executions += 1
        self._state[STATE.size : STATE.size + len(data)] = data
        STATE.pack_into(self._state, 0, self._executions, self._refused, len(data))
        verdict = judge(self._target, data)
        self._refused += verdict.refused
        if verdict.finding and len(data) < self._smallest.get(verdict.place, MOST_INPUT):
            self._smallest[verdict.place] = len(data)
            record(self._findings, verdict.place, verdict.finding, data)


def record(findings: Path, place: str, finding: str, data: bytes) -> None:
    """Add a finding to a file of them."""
    line = json.dumps({"place": place, "finding": finding[:500], "input": data.hex()})
    with findings.open("a") as file:
        file.write(line + "\n")


def fuzz(
    name: str, engine: str, seconds: float, seed: int, corpus: Path, state: Path, findings: Path
) -> None:
    """Fuzz a target, beginning with its seeds and what is in the folder `corpus`."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA_BYTES, MOST_DATA_BYTES))
    with TemporaryDirectory(prefix="fuzz-") as folder:
        if engine == "atheris":
            _by_atheris(name, Path(folder), seconds, seed, corpus, state, findings)
            return
        target = load_target(name, Path(folder))
        watched = Watched(target, state, findings)
        guided = Guided(Tracer(), seed, target.longest)
        guided.run(watched, [*target.inputs(), *stored(corpus)], seconds)
        for data in guided.kept:
            store(corpus, data)


def _by_atheris(
    name: str, folder: Path, seconds: float, seed: int, corpus: Path, state: Path, findings: Path
) -> None:
    import atheris

    with atheris.instrument_imports(include=["baselines", "benchmark"]):
        target = load_target(name, folder)
    for data in target.inputs():
        store(corpus, data)
    watched = Watched(target, state, findings)
    words = [
        "fuzz", str(corpus), f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}",
        f"-max_len={target.longest + 1}", f"-timeout={HANG_SECONDS}", "-rss_limit_mb=0",
        "-print_final_stats=1", f"-artifact_prefix={folder}/",
    ]  # fmt: skip
    atheris.Setup(words, watched)
    atheris.Fuzz()


def stored(corpus: Path) -> list[bytes]:
    """Return the inputs in a folder."""
    return [path.read_bytes() for path in sorted(corpus.glob("*")) if path.is_file()]


def store(corpus: Path, data: bytes) -> None:
    """Add an input to a folder, by its digest."""
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / sha256(data).hexdigest()[:40]).write_bytes(data)


class Reduced(NamedTuple):
    """What became of the finds of a target."""

    found: int  # inputs in the corpus
    kept: list[bytes]  # fewest that take the same edges, and what is mended
    edges: int  # pairs of lines that they take
    seed_edges: int  # those that the seeds take
    findings: list[dict[str, str]]  # one for each place, its input shrunk
    mended: int  # findings of earlier runs that are none today


def reduce(name: str, corpus: Path, findings: Path) -> Reduced:
    """Choose the fewest inputs that take all edges of the corpus, and shrink the findings."""
    with TemporaryDirectory(prefix="fuzz-") as folder:
        target = load_target(name, Path(folder))
        for data in target.inputs():
            judge(target, data)  # what is loaded with the first input is no edge of it
        tracer = Tracer()

        def edges_of(data: bytes) -> set[Edge]:
            return tracer(lambda: judge(target, data))

        def edges_of_all(inputs: Iterable[bytes]) -> int:
            return len(set[Edge]().union(*map(edges_of, inputs)))

        inputs = [*target.inputs(), *stored(corpus)]
        found, mended = _smallest(target, findings)
        kept = list(dict.fromkeys([*fewest(inputs, edges_of), *mended]))
        return Reduced(
            len(inputs), kept, edges_of_all(kept), edges_of_all(target.inputs()), found, len(mended)
        )


def _smallest(target: Target, findings: Path) -> tuple[list[dict[str, str]], list[bytes]]:
    """Return the findings, one for each place and shrunk, and the inputs that are none today."""
    by_place: dict[str, dict[str, str]] = {}
    for line in findings.read_text().splitlines() if findings.exists() else ():
        one = json.loads(line)
        if len(one["input"]) <= len(by_place.get(one["place"], one)["input"]):
            by_place[one["place"]] = one
    found, mended = [], []
    for place, one in by_place.items():
        data = bytes.fromhex(one["input"])
        if place.startswith(UNREPEATED):
            found.append(one)
        elif not judge(target, data).finding:
            mended.append(data)
        else:
            small = shrunk(data, partial(_is_found, target, judge(target, data).place))
            found.append(one | {"input": small.hex(), "bytes": target.bytes_of(small).hex()})
    return found, mended


def _is_found(target: Target, place: str, data: bytes) -> bool:
    return judge(target, data).place == place


def shrunk(data: bytes, same: Callable[[bytes], bool]) -> bytes:
    """Return a small input that is found for the same reason, or the input if that fails.

    Parts are left out, large ones first, then bytes become zero.
    """
    tries, size = 0, len(data) // 2
    while size and tries < MOST_TRIES and same(data):
        at, before = 0, data
        while at < len(data) and tries < MOST_TRIES:
            tries += 1
            shorter = data[:at] + data[at + size :]
            if same(shorter):
                data = shorter
            else:
                at += size
        size = size if data != before else size // 2
    for at in range(1, min(len(data), MOST_TRIES)):
        zero = data[:at] + b"\0" + data[at + 1 :]
        if data[at] and same(zero):
            data = zero
    return data


def to_text(data: bytes) -> str:
    """Return an input as a line of text.

    >>> from_text(to_text(b"12")) == b"12"
    True
    """
    return base64.b85encode(zlib.compress(data, 9)).decode()


def from_text(line: str) -> bytes:
    """Return the input of a line."""
    return zlib.decompress(base64.b85decode(line))


def main(words: Sequence[str]) -> int:
    """Carry out what the parent asks for: `fuzz` or `reduce`, with its arguments as json."""
    asked = json.loads(words[1])
    paths = {key: Path(value) for key, value in asked.pop("paths").items()}
    if words[0] == "fuzz":
        fuzz(**asked, **paths)
    else:
        told = {}
        for name in asked["names"]:
            found = reduce(name, paths["corpus"] / name, paths["corpus"] / f"{name}.found")
            told[name] = found._asdict() | {"kept": [to_text(data) for data in found.kept]}
        paths["report"].write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
