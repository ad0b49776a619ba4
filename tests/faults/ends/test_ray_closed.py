"""Two nodes of a Ray cluster with a token, each in a network of its own, and what others can do."""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmark.rows.store import Store
from support.files.noise import effect_noise
from support.processes import until

pytest.importorskip("ray", reason="Ray is not installed")

FAKES = Path(__file__).parents[2] / "support" / "codecs" / "fakes.py"
HEAD, NODE = "10.213.77.1", "10.213.77.2"
START = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
SMALL = ["--object-store-memory", str(80 << 20), "--disable-usage-stats"]
LISTENING = re.compile(r"LISTEN +\d+ +\d+ +(\S+):(\d+) ")


def done(*words):
    return subprocess.run(list(words), capture_output=True, text=True, check=False)


@pytest.fixture
def short_folder():
    """A folder for Ray, whose sockets have names of at most 107 bytes."""
    with TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield name


@pytest.fixture
def networks(short_folder):
    """Two network namespaces with one cable between them; their processes end with the test."""
    names = [f"rdrbench-{os.getpid()}-{number}" for number in (1, 2)]
    ends = [f"rdr{os.getpid()}{side}" for side in "ab"]
    started: list[subprocess.Popen[bytes]] = []
    made = [done("ip", "netns", "add", name) for name in names]
    try:
        made.append(done("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]))
        for name, end, address in zip(names, ends, (HEAD, NODE), strict=True):
            made.append(done("ip", "link", "set", end, "netns", name))
            inside = ["ip", "-n", name]
            made.append(done(*inside, "addr", "add", f"{address}/24", "dev", end))
            made += [done(*inside, "link", "set", one, "up") for one in (end, "lo")]
        refused = next((one.stderr.strip() for one in made if one.returncode), "")
        if refused:
            pytest.skip(f"needs the right to make network namespaces: {refused}")
        yield *names, started
    finally:
        for name in names:
            for process in done("ip", "netns", "pids", name).stdout.split():
                done("kill", "-9", process)
            done("ip", "netns", "del", name)
        for process in started:
            process.wait()


def inside(name, *words):
    return ["ip", "netns", "exec", name, *map(str, words)]


def listening(name):
    """The addresses and ports at which processes of the namespace wait for others."""
    return LISTENING.findall(done(*inside(name, "ss", "-ltnH")).stdout)


def test_two_nodes_with_a_token_work_together_and_nobody_without_it_does(
    networks, tmp_path, short_folder
):
    head, node, started = networks
    (tmp_path / "photos").mkdir()
    effect_noise((24, 20), 40).convert("RGB").save(tmp_path / "photos" / "0.png")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    plain = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": short_folder, "HOME": str(tmp_path)}
    plain = {**os.environ, **plain}

    def start(name, *words, **variables):
        with (tmp_path / "log").open("a") as log:
            started.append(
                subprocess.Popen(
                    inside(name, *START, *words, *SMALL),
                    env={**plain, **variables}, stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip

    def bench(name, **variables):
        words = ["run", "--codecs", f"{FAKES}:Honest", "--dataset", tmp_path / "photos"]
        words += ["--metrics", "psnr", "--engine", "ray", "--address", f"{HEAD}:6379"]
        command = [sys.executable, "-m", "benchmark", *words, "--results", tmp_path / "results"]
        return subprocess.run(
            inside(name, *command), env={**plain, **variables}, capture_output=True, text=True,
            timeout=900, check=False,
        )  # fmt: skip

    start(head, "--head", "--node-ip-address", HEAD, "--port", 6379, "--num-cpus", 0,
          "--include-dashboard", "false", **token)  # fmt: skip
    assert until(lambda: any(port == "6379" for _, port in listening(head)), 300)
    everywhere = {port for address, port in listening(head) if address in ("*", "0.0.0.0", "[::]")}
    assert "6379" in everywhere, "docs/cluster.md says that Ray binds all addresses"
    start(node, "--address", f"{HEAD}:6379", "--node-ip-address", NODE, "--num-cpus", 1, **token)
    assert until(lambda: listening(node), 300), (tmp_path / "log").read_text()
    together = bench(head, **token)
    assert together.returncode == 0, together.stderr
    for stranger in ({}, wrong):
        refused = bench(node, **stranger)
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
        (last,) = [line for line in refused.stderr.splitlines() if line.startswith("bench: ")]
        assert last.endswith(
            "one that asks for a token needs RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH here too"
        )
    (folder,) = (tmp_path / "results").iterdir()
    assert {row["status"] for row in Store(folder).table().to_pylist()} == {"ok"}
