"""Record results of training and of bundled checkpoints, to compare two commits on one machine.

    python -m tools.golden record BEFORE                at the commit before
    python -m tools.golden record AFTER                 at the commit after
    python -m tools.golden compare BEFORE AFTER         exit code 1 if a value differs
    python -m tools.golden streams tests/baselines/neural/golden_streams.json

`record` trains every method for a few steps on one thread (about two minutes) and codes a crop with
every bundled network. Trained weights depend on the processor; therefore record both commits on one
machine. The streams that `streams` writes decode equally everywhere; a test decodes them.
"""

import argparse
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmark.codec import Codec, Pixels, Setting
from benchmark.datasets.kodak import open_sample
from benchmark.errors import Unavailable
from benchmark.metrics.psnr import psnr
from benchmark.spec import load_codec, parse_codec

TRAININGS = {  # folder -> additional options of `bench train --recipe smoke --data sample`
    "ours": "",
    "field": "--suite field --members charm-1,elic-2,ivr,hific-1,multirealism-2",
    "matched": "--suite matched",
    "generative": "--suite generative --members dirac-jpeg,hfd-jpeg,pqmim-1,pqmim-perceptual-1",
}
# Codecs of the bundled networks, which code at every setting of their sweeps, or see ONE_NETWORK.
CODECS = (
    "ours:beta=0", "ours:beta=3.84", "ours:beta=0:exact=1", "ours:beta=3.84:size=micro",
    "charm", "elic", "ivr", "hific", "multirealism:beta=2.56", "pqmim", "pqmim:perceptual=1",
    "hyperprior:weights=matched", "dirac:steps=2", "hfd:steps=2",
)  # fmt: skip
ONE_NETWORK = {"dirac", "hfd", "ours", "ivr"}  # one network for all settings: only code at one
MACHINE_KEYS = {"steps_per_second", "crops_per_second"}  # of journals: depend on the machine
RUN_KEYS = {"sha256", "commit", "command", "training_data"}  # of cards: depend on the run


class Case(NamedTuple):
    """A codec at a setting."""

    name: str  # codec and setting
    codec: Codec
    setting: Setting


def cases() -> Iterator[Case]:
    """Yield a codec and setting for each bundled network whose packages are installed."""
    for text in CODECS:
        spec = parse_codec(text)
        try:
            codec = load_codec(spec)
        except Unavailable:
            continue
        sweep = codec.sweep[1:2] if spec.name in ONE_NETWORK else codec.sweep
        for setting in sweep:
            yield Case(f"{text} {setting}", codec, setting)


def open_crop() -> Pixels:
    """Return a crop of a photograph, uint8 (96, 128, 3)."""
    from baselines.neural.training.photographs import read_photograph

    return read_photograph(open_sample().images[0].path)[128:224, 128:256]


def encode_case(case: Case, pixels: Pixels) -> bytes:
    """Encode pixels; the stream has a checksum of latents if the codec supports this."""
    data = case.codec.encode(pixels, case.setting)
    add_checksum = getattr(case.codec, "checked", None)
    return add_checksum(data) if add_checksum else data


def record(folder: Path) -> dict[str, Any]:
    """Train in subfolders of `folder`, then encode; return the results by name."""
    golden: dict[str, Any] = {}
    for name, options in TRAININGS.items():
        command = f"-m benchmark train --recipe smoke --data sample --quiet {options}".split()
        out = folder / name
        subprocess.run(
            [sys.executable, *command, "--out", str(out)],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for target in sorted(out.glob("*.safetensors")):
            run_folder = out / target.stem
            journal = (run_folder if run_folder.is_dir() else out) / "journal.jsonl"
            card = msgspec.json.decode(target.with_suffix(".json").read_bytes())
            golden[f"{name}/{target.stem}"] = {
                "checkpoint": sha256(target.read_bytes()).hexdigest(),
                "card": {k: v for k, v in card.items() if k not in RUN_KEYS},
                "journal": [
                    {k: v for k, v in msgspec.json.decode(line).items() if k not in MACHINE_KEYS}
                    for line in journal.read_text().splitlines()
                ],
            }
    for case in cases():
        data = case.codec.encode(open_crop(), case.setting)
        golden[case.name] = {
            "stream": sha256(data).hexdigest(),
            "pixels": sha256(case.codec.decode(data).tobytes()).hexdigest(),
        }
    return golden


def streams() -> dict[str, dict[str, Any]]:
    """Return the stream of each case, in base64, and its PSNR, by name."""
    pixels, golden = open_crop(), dict[str, dict[str, Any]]()
    for case in cases():
        data = encode_case(case, pixels)
        quality = psnr(pixels, case.codec.decode(data))
        golden[case.name] = {"stream": b64encode(data).decode(), "psnr_db": round(quality, 4)}
    return golden


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["record", "compare", "streams"])
    parser.add_argument("paths", type=Path, nargs="+")
    arguments = parser.parse_args()
    first_path = arguments.paths[0]
    if arguments.task == "compare":
        first_results, second_results = (
            msgspec.json.decode((folder / "golden.json").read_bytes()) for folder in arguments.paths
        )
        for name in sorted(first_results | second_results):
            is_equal = first_results.get(name) == second_results.get(name)
            print("equal " if is_equal else "DIFFERS", name)
        return int(first_results != second_results)
    golden = record(first_path) if arguments.task == "record" else streams()
    target = first_path / "golden.json" if arguments.task == "record" else first_path
    target.write_bytes(msgspec.json.format(msgspec.json.encode(golden), indent=1) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
