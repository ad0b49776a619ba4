"""The harness: real bitstreams of any codec, decoded from the bytes, scored, stored, drawn."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.datasets.folder import open_dataset
    from benchmark.datasets.image import read_image
    from benchmark.interface.codec import decoded, open_codec
    from benchmark.interface.plot import plot
    from benchmark.interface.rows import load, missing, protocols
    from benchmark.interface.run import run
    from benchmark.interface.tables import bd_rate, match, rank, summary
    from benchmark.paper.ablation import write_ablation

# What `import benchmark` offers, as text: importing it imports none of them.
INTERFACE = {
    "bd_rate": "benchmark.interface.tables",
    "decoded": "benchmark.interface.codec",
    "load": "benchmark.interface.rows",
    "match": "benchmark.interface.tables",
    "missing": "benchmark.interface.rows",
    "open_codec": "benchmark.interface.codec",
    "open_dataset": "benchmark.datasets.folder",
    "plot": "benchmark.interface.plot",
    "protocols": "benchmark.interface.rows",
    "rank": "benchmark.interface.tables",
    "read_image": "benchmark.datasets.image",
    "run": "benchmark.interface.run",
    "summary": "benchmark.interface.tables",
    "write_ablation": "benchmark.paper.ablation",
}
__all__ = [
    "bd_rate", "decoded", "load", "match", "missing", "open_codec", "open_dataset", "plot",
    "protocols", "rank", "read_image", "run", "summary", "write_ablation",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted({*globals(), *INTERFACE})


def __getattr__(name: str) -> Any:
    if name not in INTERFACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(INTERFACE[name]), name)
