"""A real cluster of several nodes on this machine: the same rows, whatever dies in the middle."""

import json
import signal
import subprocess
import sys
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
from support.processes import is_running, until

pytest.importorskip("ray", reason="Ray is not installed")
# The loss of a node in an earlier test may be noticed late.
pytestmark = pytest.mark.filterwarnings("ignore:node .* was lost:benchmark.errors.Notice")

STORE_BYTES = 80 << 20  # the minimum that Ray accepts


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
        reported = {} if remarks is None else remarks
        engine = RayEngine(self.nodes, lambda task: None, reported)
        return engine.carry_out(cells, conditions(**changes))

    def rows(self, cells, remarks=None, **changes):
        """Return the rows by cell; each cell may end only once."""
        events = [e for e in self.run(cells, remarks, **changes) if isinstance(e, Finished)]
        counts = Counter(event.task.key for event in events)
        assert {key: n for key, n in counts.items() if n > 1} == {}
        return {event.task.key: event.outcome.row for event in events}


@pytest.fixture(scope="module")
def cluster():
    driver = LocalCluster()
    yield driver
    driver.session.__exit__(None, None, None)
    driver.ray.shutdown()


def local_rows(cells, **changes):
    """Return the rows that one process gives."""
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
    """Count the starts of each cell, by setting and picture."""
    return Counter(tuple(path.name.split("-")[:2]) for path in folder.iterdir())


def worker_ids(folder):
    """Return the process ids of Ray's workers that have started a cell."""
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
    stat = Path(f"/proc/{process_id}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


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
    assert {event.task.key: stable(event.outcome.row) for event in events} == local_rows(
        todo, jobs=3
    )
    assert sorted(counts.values()) == [1] * 8 + [2], "its current cell was begun again"


def test_a_node_that_is_gone_is_one_sentence(cluster, sources, monkeypatch):
    """Live nodes are listed once, since an earlier test's may still be timing out."""
    answers = []

    def nodes(module, alive=ray._nodes_alive):
        answers.append(answers[0] if answers else alive(module))
        gone = {"gone": Node("192.0.2.99", 1, 0)} if len(answers) == 1 else {}
        return answers[0] | gone

    monkeypatch.setattr(ray, "_nodes_alive", nodes)
    remarks = {}
    with pytest.warns(Notice, match=r"192\.0\.2\.99"):
        assert len(cluster.rows(cells(f"{FAKES}:Honest", sources), remarks)) > 0
    assert [*remarks] == ["node 192.0.2.99 was lost: other nodes got its cells"]


def test_a_missing_node_is_reported(cluster, sources, monkeypatch):
    monkeypatch.setattr(ray, "_nodes_alive", lambda module: {})
    monkeypatch.setattr(ray, "NOTICE_SECONDS", -1.0)
    codec = f"{CODECS}:Traced"
    monkeypatch.setenv("BENCH_PAUSE", "1")
    states = [state for state in cluster.run(cells(codec, sources[:1])) if isinstance(state, str)]
    assert states[0].startswith("no node for ")
    assert states[0].endswith(" s; waiting up to 10 minutes")


def test_a_worker_that_is_killed_gives_its_cell_to_another(cluster, sources, traces):
    result = cluster.rows(cells(f"{CODECS}:KillsItsWorker", sources[:1]))
    assert {row["status"] for row in result.values()} == {"ok"}
    assert sorted(count_starts(traces).values()) == [1, 1, 2]


def test_a_cell_that_takes_every_worker_with_it_is_a_failed_row(cluster, sources, traces):
    result = cluster.rows(cells(f"{CODECS}:KillsItsWorker:times=99", sources[:1]))
    failed = {row["setting_value"]: row for row in result.values() if row["status"] == "failed"}
    assert list(failed) == [16.0]
    assert failed[16.0]["stage"] == "worker"
    assert failed[16.0]["reason"].startswith("3 workers were lost while they worked on this cell")
    assert failed[16.0]["reason"].endswith("; the last time, the process ended")
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
    with pytest.raises(BenchError, match="no node of") as error:
        cluster.rows(to_do)
    reason = f"is not used: {parse_codec(f'{CODECS}:OnlyThere').text}: the program 'nonesuch'"
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
    with pytest.raises(BenchError, match="version of rdrbench"):
        cluster.rows(cells(f"{FAKES}:Honest", sources[:1]))


def test_a_worker_that_cannot_work_at_all_ends_the_run_in_a_sentence(cluster, sources, monkeypatch):
    monkeypatch.setattr("benchmark.measure.ray.measure", lambda *task: 1 / 0)
    with pytest.raises(BenchError, match="ZeroDivisionError"):
        cluster.rows(cells(f"{FAKES}:Honest", sources[:1]))


def command(cluster, images, results, *options):
    words = ["run", "--codecs", f"{CODECS}:KillsItsWorker", "--dataset", images, "--limit", "2"]
    words += ["--metrics", "psnr", *options]
    place = ["--engine", "ray", "--results", results]
    return [sys.executable, "-m", "benchmark", *map(str, [*words, *place])]


def stored_rows(results):
    rows = [row for folder in results.glob("*") for row in Store(folder).table().rows(named=True)]
    return {row["cell"]: row for row in rows}


def test_a_killed_driver_resumes_where_it_was(cluster, sources, traces, tmp_path, monkeypatch):
    """A worker is killed for each image as well: Ray's messages do not reach the summary."""
    images, results = sources[0].file.path.parent, tmp_path / "results"
    monkeypatch.setenv("BENCH_PAUSE", "1.05")  # slow rows are stored at once
    monkeypatch.setenv("RAY_ADDRESS", cluster.ray.address)
    nowhere = subprocess.DEVNULL
    first = subprocess.Popen(command(cluster, images, results), stdout=nowhere, stderr=nowhere)
    assert until(lambda: stored_rows(results), 120), "no row was stored"
    first.send_signal(signal.SIGKILL)
    first.wait()
    first_rows = stored_rows(results)
    assert 0 < len(first_rows) < 6
    words = command(cluster, images, results, "--json")
    second = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["measured"] == 6 - len(first_rows)
    final_rows, counts = stored_rows(results), count_starts(traces)
    assert {key: final_rows[key] for key in first_rows} == first_rows, "measured again"
    repetitions = sum(counts.values()) - 6 - 2
    assert 0 <= repetitions <= 3, "only what was in progress, or on its way, when the driver died"
    (folder,) = results.iterdir()
    store = Store(folder)
    record = store.record(next(iter(set(store.table()["run"].to_list()))))
    assert record["engine"] == "ray"
    assert sum(node["cpus"] for node in record["nodes"]) >= 2
    assert [row["status"] for row in final_rows.values()] == ["ok"] * 6
    assert all(store.stream(row["stream_sha256"]) for row in final_rows.values())


@pytest.mark.parametrize(("options", "address", "message"), [
    (["--timing"], "", "--timing"),
    ([], "ray://a:1", "$RAY_ADDRESS is not valid, 'ray://a:1'"),
    ([], "localhost:1", "no Ray cluster answers at localhost:1"),
])  # fmt: skip
def test_an_unusable_cluster_is_refused(options, address, message, sources, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    images = sources[0].file.path.parent
    words = ("run", "--codecs", f"{FAKES}:Honest", "--dataset", images, "--results", tmp_path)
    result = bench(*words, "--engine", "ray", *options)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert message in result.stderr
