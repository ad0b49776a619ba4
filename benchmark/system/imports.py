"""The import of pyarrow without pandas."""

import sys
from importlib.abc import MetaPathFinder


class _PandasLeftOut(MetaPathFinder):
    """Finder in front of all others, by which pandas is not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out for a moment", name=fullname)


def leave_pandas_out() -> None:
    """Have pyarrow take pandas for absent until a function is called that needs it.

    pyarrow asks once whether the objects it is given may be of pandas, and imports pandas for that:
    .4 s of processor time in every process. `to_pandas` and `from_pandas` import it after all.
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
