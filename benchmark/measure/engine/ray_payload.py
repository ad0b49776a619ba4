"""Make payloads of tasks: images in the object store, streams of packs, kept streams."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.codec_spec import CodecSpec
from benchmark.errors import ImageRefused
from benchmark.measure.engine.local import Task
from benchmark.measure.engine.ray_bench import NeededCodec, Payload
from benchmark.measure.workbench import Conditions
from benchmark.packs.pack import STREAMS, Pack, open_pack
from benchmark.plan.cells import Cell
from benchmark.registry import FEATURE_SPACES, metric_class
from benchmark.rows.features import FeatureFolder
from benchmark.rows.store import Store
from benchmark.system.foreign.regular_file import LARGEST_FILE_BYTES
from benchmark.user_file import file_of, names_file


class PayloadMaker:
    """Maker of a run's payloads; `ray` is the connected package.

    files: the Python files of users' codecs and metrics, by their paths as users name them.
    """

    def __init__(self, ray: Any, tasks: Sequence[Task], conditions: Conditions) -> None:
        self._ray = ray
        self._left = Counter(map(image_of, tasks))
        self._images: dict[str, Any] = {}  # references, by the sha256 of the pixels
        self._packs: dict[Path, Pack] = {}
        self._features = FeatureFolder(conditions.folder)
        spaces = (name for name in conditions.metrics if name in FEATURE_SPACES)
        self._protocols = [str(metric_class(name).protocol) for name in spaces]
        names = {*(spec_of(task).name for task in tasks), *conditions.metrics}
        own = [name for name in names if names_file(name)]
        self.files = {one.partition(":")[0]: file_of(one).read_bytes() for one in own}

    def payload(self, task: Task) -> tuple[Payload, Any]:
        """Return a task's payload, and the reference to its image in the object store, if any.

        Raises `BenchError` or `OSError` where the driver cannot read what belongs to it.
        """
        source = task.source
        if source is None:
            return Payload(task, None, stream=_stream(task)), None
        image = self._image(task)
        kept = frozenset(
            (protocol, source.sha256)
            for protocol in self._protocols
            if self._features.has(protocol, source.sha256)
        )
        if isinstance(task, Cell):
            return Payload(task, None, pack=self._pack(task), kept=kept), image
        return Payload(task, None, stream=_stream(task), kept=kept), image

    def done(self, task: Task) -> None:
        """Release a task's image from the object store if this was its last task."""
        image = image_of(task)
        self._left[image] -= 1
        if not self._left[image]:
            self._images.pop(image, None)

    def _image(self, task: Task) -> Any:
        assert task.source is not None
        key, path = image_of(task), task.source.file.path
        if key not in self._images:
            data = np.frombuffer(path.read_bytes(), np.uint8)  # an array is not copied on arrival
            if not data.size:
                raise ImageRefused(f"{task.source.file.name} is empty")
            self._images[key] = self._ray.put(data)
        return self._images[key]

    def _pack(self, cell: Cell) -> Pack | None:
        if cell.pack is None:
            return None
        whole = self._packs.get(cell.pack) or self._packs.setdefault(
            cell.pack, open_pack(cell.pack)
        )
        return only(whole, cell)


class _InMemory:
    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def read(self, name: str, most: int = LARGEST_FILE_BYTES) -> bytes | None:
        data = self._files.get(name)
        return None if data is None or len(data) > most else data


def only(pack: Pack, cell: Cell) -> Pack:
    """Return the part of a pack that one cell needs; raise `BadPack` if its stream is damaged."""
    source = cell.source
    one = pack.find(cell.codec, source.sha256, source.width_px, cell.setting)
    if one is None:
        return replace(pack, streams={}, files=_InMemory({}))
    data = _InMemory({f"{STREAMS}/{one.sha256}": pack.read(one)})
    key = (one.spec, one.image_sha256, one.width_px, one.setting)
    infos = {cell.codec: pack.infos[cell.codec]}
    return replace(pack, infos=infos, streams={key: one}, files=data)


def needed_codecs(tasks: Iterable[Task]) -> list[NeededCodec]:
    """Return the codecs of tasks; `info` is None for one that only has to decode."""
    found: dict[CodecSpec, NeededCodec] = {}
    for task in tasks:
        spec = spec_of(task)
        encodes = isinstance(task, Cell) and task.pack is None
        info = task.info if isinstance(task, Cell) and encodes else None
        if spec not in found or info is not None:
            found[spec] = NeededCodec(spec, info)
    return list(found.values())


def spec_of(task: Task) -> CodecSpec:
    """Return the codec variant of a task."""
    if isinstance(task, Cell):
        return task.codec
    return CodecSpec.of(task.row["codec"], task.row["variant"])


def image_of(task: Task) -> str:
    """Return the sha256 of the pixels of a task's source."""
    return task.source.sha256 if isinstance(task, Cell) else str(task.row["image_sha256"])


def device_of(task: Task) -> str:
    """Return where a task's codec runs: cpu or cuda."""
    return task.info.device if isinstance(task, Cell) else str(task.row["device"])


def pixels_of(task: Task) -> float:
    """Return the number of pixels of a task's image."""
    if isinstance(task, Cell):
        return task.source.width_px * task.source.height_px
    return float(task.row["width_px"] * task.row["height_px"])


def _stream(task: Task) -> bytes | None:
    assert not isinstance(task, Cell)
    return Store(task.folder).stream(task.row["stream_sha256"])
