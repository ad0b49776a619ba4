"""Conditions and codecs for tests of workers on a cluster."""

from pathlib import Path

from benchmark.measure.workbench import Conditions

HERE = Path(__file__).parent


FAKES, CODECS = HERE / "fakes.py", HERE / "fake_on_cluster.py"


VOLATILE = {"encode_seconds", "decode_seconds", "finished_utc", "machine"}


def conditions(**changes):
    same = {"run": "r", "metrics": ("psnr",), "device": "cpu", "flatten": False, "timing": False}
    same |= {"jobs": 2, "threads": 1, "machine": "driver", "folder": Path("unwritten")}
    return Conditions(**{**same, **changes})


def stable(row):
    return {key: value for key, value in row.items() if key not in VOLATILE}
