"""The harness: encodes images with any codec, decodes the streams, scores, stores, draws."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.api.codec import decoded, open_codec, run
    from benchmark.api.rows import load, missing
    from benchmark.api.tables import bd_rate, match, plot, rank, summary, tradeoff
    from benchmark.datasets.dataset import open_dataset
    from benchmark.datasets.image import read_image
    from benchmark.metrics.maps import error_map

# Names in `benchmark`, by module; strings, so that importing `benchmark` imports no other module
INTERFACE = {
    "benchmark.datasets.dataset": ("open_dataset",),
    "benchmark.datasets.image": ("read_image",),
    "benchmark.api.codec": ("decoded", "open_codec", "run"),
    "benchmark.api.rows": ("load", "missing"),
    "benchmark.metrics.maps": ("error_map",),
    "benchmark.api.tables": ("bd_rate", "match", "plot", "rank", "summary", "tradeoff"),
}
__all__ = [
    "bd_rate", "decoded", "error_map", "load", "match", "missing", "open_codec", "open_dataset",
    "plot", "rank", "read_image", "run", "summary", "tradeoff",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    for module, names in INTERFACE.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
