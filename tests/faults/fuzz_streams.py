"""Fuzz the parsers of bytes that others send, guided by the code that inputs reach.

    python tests/faults/fuzz_streams.py --minutes 65 --seed 7 --corpus /tmp/corpus
    python tests/faults/fuzz_streams.py --only ours,level-map --minutes 5
    python tests/faults/fuzz_streams.py --minutes 65 --corpus /tmp/corpus --keep

Each parser has its part of the minutes, in a process of its own. An input is a finding unless it
decodes to pixels of a bounded size or is refused in one sentence, within bounds of memory and
processor time; findings are shrunk, and the exit code is then 1. `--corpus` keeps what was found
interesting for the next run; `--keep` writes the fewest inputs that reach the same code to
tests/faults/corpus, where a test replays them. With `atheris` installed it guides the search
(docs/reliability.md), else a tracer of this project's.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:1] = [str(HERE.parent), str(HERE.parents[1])]

from faults.fuzzing.part import ENDS, HANGS, read_state, record  # noqa: E402
from faults.fuzzing.targets import TARGETS, is_target  # noqa: E402

KEPT = HERE / "corpus"
ENGINES = ("atheris", "tracer")
LATE_SECONDS = 240  # that a process may take beyond its time: set-up, and the last input
MOST_CRASHES = 3  # of one target, after which the next one is fuzzed


class Found(NamedTuple):
    """What is known of one target: of the runs of its corpus, and after its reduction."""

    target: str
    executions: int
    refused: int
    found: int  # inputs that one of the runs kept
    kept: list[str]  # the fewest of them
    edges: int
    seed_edges: int
    findings: list[dict[str, str]]
    mended: int
    origins: list[str]  # of the corpus: engine and seed of each run


def main(words: Sequence[str]) -> int:
    """Fuzz what the words ask for, print a table and the findings, and return the exit code."""
    asked = _parse(words)
    with TemporaryDirectory(prefix="fuzz-") as folder:
        corpus = asked.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        seconds = 60 * asked.minutes / len(asked.only)
        for number, name in enumerate(asked.only if seconds else ()):
            _fuzz(name, asked.engine, seconds, asked.seed + number, corpus)
        outcomes = _reduced(asked.only, corpus)
    for found in outcomes:
        for one in found.findings:
            _say(f"FOUND in {found.target}: {one['finding']}\n  input {one['input']}")
        if asked.keep:
            _keep(found)
    _say(table(outcomes))
    return any(one.findings for one in outcomes)


def _fuzz(name: str, engine: str, seconds: float, seed: int, corpus: Path) -> None:
    """Fuzz one target; its inputs, findings and counts are added to the folder."""
    state, findings, runs = (corpus / f"{name}.{end}" for end in ("state", "found", "runs"))
    executions = refused = crashes = 0
    begin = time.monotonic()
    while (left := seconds - (time.monotonic() - begin)) > 0 and crashes < MOST_CRASHES:
        told = {"name": name, "engine": engine, "seconds": left, "seed": seed + 1000 * crashes}
        paths = {"corpus": corpus / name, "state": state, "findings": findings}
        ended = _run("fuzz", told, paths, corpus / f"{name}.output", left + LATE_SECONDS)
        reached = read_state(state)
        state.unlink(missing_ok=True)
        executions, refused = executions + reached.executions, refused + reached.refused
        if ended == 0:
            break
        crashes += 1
        why = f"{ENDS} ({ended})" if ended else HANGS
        record(findings, why, f"{why}: {_tail(corpus / f'{name}.output')}", reached.data)
    with runs.open("a") as file:
        told = {"origin": f"{_engine_name(engine)}, seed {seed}", "minutes": round(seconds / 60, 1)}
        file.write(json.dumps(told | {"executions": executions, "refused": refused}) + "\n")
    count = len(findings.read_text().splitlines()) if findings.exists() else 0
    _say(f"{name}: {executions:,} executions, {count} lines of findings")


def _reduced(names: Sequence[str], corpus: Path) -> list[Found]:
    """Reduce corpus and findings of the targets, in one process."""
    report = corpus / "report.json"
    report.unlink(missing_ok=True)
    output = corpus / "reduce.output"
    ended = _run("reduce", {"names": list(names)}, {"corpus": corpus, "report": report}, output)
    if ended != 0:
        raise SystemExit(f"the corpus cannot be reduced ({ended}): {_tail(output)}")
    outcomes = []
    for name, told in json.loads(report.read_text()).items():
        runs = corpus / f"{name}.runs"
        ran = list(map(json.loads, runs.read_text().splitlines() if runs.exists() else ()))
        executions, refused = (sum(one[of] for one in ran) for of in ("executions", "refused"))
        origins = list(dict.fromkeys(one["origin"] for one in ran))
        outcomes.append(Found(name, executions, refused, **told, origins=origins))
    return outcomes


def _run(
    verb: str, told: dict[str, Any], paths: dict[str, Path], printed: Path, seconds: float = 7200
) -> int | None:
    """Run a part in a process of its own; return its exit status, None where it did not end."""
    asked = json.dumps(told | {"paths": {name: str(path) for name, path in paths.items()}})
    words = [sys.executable, "-m", "faults.fuzzing.part", verb, asked]
    inherited = os.environ.get("PYTHONPATH")
    folders = [str(HERE.parent), str(HERE.parents[1]), *([inherited] if inherited else [])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    with printed.open("w") as output:
        try:
            return subprocess.run(
                words, env=environment, stdout=output, stderr=output, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return None


def _tail(printed: Path) -> str:
    """Return the line that says why a process ended, or the last that it printed."""
    text = printed.read_text(errors="replace")
    told = re.findall(r"^.*(?:ERROR|Error|Fatal).*$", text, re.MULTILINE)
    return (told or text.splitlines() or [""])[-1].strip()[:300]


def _keep(found: Found) -> None:
    """Write the fewest inputs of a target, with their origin."""
    KEPT.mkdir(exist_ok=True)
    origin = [
        f"# {found.target}: {len(found.kept)} of {found.found} inputs, which take all "
        f"{found.edges} edges that were found; the seeds take {found.seed_edges}.",
        f"# Found in {found.executions:,} executions by {'; '.join(found.origins)}.",
        "# Each line is an input, deflated, in base 85.",
    ]
    (KEPT / f"{found.target}.txt").write_text("\n".join([*origin, *found.kept]) + "\n")


def _engine_name(engine: str) -> str:
    return f"atheris {version('atheris')}" if engine == "atheris" else "the tracer"


def table(outcomes: Iterable[Found]) -> str:
    """Return a Markdown table of what was executed and found."""
    lines = [
        "| parser | executions | refused | by seeds | edges | inputs kept | findings | mended |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    rows = [
        (one.target, one.executions, one.refused, one.seed_edges, one.edges, len(one.kept),
         len(one.findings), one.mended)
        for one in outcomes
    ]  # fmt: skip
    together = ("together", *(sum(row[column] for row in rows) for column in range(1, 8)))
    for name, *numbers in [*rows, together]:
        lines.append(f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    return "\n".join(lines)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="of all parsers; 0 only reduces"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="folder of inputs, read and added to")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(TARGETS))
    parser.add_argument("--engine", choices=ENGINES, default=_best_engine())
    parser.add_argument("--keep", action="store_true", help=f"write the fewest inputs to {KEPT}")
    asked = parser.parse_args(words)
    if unknown := [one for one in asked.only if not is_target(one)]:
        parser.error(f"no parser {unknown[0]!r}; known: {', '.join(TARGETS)}")
    return asked


def _best_engine() -> str:
    try:
        version("atheris")
    except PackageNotFoundError:
        return "tracer"
    return "atheris"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
