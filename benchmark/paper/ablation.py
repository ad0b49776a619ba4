"""Rows of variants of one codec to the files of an ablation: figure, caption, table of means."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.analysis.summarise import Summary


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
    """Write `name`.pdf, .png and .md to `out`; return their paths.

    labels: codecs, as `--codecs` has them, with the variants' names in the figure. own: the variant
    that is the method's own, or "". trained: a sentence on how the variants were trained.
    """
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.figures.ablation import draw_ablation
    from benchmark.figures.style import file_bytes
    from benchmark.figures.table import markdown, means_table
    from benchmark.system.atomic import write_files

    summary = _summary(results, labels, dataset, metrics)
    measures = [Measure.named(name) for name in metrics]
    measured = [measure for measure in measures if summary.values_of(measure.column)]
    drawing = draw_ablation(summary, measured, own, dataset, trained)
    caption = drawing.caption if drawing else f"{dataset}: no point may be drawn. {trained}"
    files: dict[str, str | bytes] = {}
    if drawing:
        files |= {f"{name}.pdf": file_bytes(drawing.figure, "pdf")}
        files |= {f"{name}.png": file_bytes(drawing.figure, "png")}
    text = f"# Ablation: {name}\n\n{caption}\n\n{markdown(means_table(summary, measured))}"
    files[f"{name}.md"] = text
    write_files(out, files, what="ablation")
    return [out / file for file in files]


def _summary(
    results: Path, labels: Mapping[str, str], dataset: str, metrics: Sequence[str]
) -> "Summary":
    import pyarrow as pa
    import pyarrow.compute as pc

    from benchmark.analysis.comparable import label_of
    from benchmark.analysis.reduce import summarise_with_distributions
    from benchmark.figures.ablation import named
    from benchmark.registry import open_dataset, parse_codec
    from benchmark.rows.store import Store

    opened = open_dataset(dataset)
    specs = {parse_codec(text): label for text, label in labels.items()}
    table = Store(results / opened.store_name).table()
    images = pa.array([image.name for image in opened.images], pa.string())
    variants = pa.array([spec.variant for spec in specs], pa.string())
    kept = pc.and_(
        pc.is_in(table["image"], value_set=images), pc.is_in(table["variant"], value_set=variants)
    )
    names = {label_of(spec.name, spec.variant): label for spec, label in specs.items()}
    folder = results / opened.store_name
    return named(summarise_with_distributions(table.filter(kept), folder, metrics), names)
