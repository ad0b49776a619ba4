"""Ablations: the files that a contender's training leaves, and the paper's figure of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.analysis.comparable import label_of
from benchmark.analysis.reduce import summarise_with_distributions
from benchmark.analysis.summarise import Summary
from benchmark.codec_spec import parse_codec
from benchmark.datasets.dataset import profile
from benchmark.errors import StoreError
from benchmark.figures.ablation import draw_ablation, named
from benchmark.figures.style import file_bytes
from benchmark.figures.table import markdown, means_table
from benchmark.metrics.measure import Measure
from benchmark.packs.contents import verified_rows
from benchmark.paper.results import PaperFigure, PaperResults, every_measure, every_metric
from benchmark.plan.matrix import open_stored
from benchmark.plan.request import Request
from benchmark.rows.store import Store
from benchmark.system.atomic import write_files
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

SUFFIX = ".variants.json"  # of the file that names an ablation's variants, beside its results


class Variants(msgspec.Struct, frozen=True):
    """Variants of one codec that an ablation compares."""

    labels: dict[str, str]  # names in figures, in order, by codec as `--codecs` has it
    own: str  # name of the variant that is the method's own, or ""
    trained: str  # a sentence on how the variants were trained


def write_ablation(
    out: Path,
    name: str,
    labels: Mapping[str, str],
    dataset: str,
    metrics: Sequence[str],
    results: Path,
    own: str,
    trained: str,
) -> list[Path]:
    """Write `name`.pdf, .png, .md and .variants.json to `out`; return the paths of the first three.

    labels: codecs, as `--codecs` has them, with the variants' names in the figure. own: the variant
    that is the method's own, or "". trained: a sentence on how the variants were trained.
    """
    variants = Variants(dict(labels), own, trained)
    sources, store = open_stored(Request(dataset=dataset, results=results))
    images = pa.array([image.name for image in sources.dataset.images], pa.string())
    folder, table = store.folder, store.table()
    table = table.filter(pc.is_in(table["image"], value_set=images))
    summary = _summary(table, folder, variants, metrics)
    measures = [Measure.named(metric) for metric in metrics]
    measured = [measure for measure in measures if summary.values_of(measure.column)]
    drawing = draw_ablation(summary, measured, own, dataset, trained)
    caption = drawing.caption if drawing else f"{dataset}: no points can be drawn. {trained}"
    files: dict[str, str | bytes] = {}
    if drawing:
        files |= {f"{name}.pdf": file_bytes(drawing.figure, "pdf")}
        files |= {f"{name}.png": file_bytes(drawing.figure, "png")}
    text = f"# Ablation: {name}\n\n{caption}\n\n{markdown(means_table(summary, measured))}"
    files[f"{name}.md"] = text
    kept = msgspec.json.format(msgspec.json.encode(variants), indent=2)
    write_files(out, {**files, name + SUFFIX: kept + b"\n"}, what="ablation")
    return [out / file for file in files]


def ablation(results: PaperResults, kind: str) -> PaperFigure:
    """Draw an ablation that `bench ablation` left below the results."""
    for path in sorted(results.folder.glob(f"*/{kind}{SUFFIX}")):
        variants = _read(path)
        for store in sorted(one.parent for one in path.parent.glob("results/*/per_image")):
            table = Store(store).table()
            table = verified_rows(table) if results.verified_only else table
            summary = _summary(table, store, variants, every_metric())
            if len(summary.labels) < 2:
                continue
            shown = [
                one for one in every_measure() if one.realism is not None or one.column == "psnr_db"
            ]
            measures = [one for one in shown if summary.values_of(one.column)]
            title = profile(store.name).title
            drawing = draw_ablation(summary, measures, variants.own, title, variants.trained)
            if drawing is not None:
                return PaperFigure(drawing._replace(table=means_table(summary, measures)))
    said = (
        f"no ablation_{kind}: no rows of `bench ablation {kind} --out {results.folder}/ablation "
        f"...` are below {results.folder}"
    )
    return PaperFigure(None, (said,))


def _read(path: Path) -> Variants:
    try:
        return msgspec.json.decode(read_regular(path, LARGEST_FILE_BYTES), type=Variants)
    except (OSError, msgspec.MsgspecError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _summary(table: pa.Table, folder: Path, variants: Variants, metrics: Sequence[str]) -> Summary:
    """Return means of the variants' rows, by their names in figures."""
    specs = {parse_codec(text): label for text, label in variants.labels.items()}
    known = pa.array([spec.variant for spec in specs], pa.string())
    names = {label_of(spec.name, spec.variant): label for spec, label in specs.items()}
    kept = table.filter(pc.is_in(table["variant"], value_set=known))
    return named(summarise_with_distributions(kept, folder, metrics), names)
