"""Choose the GPU of each local worker for codecs that run on GPUs, by the memory that is free."""

from collections.abc import Sequence

from benchmark.system.machine import Gpu

# Of a GPU: one codes entropy on the CPU while another has the GPU; alone where time is measured.
USUAL_WORKERS, MOST_WORKERS = 2, 4
# A large network on a tile of 2048 x 2048 pixels: our choice, which was not measured.
WORKER_BYTES = 8 << 30


def gpu_lanes(found: Sequence[Gpu], timing: bool) -> list[str]:
    """Return the GPU of each worker by its name, every GPU once before any again.

    Names are empty where nothing is known of GPUs: what workers see is left as it is.

    >>> gpu_lanes([Gpu("a", 20 << 30), Gpu("b", 9 << 30)], False), gpu_lanes([], False)
    (['a', 'b', 'a'], ['', ''])
    """
    fitting = {one.name: _fitting(one) for one in found} or {"": USUAL_WORKERS}
    names = [name for turn in range(MOST_WORKERS) for name, many in fitting.items() if turn < many]
    return names[:1] if timing else names


def _fitting(gpu: Gpu) -> int:
    if gpu.free_bytes is None:
        return USUAL_WORKERS
    return min(max(gpu.free_bytes // WORKER_BYTES, 1), MOST_WORKERS)
