"""Compare a local cluster of Ray with its simulation, with a codec that sleeps.

    python tests/speed/cluster.py [nodes [workers of each [cells]]]      # 3 2 120

Cells take .2 to 4 s, spread like those of VTM over sizes and QPs; they sleep, so two cores are
enough. Exit code 1 where the time from the first cell to the last row is more than 15 % away from
the simulated makespan.
"""

import os
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from PIL import Image

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
STORE_BYTES = 80 << 20
LIMIT = 0.15
CODEC = """
import time
import numpy as np
from benchmark.codec import CodecInfo, Setting

class Sleeps:
    name = "sleeps"
    sweep = tuple(Setting("qp", qp) for qp in (22, 27, 32, 37, 42, 47))

    def describe(self):
        return CodecInfo("1", "sleep", "MIT", "0" * 64, 1, "one call")

    def encode(self, pixels, setting):
        height, width, _ = pixels.shape
        if (height, width) != (96, 128):
            time.sleep(width / 64 * 2 ** (-(setting.value - 22) / 6))
        return np.uint16([height, width]).tobytes()

    def decode(self, data):
        height, width = map(int, np.frombuffer(data, np.uint16))
        return np.zeros((height, width, 3), np.uint8)
"""


def main() -> int:
    """Print measured and simulated seconds, and return the exit code."""
    asked = [int(word) for word in sys.argv[1:]]
    nodes, workers, count = (*asked, *(3, 2, 120)[len(asked) :])

    from ray.cluster_utils import Cluster

    from benchmark.datasets.dataset import ImageFile, Source, probe
    from benchmark.measure.engine.local import Task
    from benchmark.measure.engine.ray.cluster import connect, session
    from benchmark.measure.engine.ray.engine import RayEngine
    from benchmark.measure.workbench import Conditions
    from benchmark.plan.cells import Cell, plan
    from benchmark.plan.request import Request
    from benchmark.plan.select import select
    from benchmark.plan.simulate import simulate

    quiet = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
    for _ in range(nodes):
        cluster.add_node(num_cpus=workers, object_store_memory=STORE_BYTES)
    connected = connect(cluster.address)
    draw = random.Random(1)
    with TemporaryDirectory() as folder, session():
        codec = Path(folder) / "sleeps.py"
        codec.write_text(CODEC)
        files = []
        for number in range(count // 6):
            path = Path(folder) / f"{number:03}.png"
            Image.effect_noise((draw.choice((128, 192, 256)), 16 + number), 50).save(path)
            files.append(ImageFile(path.name, path))
        sources = [one for one in probe(files, False, 1) if isinstance(one, Source)]
        cells = plan(select([f"{codec}:Sleeps"], {}).contenders, "speed", sources)

        def seconds(task: Task) -> float:
            assert isinstance(task, Cell)
            return float(task.source.width_px / 64 * 2 ** (-(task.setting.value - 22) / 6))

        expected = simulate(cells, seconds, nodes * workers).makespan
        conditions = Conditions.of(Request(metrics=("psnr",)), Path(folder), jobs=nodes * workers)
        began, ended = float("inf"), 0.0
        for done in RayEngine(connected, seconds, 1.0, {}).carry_out(cells, conditions):
            if done is not None:
                ended = perf_counter()
                began = min(began, ended - seconds(done.task))
    cluster.shutdown()
    took = ended - began
    away = took / expected.seconds - 1
    print(f"{len(cells)} cells, {nodes} nodes of {workers} workers")
    print(f"ideal     {expected.ideal:7.2f} s")
    print(f"simulated {expected.seconds:7.2f} s ({100 * expected.excess:+.1f} %)")
    print(f"measured  {took:7.2f} s ({100 * away:+.1f} % of simulated)")
    print("within" if abs(away) <= LIMIT else "NOT within", f"{100 * LIMIT:.0f} %")
    return 0 if abs(away) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
