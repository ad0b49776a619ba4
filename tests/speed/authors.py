"""The network of CRDR's authors by their own code, to be timed beside ours.

The code is a checkout of theirs (github.com/iwa-shi/CRDR); CompressAI and PyYAML have to be
installed. Packages with which they log, show progress and read videos stand in as empty ones where
they are missing: coding an image uses none of them.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import DEFAULT, MagicMock, patch

import torch
import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))  # before `tests`, which has a `baselines` too

from baselines.compressai.weights import importable
from baselines.neural.network import to_images
from support.networks.authors_weights import authors_state
from support.networks.tiny_checkpoint import FULL, noise

ANSWER = "answer: "
CONFIGURATION = Path("config/_base_/model/beta_cond_interp_ca_elic_charm.yaml")
BESIDE_THE_NETWORK = ("addict", "cv2", "pandas", "python_log_indenter", "tqdm")


class Options(dict[str, Any]):
    """Settings by key and by attribute, as their code reads them."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


def options(settings: Any) -> Any:
    """Return settings with attributes, those inside them too."""
    if not isinstance(settings, dict):
        return settings
    return Options({name: options(value) for name, value in settings.items()})


def authors_network(checkout: Path, state: dict[str, Tensor]) -> Any:
    """Return their network with weights by their names, ready to code on the CPU."""
    if not (checkout / CONFIGURATION).is_file():
        raise SystemExit(f"{checkout} does not hold the authors' code: it has no {CONFIGURATION}")
    for name in BESIDE_THE_NETWORK:
        if find_spec(name) is None:
            sys.modules[name] = MagicMock()
    sys.path.insert(0, str(checkout))
    with importable():
        from src.models import build_comp_model  # type: ignore[import-not-found]

    settings = yaml.safe_load((checkout / CONFIGURATION).read_text())
    drawn = dict.fromkeys(("kaiming_uniform_", "uniform_", "normal_"), DEFAULT)
    with patch.multiple(torch.nn.init, **drawn):  # 128 million values that are replaced below
        network = build_comp_model(options(settings | {"device": "cpu", "is_train": False}))
    own = network.state_dict()
    torch.nn.Module.load_state_dict(
        network, own | {name: state[name] for name in own if name in state and own[name].numel()}
    )
    network.eval().codec_setup()
    return network


class Authors:
    """Their code in a process of its own, which has their settings alone."""

    def __init__(self, checkout: Path, threads: int, q: float, beta: float) -> None:
        command = [sys.executable, __file__, str(checkout), str(threads), str(q), str(beta)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()  # when it is ready

    def seconds(self, way: str) -> float:
        """Encode or decode once; return the seconds."""
        assert self._process.stdin
        print(way, file=self._process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(ANSWER):  # their code prints, too
                return line.removeprefix(ANSWER)
        raise SystemExit("the authors' code ended early")


def main() -> None:
    """Load their network of the published sizes, then obey one line after another."""
    checkout, threads, q, beta = Path(sys.argv[1]), *map(float, sys.argv[2:])
    torch.set_num_threads(int(threads))
    network = authors_network(checkout, authors_state(FULL))
    images = to_images(noise(512, 768), torch.device("cpu"))
    strings = network.compress(images, q)["string_list"]
    runs = {
        "encode": lambda: network.compress(images, q),
        "decode": lambda: network.decompress(strings, beta),
    }
    print(ANSWER, sum(map(len, strings)), flush=True)
    for line in sys.stdin:
        started = perf_counter()
        runs[line.strip()]()
        print(ANSWER, perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
