"""A Ray cluster whose driver or head is killed: its programs end, and the run resumes elsewhere."""

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmark.rows.store import Store
from support.files.noise import noise_images
from support.processes import ran, running, until

pytest.importorskip("ray", reason="Ray is not installed")

# Ends well for q = 2, and for q = 1 where GATE is set; else it hangs, with a child that shares
# nothing with it.
SCRIPT = """
if [ "$3" = 1 ] && [ -z "$GATE" ]; then
  env -i setsid sleep {mark} &
  exec sleep {mark}
fi
cp $1 $2
"""


@pytest.fixture
def cluster(monkeypatch):
    # Ray's processes give up a lost head after 5 s, not after a minute.
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    import ray
    from ray.cluster_utils import Cluster

    few = {"include_dashboard": False, "object_store_memory": 80 << 20}
    ray_cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **few})
    ray_cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    yield ray_cluster
    ray.shutdown()
    ray_cluster.shutdown()


def test_a_lost_driver_and_a_lost_head_end_all_programs_and_the_run_resumes(cluster, tmp_path):
    mark = f"4{time.monotonic_ns() % 10**6:06}.{os.getpid()}"
    photos = noise_images(tmp_path / "photos", [(24, 20)])
    script = tmp_path / "encode.sh"
    script.write_text(SCRIPT.format(mark=mark))
    encode = f"encode=sh {script} {{in}} {{out}} {{q}}"
    codec = f"command:{encode}:decode=cp {{in}} {{out}}:values=1/2:version=1"
    words = ["run", "--codecs", codec, "--dataset", photos, "--metrics", "psnr"]
    words = map(str, [*words, "--results", tmp_path / "results"])
    command = [sys.executable, "-m", "benchmark", *words]

    def hanging():
        environment = {**os.environ, "RAY_ADDRESS": cluster.address}
        ray_command = [*command, "--engine", "ray"]
        run = subprocess.Popen(ray_command, stderr=subprocess.PIPE, text=True, env=environment)
        assert until(lambda: len(running(f"^sleep {mark}")) == 2, 400), "no program was started"
        return run

    first = hanging()
    first.kill()
    first.communicate()
    assert until(lambda: not running(mark), 120)
    second = hanging()
    for process in cluster.head_node.all_processes["gcs_server"]:
        os.kill(process.process.pid, signal.SIGKILL)
    _, message = second.communicate(timeout=300)
    assert until(lambda: not running(mark), 120)
    assert "Traceback" not in message
    (folder,) = (tmp_path / "results").iterdir()
    rows_before = {row["setting_value"]: row for row in Store(folder).table().rows(named=True)}
    third = ran(*command, GATE="open")
    rows_after = {row["setting_value"]: row for row in Store(folder).table().rows(named=True)}
    assert [row["status"] for row in rows_after.values()] == ["ok"] * 2, third.stderr
    assert rows_after == {**rows_after, **rows_before}
    assert (second.returncode, third.returncode) == (1, 0)
    assert rows_before.keys() <= {2.0}
