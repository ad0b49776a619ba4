"""Streams of every bundled network, made once, decode on any machine to the same picture."""

from base64 import b64decode
from pathlib import Path

import msgspec
import pytest

from baselines.neural.network_codec import BUNDLED
from benchmark.metrics.psnr import psnr
from tools.golden import Case, cases, open_crop

GOLDEN = msgspec.json.decode(Path(__file__).with_name("golden_streams.json").read_bytes())
ROUNDING_DB = 0.01  # sums in the synthesis have another order on another processor
CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_golden_stream_decodes_to_its_picture(case: Case) -> None:
    golden = GOLDEN[case.name]
    decoded = case.codec.decode(b64decode(golden["stream"]))
    assert psnr(open_crop(), decoded) == pytest.approx(golden["psnr_db"], abs=ROUNDING_DB)


def test_every_bundled_network_has_a_golden_stream() -> None:
    files = [path for path in BUNDLED.glob("*.xz") if path.name != "ours-3aecb589.safetensors.xz"]
    networks = {name for name in GOLDEN if "exact=1" not in name and name != "ours:beta=0 q=1"}
    assert len(networks) == len(files)
