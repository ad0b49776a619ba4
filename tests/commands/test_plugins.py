"""A small installed package that offers a codec, a metric and a dataset; and a broken package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.files.package import install

CODEC = '''"""Two bits of every sample."""
import struct, zlib
import numpy as np
from benchmark.codec import CodecInfo, Setting
from tiny.places import NAME

class Tiny:
    name = NAME
    sweep = (Setting("level", 1), Setting("level", 9))

    def describe(self):
        return CodecInfo("1", "zlib", "MIT", "tiny/1", 1, "one call")

    def encode(self, pixels, setting):
        head = struct.pack("<HH", *pixels.shape[:2])
        return head + zlib.compress((pixels >> 6).tobytes(), int(setting.value))

    def decode(self, data):
        shape = *struct.unpack_from("<HH", data), 3
        return np.frombuffer(zlib.decompress(data[4:]), np.uint8).reshape(shape) << 6
'''
METRIC = """import numpy as np

class Bias:
    column, label, better, protocol = "bias", "Bias", "lower", "bias/1"

    def prepare(self, reference):
        return reference.mean()

    def compare(self, prepared, decoded):
        return abs(float(decoded.mean()) - float(prepared))
"""
DATASET = """from pathlib import Path
from benchmark.datasets.dataset import Dataset, ImageFile

NAME = "tiny"

def squares():
    return Dataset("squares", (ImageFile("a.png", Path(__file__).with_name("a.png")),))
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory, photo):
    from PIL import Image

    site = tmp_path_factory.mktemp("site")
    files = {"__init__.py": "", "codec.py": CODEC, "metric.py": METRIC, "places.py": DATASET}
    install(site, "tiny", files, (
        "[rdrbench.codecs]\ntiny = tiny.codec:Tiny\n"
        "[rdrbench.metrics]\nbias = tiny.metric:Bias\n"
        "[rdrbench.datasets]\nsquares = tiny.places:squares\n"
    ))  # fmt: skip
    Image.fromarray(photo[:64, :64]).save(site / "tiny" / "a.png")
    broken = {"__init__.py": "", "codec.py": "import no_such_package\n"}
    names = "broken = worn.codec:Worn", "gone = worn.gone:Gone", "jpeg = worn.codec:J"
    install(site, "worn", broken, "\n".join(["[rdrbench.codecs]", *names, ""]))
    work = tmp_path_factory.mktemp("work")

    def run(*words: str, code: int = 0) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "benchmark", *words], cwd=work, text=True, check=False,
            capture_output=True, env={**os.environ, "PYTHONPATH": f"{site}:{Path.cwd()}"},
        )  # fmt: skip
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    run.site = site
    return run


def test_plugins_are_listed_with_their_package_and_what_is_broken(bench):
    groups = json.loads(bench("list", "--json"))
    listed = {group["kind"]: {r["name"]: r for r in group["records"]} for group in groups}
    tiny, broken = listed["codecs"]["tiny"], listed["codecs"]["broken"]
    assert (tiny["state"], tiny["title"]) == ("ready", "of tiny 1.2")
    assert (broken["state"], "no_such_package" in broken["lacks"]) == ("missing", True)
    assert "worn.gone" in listed["codecs"]["gone"]["lacks"]
    assert "Pillow" in listed["codecs"]["jpeg"]["title"]  # the project's own codec
    assert listed["metrics"]["bias"]["title"] == listed["datasets"]["squares"]["title"]


@pytest.mark.slow
def test_plugins_are_measured_and_start_no_code_unless_named(bench):
    run = ["run", "--codecs", "tiny,jpeg", "--points", "jpeg.quality=50", "--dataset", "squares"]
    assert "tiny" in bench(*run, "--metrics", "psnr,bias")
    assert "worn.codec of worn 1.2 " in bench("run", "--codecs", "broken", code=2)
    message = bench("run", "--codecs", "tinny", "--dataset", "squares", code=2)
    assert "Did you mean 'tiny'?" in message
    (bench.site / "tiny" / "codec.py").write_text("raise SystemExit('a plugin was started')\n")
    assert "tiny" in bench("report", "--dataset", "squares", "--metrics", "psnr")
