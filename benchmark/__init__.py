"""The harness: encodes images with any codec, decodes the streams, scores, stores, draws."""

from importlib import import_module
from itertools import chain
from typing import Any

# Names in `benchmark`, by module; strings, so that importing `benchmark` imports no other module
INTERFACE = {
    "benchmark.datasets.dataset": ("open_dataset",),
    "benchmark.datasets.image": ("read_image",),
    "benchmark.api.codec": ("decoded", "open_codec", "run"),
    "benchmark.api.rows": ("load", "missing"),
    "benchmark.metrics.maps": ("error_map",),
    "benchmark.api.tables": ("bd_rate", "match", "plot", "rank", "summary", "tradeoff"),
}
__all__ = list(chain(*INTERFACE.values()))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    for module, names in INTERFACE.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
