"""Loaded first by the server of workers, and nowhere else: it sets the environment to a thread."""

import os
from importlib import import_module

from benchmark.registry import FEATURE_SPACES, METRICS
from benchmark.system.settings import ONE_THREAD

os.environ.update(ONE_THREAD)  # numeric libraries read it when they are imported

for _name in (
    "benchmark.datasets.image",
    "benchmark.measure.workbench",
    *{metric.target.partition(":")[0] for metric in (*METRICS.values(), *FEATURE_SPACES.values())},
):
    import_module(_name)

# glibc gives each freed block that is larger than all before back to the system, and a process pays
# for its pages anew: a block of nearly the largest size (32 MiB) ends that for planes of images.
import_module("numpy").empty(31 << 20, "uint8")
