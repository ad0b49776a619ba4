"""Every verb of `bench` as a command on a folder of results, or why it reads none.

`tests/faults/strangers` runs each over what a stranger may have put there.
"""

import shlex
import tomllib
from pathlib import Path

TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
READS = {verb: tuple(shlex.split(words)) for verb, words in TABLE["reads"].items()}
READS_NONE = TABLE["reads-none"]
RESULTS = ("--results", "results")
POINTS = ("--codecs", "jpeg,webp", "--points", "jpeg.quality=10,30,50,90,webp.quality=5,30,60,90")
RUN = (*POINTS, "--dataset", "photos", *RESULTS)
