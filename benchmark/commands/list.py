"""`bench list`: names of codecs, datasets and metrics, from the tables alone."""

from benchmark.registry import ALIASES, CODECS, DATASETS, METRICS, NEED_OPTIONS, PLANNED


def list_names() -> None:
    """List codecs, datasets and metrics (`bench doctor` says which of them run here)."""
    print("codecs")
    for name in CODECS:
        print(f"  {name:<22}{'needs options' if name in NEED_OPTIONS else ''}".rstrip())
    for name, spec in ALIASES.items():
        print(f"  {name:<22}short for {spec}")
    for name, reason in PLANNED.items():
        print(f"  {name:<22}not yet: {reason}")
    print("  ./file.py:Class       a codec of your own")
    print("datasets")
    for name in DATASETS:
        print(f"  {name}")
    print("  path/to/images        any folder")
    print("metrics")
    for name in METRICS:
        print(f"  {name}")
