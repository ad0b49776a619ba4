"""The files of codecs that tests give to `bench`, and what workers are asked with them."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from benchmark.codec import CodecInfo, Setting
from benchmark.datasets.dataset import ImageFile, Source, probe
from benchmark.measure.cells import Cell, RunConditions, plan
from benchmark.measure.select import select
from benchmark.measure.workbench import Workbench
from benchmark.rows.streams import FeatureFolder
from benchmark.spec import CodecSpec
from support.rows.stable_rows import SECONDS

HERE = Path(__file__).parent
FAKES, MINE, CODECS = HERE / "fakes.py", HERE / "mine.py", HERE / "fake_on_cluster.py"
INFO = CodecInfo("1", "call", "MIT", "ab" * 32, 1, "one call")
VOLATILE = {"finished_utc", "machine"} | SECONDS


def conditions(**changes):
    defaults = {"run": "r", "metrics": ("psnr",), "flatten": False, "timing": False, "jobs": 2}
    defaults |= {"device": "cpu", "threads": 1, "machine": "driver", "folder": Path("unwritten")}
    return RunConditions(**{**defaults, **changes})


def keep(store, tasks, **changes):
    """Carry out cells in this process; keep rows, streams and features, and return the store."""
    bench = Workbench(conditions(folder=store.folder, jobs=1, **changes))
    features = FeatureFolder(store.folder)
    store.write_record("r", {"codecs": {}})
    measured = [bench.carry_out(cell) for cell in tasks]
    for measurement in measured:
        store.keep(measurement.stream)
        for of_image in measurement.features:
            features.keep(of_image)
    store.append([measurement.row for measurement in measured])
    return store


def stable(row):
    """Return a row without what two measurements need not share."""
    return {key: value for key, value in row.items() if key not in VOLATILE}


def sources_in(folder: Path) -> list[Source]:
    result = probe([ImageFile(path.name, path) for path in sorted(folder.iterdir())], False, 1)
    assert all(isinstance(source, Source) for source in result)
    return result


def cell_of(codec: str, value: float, name: str = "quality", pixels: int = 12, **changes) -> Cell:
    """Return the cell of a codec's setting and an image that no file has, another in each call."""
    source = Source(ImageFile("a.png", Path("a.png")), uuid4().hex, pixels, 1, False)
    spec = CodecSpec.parse(*codec.partition(":")[::2])
    return Cell(spec, replace(INFO, **changes), Setting(name, value), "d", source)


def cells(spec: str, sources: list[Source]) -> list[Cell]:
    return plan(select([spec], {}).contenders, "test", sources)
