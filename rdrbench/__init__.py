"""The project by the name that it is installed under: it offers what `import benchmark` offers."""

from typing import TYPE_CHECKING, Any

import benchmark

if TYPE_CHECKING:
    from benchmark import *  # noqa: F403

__all__ = []
__all__ += benchmark.__all__


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rdrbench")
    if name in __all__:
        return getattr(benchmark, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
