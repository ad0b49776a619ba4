"""The harness: real bitstreams of any codec, decoded from the bytes, scored, stored, drawn."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.paper.ablation import write_ablation

# What `import benchmark` offers, as text: importing it imports none of them.
INTERFACE = {
    "write_ablation": "benchmark.paper.ablation",
}
__all__ = ["write_ablation"]


def __getattr__(name: str) -> Any:
    if name not in INTERFACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(INTERFACE[name]), name)
