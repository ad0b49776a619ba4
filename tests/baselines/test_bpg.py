"""BPG: how the adapter handles files and programs, with stubs; the contract tests the rest.

The stub's file is a BPG header, written according to libbpg's doc/bpg_spec.txt, followed by the PNG
in place of HEVC's data.
"""

import json
import os
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from baselines.bpg import BPG
from benchmark.codec import Setting
from benchmark.errors import BadOption, CorruptStream, ProgramFailed, Unavailable, UsageError

QP = Setting("qp", 32)
HEADER = bytes.fromhex("425047fb 6000 8133 8149 00")  # 4:4:4, 8 bits; 179 and 201; no length
ENCODER = """#!{python}
import json, sys
from pathlib import Path
if sys.argv[1:] == ["-h"]:
    print("BPG Image Encoder version 0.9.8")
    sys.exit(1)
picture = Path(sys.argv[-1]).read_bytes()
Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(bytes.fromhex("{header}") + picture)
Path("{log}").write_text(json.dumps(sys.argv[1:]))
"""
DECODER = """#!{python}
import sys
from pathlib import Path
data = Path(sys.argv[-1]).read_bytes()
Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(data[data.index(b"\\x89PNG"):])
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of stubs, set as $BPG_DIR; log.json has the encoder's last call."""
    values = {"python": sys.executable, "header": HEADER.hex(), "log": tmp_path / "log.json"}
    for name, text in {"bpgenc": ENCODER, "bpgdec": DECODER}.items():
        (tmp_path / name).write_text(text.format(**values))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("BPG_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def crop(photo):
    return np.ascontiguousarray(photo[:179, :201])


def test_the_length_of_the_picture_is_filled_in_and_nothing_else_changes(programs, crop):
    data = BPG().encode(crop, QP)
    start = data.index(b"\x89PNG")
    digits = data[len(HEADER) - 1 : start]
    value = 0
    for digit in digits:
        value = 128 * value + digit % 128
    assert data[: len(HEADER) - 1] == HEADER[:-1]
    assert value == len(data) - start
    assert [digit >= 128 for digit in digits] == [True] * (len(digits) - 1) + [False]
    assert BPG().container_bytes(data) == start
    with Image.open(BytesIO(data[start:])) as image:
        assert np.array_equal(np.asarray(image), crop)
    assert np.array_equal(BPG().decode(data), crop)


def test_the_options_are_those_of_published_curves(programs, crop):
    for codec, options in (
        (BPG(), "-f 444 -c ycbcr -b 8 -e x265 -m 8 -q 32"),
        (BPG(subsampling=420, depth=10, level=9), "-f 420 -c ycbcr -b 10 -e x265 -m 9 -q 32"),
    ):
        codec.encode(crop, QP)
        words = json.loads((programs / "log.json").read_text())
        assert words[:12] == options.split()
    info = BPG(subsampling=420).describe()
    assert (info.version, info.chroma) == ("libbpg 0.9.8", "4:2:0")


def test_a_truncated_file_or_an_endless_number_is_refused_before_bpgdec_runs(programs, crop):
    data = BPG().encode(crop, QP)
    bare = HEADER + data[data.index(b"\x89PNG") :]
    for spoilt in (data[:-1], data + b"\0", data[:9], data[:4], bare, b"GIF" + data):
        with pytest.raises(CorruptStream, match="BPG"):
            BPG().decode(spoilt)
    data = HEADER[:6] + b"\xff" * (1 << 24)
    with pytest.raises(CorruptStream, match="is truncated or damaged"):
        BPG().container_bytes(data)


def test_a_program_that_is_missing_or_wrong_is_named(programs, crop, monkeypatch):
    (programs / "bpgenc").write_text("#!/bin/sh\necho HM\n")
    with pytest.raises(Unavailable, match=r"bpgenc .*libbpg"):
        BPG().describe()
    with pytest.raises(ProgramFailed, match=r"bpgenc .* no stream"):
        BPG().encode(crop, QP)
    (programs / "bpgdec").unlink()
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UsageError, match=r"'bpgdec': .*libbpg"):
        BPG()


def test_a_qp_that_bpgenc_would_refuse_is_refused(programs, crop):
    with pytest.raises(BadOption, match="51, not qp=52"):
        BPG().encode(crop, Setting("qp", 52))
