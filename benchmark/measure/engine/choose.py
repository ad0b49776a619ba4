"""Options of a run to where its cells are carried out: this machine, or the nodes of a cluster."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from benchmark.measure.run import Engine
    from benchmark.plan.estimate import CostModel
    from benchmark.system.device import Device

ENGINES = ("local", "ray")


class Place(NamedTuple):
    """Where a run's cells are carried out; facts go into its record."""

    device: "Device"
    jobs: int | None  # None for one a core of this machine
    facts: dict[str, object]
    engine: "Callable[[CostModel], Engine]"
    session: "Callable[[], AbstractContextManager[None]]"  # to be in while it works
    remarks: Callable[[], list[str]]  # after the run: sentences on what nodes lacked


def choose_place(
    engine: str, address: str, device: str, jobs: int | None, gpus_per_worker: float, timing: bool
) -> Place:
    """Raises `UsageError` for what cannot be, `Unavailable` where no cluster answers."""
    from benchmark.errors import UsageError

    if engine not in ENGINES:
        raise UsageError(f"--engine {engine!r} is none of {', '.join(ENGINES)}")
    if engine == "local":
        return _here(device, jobs)
    if timing:
        raise UsageError("--timing measures one machine with nothing beside: drop --engine ray")
    return _cluster(address, device, jobs, gpus_per_worker)


def _here(device: str, jobs: int | None) -> Place:
    from benchmark.measure.engine.local import carry_out, prepare_workers
    from benchmark.system.device import use_device

    chosen = use_device(device)
    prepare_workers()
    return Place(chosen, jobs, {}, lambda model: carry_out, nullcontext, list)


def _cluster(address: str, device: str, jobs: int | None, gpus_per_worker: float) -> Place:
    from benchmark.measure.engine.cluster import connect, session, use_device
    from benchmark.measure.engine.local import Task
    from benchmark.measure.engine.ray import RayEngine
    from benchmark.plan.cells import Cell

    cluster = connect(address)
    chosen = use_device(device, cluster)
    remarks: dict[str, None] = {}

    def engine(model: "CostModel") -> "Engine":
        def seconds(task: Task) -> float | None:
            if isinstance(task, Cell):
                return model.seconds(task)
            decoding: float | None = task.row["decode_seconds"]
            return decoding

        return RayEngine(cluster, seconds, gpus_per_worker, remarks).carry_out

    nodes = [node._asdict() for node in cluster.nodes]
    facts: dict[str, object] = {"engine": "ray", "nodes": nodes}
    most = jobs or max(cluster.cpus, 1)
    return Place(chosen, most, facts, engine, session, lambda: list(remarks))
