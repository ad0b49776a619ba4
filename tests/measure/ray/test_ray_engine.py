"""A real cluster of several nodes on this machine: the same rows, whatever dies in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmark.errors import BenchError, Notice
from benchmark.measure import ray
from benchmark.measure.local import Finished
from benchmark.measure.ray import MAX_TRIES, Node, RayEngine, connect_cluster
from benchmark.measure.workbench import Workbench
from benchmark.rows.store import Store
from benchmark.spec import parse_codec
from support.bench.command import bench
from support.codecs.files import CODECS, FAKES, cells, conditions, stable
from support.processes import is_running, running, until

pytest.importorskip("ray", reason="Ray is not installed")
# The loss of a node in an earlier test may be noticed late.
pytestmark = pytest.mark.filterwarnings("ignore:node .* was lost:benchmark.errors.Notice")

STORE_BYTES = 80 << 20  # the minimum that Ray accepts
# Ray notices a lost node within a second, and its processes give up a lost head, too.
SETTINGS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}
SETTINGS |= {"gcs_rpc_server_reconnect_timeout_s": 2}


class LocalCluster:
    """Cluster on this machine, with this process as its driver."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        quiet = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        self.ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **quiet})
        self.add(num_gpus=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", self.ray.address)
            self.session = connect_cluster()
            self.nodes = self.session.__enter__()

    def add(self, **resources):
        return self.ray.add_node(num_cpus=1, object_store_memory=STORE_BYTES, **resources)

    def run(self, cells, remarks=None, **changes):
        """Yield outcomes as they come, and None in between."""
        engine = RayEngine(self.nodes, lambda task: None, {} if remarks is None else remarks)
        return engine.carry_out(cells, conditions(**changes))

    def rows(self, cells, remarks=None, **changes):
        """Return the rows by cell; each cell may end only once."""
        events = [e for e in self.run(cells, remarks, **changes) if isinstance(e, Finished)]
        counts = Counter(event.task.key for event in events)
        assert {key: n for key, n in counts.items() if n > 1} == {}
        return {event.task.key: event.outcome.row for event in events}

    def end(self):
        self.session.__exit__(None, None, None)
        self.ray.shutdown()


@pytest.fixture(scope="module")
def clusters():
    """The cluster of these tests, once one has asked for it."""
    opened = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(f"RAY_{name}", str(value))
        yield opened
        for driver in opened:
            driver.end()


@pytest.fixture
def cluster(clusters):
    if not clusters:
        clusters.append(LocalCluster())
    return clusters[0]


@pytest.fixture
def dying_cluster(cluster, clusters):
    """The cluster without this process, which would end with its head."""
    clusters.remove(cluster)
    cluster.session.__exit__(None, None, None)
    yield cluster.ray
    cluster.ray.shutdown()


def local_rows(cells, **changes):
    bench = Workbench(conditions(**changes))
    return {cell.key: stable(bench.carry_out(cell).row) for cell in cells}


@pytest.fixture
def traces(tmp_path, monkeypatch):
    """Folder where codecs on nodes leave a file for each encode call."""
    folder = tmp_path / "traces"
    folder.mkdir()
    monkeypatch.setenv("BENCH_TRACES", str(folder))
    return folder


def count_starts(folder):
    return Counter(tuple(path.name.split("-")[:2]) for path in folder.iterdir())


def worker_ids(folder):
    return {int(path.name.split("-")[2]) for path in folder.iterdir()}


def test_nodes_give_the_rows_of_one_process_even_of_crashes(cluster, sources, traces, monkeypatch):
    """Two codecs in one run: one that is honest, and one that dies in native code."""
    honest, dying = cells(f"{CODECS}:Traced", sources), cells(f"{FAKES}:Segfaults", sources)
    monkeypatch.setenv("BENCH_PAUSE", "0.2")
    result = cluster.rows(honest + dying)
    assert len(worker_ids(traces)) == 2, "a worker on each node"
    monkeypatch.undo()
    assert {cell.key: stable(result[cell.key]) for cell in honest} == local_rows(honest)
    failed = [row for row in result.values() if row["status"] == "failed"]
    (reason,) = {row["reason"] for row in failed}
    assert "killed by SIGSEGV" in reason
    assert {row["setting_value"] for row in failed} == {16.0}
    assert (len(result), len(failed)) == (18, 3)


def parent(process_id):
    """Return the parent of a process: a worker's is the raylet of its node."""
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_lost_node_loses_and_doubles_no_cell(cluster, sources, traces, tmp_path, monkeypatch):
    """Three workers, and three cells at a gate: when all those are begun, each worker is at one."""
    todo, gate = cells(f"{CODECS}:Traced", sources), tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv("BENCH_GATE", str(gate))
    lost = cluster.add()
    (raylet,) = (process.process.pid for process in lost.all_processes["raylet"])
    running, events = cluster.run(todo, jobs=3), []
    while sum(setting == "16" for setting, _ in count_starts(traces)) < 3:
        events.append(next(running))
    (worker,) = (process for process in worker_ids(traces) if parent(process) == raylet)
    cluster.ray.remove_node(lost, allow_graceful=False)
    assert until(lambda: not is_running(worker)), "it outlives its node"
    gate.unlink()
    events = [event for event in [*events, *running] if isinstance(event, Finished)]
    counts = count_starts(traces)
    monkeypatch.undo()
    assert len(events) == len({event.task.key for event in events}) == 9
    rows = {event.task.key: stable(event.outcome.row) for event in events}
    assert rows == local_rows(todo, jobs=3)
    assert sorted(counts.values()) == [1] * 8 + [2], "its current cell was begun again"


def test_a_node_that_is_gone_is_one_sentence(cluster, sources, monkeypatch):
    """Live nodes are listed once, since an earlier test's may still be timing out."""
    answers = []

    def nodes(module, alive=ray._nodes_alive):
        answers.append(answers[0] if answers else alive(module))
        return answers[0] | ({"gone": Node("192.0.2.99", 1, 0)} if len(answers) == 1 else {})

    monkeypatch.setattr(ray, "_nodes_alive", nodes)
    remarks = {}
    with pytest.warns(Notice, match=r"192\.0\.2\.99"):
        assert len(cluster.rows(cells(f"{FAKES}:Honest", sources), remarks)) > 0
    assert ["node 192.0.2.99 " in remark for remark in remarks] == [True]


def test_a_missing_node_is_reported(cluster, sources, monkeypatch):
    monkeypatch.setattr(ray, "_nodes_alive", lambda module: {})
    monkeypatch.setattr(ray, "NOTICE_SECONDS", -1.0)
    codec = f"{CODECS}:Traced"
    monkeypatch.setenv("BENCH_PAUSE", "1")
    states = [state for state in cluster.run(cells(codec, sources[:1])) if isinstance(state, str)]
    assert states[0].startswith("no node for ")
    assert states[0].endswith(" 10 minutes")


def test_a_worker_that_is_killed_gives_its_cell_to_another(cluster, sources, traces):
    result = cluster.rows(cells(f"{CODECS}:KillsItsWorker", sources[:1]))
    assert {row["status"] for row in result.values()} == {"ok"}
    assert sorted(count_starts(traces).values()) == [1, 1, 2]


def test_a_cell_that_takes_every_worker_with_it_is_a_failed_row(cluster, sources, traces):
    result = cluster.rows(cells(f"{CODECS}:KillsItsWorker:times=99", sources[:1]))
    failed = {row["setting_value"]: row for row in result.values() if row["status"] == "failed"}
    assert list(failed) == [16.0]
    assert failed[16.0]["stage"] == "worker"
    assert failed[16.0]["reason"].startswith("3 workers ")
    assert failed[16.0]["reason"].endswith("the process ended")
    assert sorted(count_starts(traces).values()) == [1, 1, MAX_TRIES]


def test_codecs_for_a_gpu_have_a_lane_of_their_own_with_a_gpu_and_others_see_none(cluster, sources):
    to_do = cells(f"{CODECS}:OnGpu", sources[:1]) + cells(f"{CODECS}:OnCpu", sources[:1])
    outcomes = [event.outcome for event in cluster.run(to_do) if hasattr(event, "outcome")]
    assert [outcome.row["status"] for outcome in outcomes] == ["ok"] * 6
    samples = 6 + 40 * 30 * 3
    reported = {(outcome.row["device"], outcome.stream[samples:]) for outcome in outcomes}
    assert reported == {("cuda", b"0"), ("cpu", b"")}, "the first GPU of its node, and none"


def test_a_node_that_lacks_something_leaves_its_cells_to_others(cluster, sources, monkeypatch):
    to_do = cells(f"{CODECS}:OnlyThere", sources[:1])
    monkeypatch.setenv("BENCH_ON_A_NODE", "1")
    with pytest.raises(BenchError, match="nonesuch") as error:
        cluster.rows(to_do)
    reason = f"{parse_codec(f'{CODECS}:OnlyThere').text}: "
    assert str(error.value).count(reason) == len(cluster.nodes)
    send, first = RayEngine._send_task, []

    def sent(self, *arguments):
        if not first:
            first.append(next(iter(ray._nodes_alive(self._ray))))
            self._refusals[first[0]] = "node 192.0.2.1 is not used: it lacks a program"
        return send(self, *arguments)

    monkeypatch.setattr(RayEngine, "_send_task", sent)
    result = cluster.rows(cells(f"{FAKES}:Honest", sources))
    assert {row["status"] for row in result.values()} == {"ok"}


def test_nodes_with_another_version_of_the_project_are_not_used(cluster, sources, monkeypatch):
    monkeypatch.setattr("benchmark.measure.ray.code_sha256", lambda: "another")
    with pytest.raises(BenchError, match="version"):
        cluster.rows(cells(f"{FAKES}:Honest", sources[:1]))


def test_a_worker_that_cannot_work_at_all_ends_the_run_in_a_sentence(cluster, sources, monkeypatch):
    monkeypatch.setattr("benchmark.measure.ray.measure", lambda *task: 1 / 0)
    with pytest.raises(BenchError, match="ZeroDivisionError"):
        cluster.rows(cells(f"{FAKES}:Honest", sources[:1]))


def stored_rows(results):
    rows = [row for folder in results.glob("*") for row in Store(folder).table().rows(named=True)]
    return {row["cell"]: row for row in rows}


# Hangs for q = 1 while the gate is there, with a child that shares nothing with it.
SCRIPT = """
if [ "$3" = 1 ] && [ -e {gate} ]; then
  env -i setsid sleep {mark} &
  exec sleep {mark}
fi
cp $1 $2
"""


@pytest.fixture
def hanging(tmp_path):
    """A codec whose program hangs, its gate, and a function that tells how many processes do."""
    mark, gate = f"4{time.monotonic_ns() % 10**6:06}.{os.getpid()}", tmp_path / "gate"
    gate.touch()
    script = tmp_path / "encode.sh"
    script.write_text(SCRIPT.format(mark=mark, gate=gate))
    codec = f"command:encode=sh {script} {{in}} {{out}} {{q}}:decode=cp {{in}} {{out}}:values=1/2"
    return f"{codec}:version=1", gate, lambda: len(running(f"^sleep {mark}"))


def run_words(codecs, sources, results):
    options = {"codecs": codecs, "dataset": sources[0].file.path.parent, "limit": 1}
    options |= {"metrics": "psnr", "results": results}
    return ["run", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


def test_a_killed_driver_ends_its_programs_and_resumes_where_it_was(
    cluster, sources, traces, tmp_path, monkeypatch, hanging
):
    """A worker is killed as well: Ray's messages do not reach the summary."""
    (codec, gate, programs), results = hanging, tmp_path / "results"
    words = run_words(f"{CODECS}:KillsItsWorker,{codec}", sources, results)
    words = [sys.executable, "-m", "benchmark", *words, "--engine", "ray", "--json"]
    monkeypatch.setenv("RAY_ADDRESS", cluster.ray.address)
    with monkeypatch.context() as patch:
        patch.setenv("BENCH_PAUSE", "1.05")  # slow rows are stored at once
        first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(lambda: stored_rows(results) and programs() == 2, 120), "nothing stored or begun"
    first.kill()
    first.wait()
    first_rows = stored_rows(results)
    assert until(lambda: not programs(), 120)
    gate.unlink()
    second = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["measured"] == 5 - len(first_rows)
    final_rows = stored_rows(results)
    assert {key: final_rows[key] for key in first_rows} == first_rows, "measured again"
    repetitions = sum(count_starts(traces).values()) - 3 - 1
    assert 0 <= repetitions <= 2, "only what was in progress, or on its way, when the driver died"
    (folder,) = results.iterdir()
    store = Store(folder)
    record = store.record(next(iter(set(store.table()["run"].to_list()))))
    assert record["engine"] == "ray"
    assert sum(node["cpus"] for node in record["nodes"]) >= 2
    assert [row["status"] for row in final_rows.values()] == ["ok"] * 5
    assert all(store.stream(row["stream_sha256"]) for row in final_rows.values())


def test_a_lost_head_ends_all_programs_and_the_run_resumes_without_it(
    dying_cluster, sources, tmp_path, monkeypatch, hanging
):
    (codec, gate, programs), results = hanging, tmp_path / "results"
    monkeypatch.setenv("RAY_ADDRESS", dying_cluster.address)
    words = run_words(codec, sources, results)
    command = [sys.executable, "-m", "benchmark", *words, "--engine", "ray"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert until(lambda: programs() == 2, 400), "no program was started"
    for process in dying_cluster.head_node.all_processes["gcs_server"]:
        os.kill(process.process.pid, signal.SIGKILL)
    _, message = run.communicate(timeout=300)
    assert until(lambda: not programs(), 120)
    assert (run.returncode, "Traceback" in message) == (1, False), message
    rows_before = stored_rows(results)
    assert [row["setting_value"] for row in rows_before.values()] in ([], [2.0])
    gate.unlink()
    bench(*words, "--jobs", "1", code=0)
    rows_after = stored_rows(results)
    assert [row["status"] for row in rows_after.values()] == ["ok"] * 2
    assert rows_after == {**rows_after, **rows_before}


@pytest.mark.parametrize(("options", "address", "message"), [
    (["--timing"], "", "--timing"),
    ([], "ray://a:1", "$RAY_ADDRESS"),
    ([], "localhost:1", " localhost:1"),
])  # fmt: skip
def test_an_unusable_cluster_is_refused(options, address, message, sources, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    images = sources[0].file.path.parent
    words = ("run", "--codecs", f"{FAKES}:Honest", "--dataset", images, "--results", tmp_path)
    result = bench(*words, "--engine", "ray", *options)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert message in result.stderr
