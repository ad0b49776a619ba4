"""Imports of pyarrow without pandas, and of torchvision beside a build of torch that it lacks."""

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

# Operators that torchvision's Python files refer to at import. Its compiled library declares them,
# and does not load beside a torch that was built for another processor (torch for the CPU beside
# torchvision for CUDA, from different package sources).
DECLARATIONS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []  # a torch.library.Library takes its declarations along when it goes


class _PandasLeftOut(MetaPathFinder):
    """Finder in front of all others, by which pandas is not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out for a moment", name=fullname)


def leave_pandas_out() -> None:
    """Have pyarrow take pandas for absent until a function is called that needs it.

    pyarrow asks once whether the objects it is given may be of pandas, and imports pandas for that:
    .4 s of processor time in every process, few of which ever make a data frame. Those do as they
    would: `to_pandas` and `from_pandas` import pandas after all, and from then on pyarrow knows its
    objects. Nothing happens where pandas is imported already.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _PandasLeftOut()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])  # a list of anything
    finally:
        sys.meta_path.remove(finder)


def import_torchvision() -> ModuleType:
    """Return the package `torchvision`; call before importing anything that imports torchvision.

    Where its compiled operators do not load, they are declared without a kernel: models, weights
    and transforms work, and calling such an operator (box suppression, which this program does not)
    raises NotImplementedError. Raises ImportError where torchvision is not installed.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in list(sys.modules):  # half-imported modules would be taken for whole ones
        if name.partition(".")[0] == "torchvision":
            del sys.modules[name]
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for declaration in DECLARATIONS:
        library.define(declaration)  # type: ignore[no-untyped-call]
    _declared.append(library)
    return import_module("torchvision")
