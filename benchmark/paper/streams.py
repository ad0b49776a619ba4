"""Rows with kept streams, and the photographs and decoded pictures that belong to them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmark.analysis.comparable import label_of
from benchmark.analysis.systems import measured_names
from benchmark.codec import Pixels
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.datasets.dataset import Source
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.measure.execute import Failed
from benchmark.measure.reconstruct import reconstruct
from benchmark.packs.contents import DatasetContents
from benchmark.paper.results import PaperResults
from benchmark.plan.matrix import open_sources
from benchmark.plan.request import Request
from benchmark.registry import CODECS, DATASETS
from benchmark.rows.editions import newest_rows
from benchmark.rows.named_code import why_not_run
from benchmark.system.settings import one_thread

FAVOURITES = ("kodim", "motorcycle")  # how names of photographs begin that are shown first

StreamRow = Mapping[str, Any]


class DecodedStream(NamedTuple):
    """A row and the picture that its stream decodes to."""

    name: str  # of the system
    row: StreamRow
    pixels: Pixels


class MeasuredPhotograph(NamedTuple):
    """An available photograph, and the rows with streams of it by system."""

    dataset: str
    source: Source
    rows: dict[str, list[StreamRow]]


def rows_with_streams(contents: DatasetContents) -> dict[str, dict[str, list[StreamRow]]]:
    """Return the newest rows with an available stream by image and system, the paper's first.

    Newest are those that means are taken over: under the present protocol, and of each codec
    variant the fingerprint and adapter revision of its latest run. `raw` is left out.
    """
    table = contents.table.take(newest_rows(contents.table).index)
    names = measured_names()
    order = [*names, *CODECS]
    found: dict[str, dict[str, list[StreamRow]]] = {}
    labelled = [(label_of(row["codec"], row["variant"]), row) for row in table.to_pylist()]

    def place(label: str, row: StreamRow) -> int:
        key = label if label in order else row["codec"]
        return order.index(key) if key in order else len(order)

    labelled.sort(key=lambda one: (place(*one), one[1]["variant"]))
    for label, row in labelled:
        wanted = row["status"] == "ok" and row["stream_sha256"] and row["codec"] != "raw"
        if wanted and contents.has_stream(row):
            by_system = found.setdefault(row["image"], {})
            by_system.setdefault(names.get(label, label), []).append(row)
    return found


def best_photograph(results: PaperResults, asked: str) -> MeasuredPhotograph | str:
    """Return the photograph asked for ("dataset/image") or the best one, or why there is none.

    The best one has streams of most codecs, in the first dataset that has one with two codecs.
    Raises `UsageError` where the one asked for has no stream.
    """
    dataset, _, image = asked.partition("/")
    reasons = []
    for name in [dataset] if asked else results.datasets():
        by_image = rows_with_streams(results.contents(name))
        if asked and image not in by_image:
            raise UsageError(f"--photograph {asked}: {results.folder} has no kept stream of it")
        if not asked and not any(len(rows) > 1 for rows in by_image.values()):
            reasons.append(f"{name} has no photograph with kept streams of two codecs")
            continue
        sources = _sources(results, name)
        if isinstance(sources, str):
            reasons.append(sources)
            continue
        wanted = {image} if asked else by_image.keys()
        candidates = [one for one in by_image if one in sources and one in wanted]
        if candidates:
            best = min(candidates, key=lambda one: (-len(by_image[one]), _rank(one), one))
            return MeasuredPhotograph(name, sources[best], by_image[best])
        reasons.append(f"the photographs of {name} are not those that were measured")
    if not asked:
        reasons.append("`./run_all.sh` measures some")
    return "; ".join(reasons)


def decode_streams(
    contents: DatasetContents, chosen: Mapping[str, StreamRow]
) -> tuple[list[DecodedStream], dict[str, str]]:
    """Return the pictures of these rows, and why others have none, by system."""
    kept, failed = [], {}
    for name, row in chosen.items():
        spec = CodecSpec.of(row["codec"], row["variant"])
        if not contents.codecs.may_run(spec):
            failed[name] = why_not_run(spec)
            continue
        try:
            decoder = load_codec(spec)
            with one_thread():
                pixels = reconstruct(decoder, row, contents.stream(row))
        except BenchError as error:
            failed[name] = str(error)
            continue
        if isinstance(pixels, Failed):
            failed[name] = pixels.reason
        else:
            kept.append(DecodedStream(name, row, pixels))
    return kept, failed


def _rank(image: str) -> int:
    starts = [image.rpartition("/")[2].startswith(one) for one in FAVOURITES]
    return starts.index(True) if any(starts) else len(FAVOURITES)


def _sources(results: PaperResults, dataset: str) -> dict[str, Source] | str:
    """Return the measured photographs that are available, by name, or why there are none."""
    if dataset not in DATASETS:
        return (
            f"{dataset} is a folder without a name in the registry: its photographs cannot be found"
        )
    try:
        opened = open_sources(Request(dataset=dataset, data_dir=results.data_dir))
    except Unavailable as missing:
        return str(missing)
    measured = set(results.contents(dataset).table["image_sha256"].to_pylist())
    return {one.file.name: one for one in opened.images if one.sha256 in measured}
