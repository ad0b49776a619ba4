"""Packages that the core does without: which extra of the project brings each."""

from collections.abc import Iterable
from importlib.util import find_spec

from benchmark.errors import Reason, Unavailable

EXTRAS = {
    "torch": "neural", "constriction": "neural", "safetensors": "neural", "lpips": "neural",
    "pytorch_fid": "neural", "compressai": "compressai",
}  # fmt: skip


def require_packages(name: str, packages: Iterable[str]) -> None:
    """Raise `Unavailable`, on behalf of a codec or metric, for the first package that is absent."""
    for package in packages:
        if find_spec(package) is None:
            command = f"pip install 'rdrbench[{EXTRAS[package]}]'"
            raise Unavailable(
                f"{name} needs the Python package {package}: run `{command}`",
                Reason("package", package, command),
            )
