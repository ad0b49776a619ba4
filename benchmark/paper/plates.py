"""What results hold to the paper's figures of curves and numbers, or a sentence on why not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.summarise import Summary
    from benchmark.figures.plate import Plate
    from benchmark.figures.style import Look
    from benchmark.packs.contents import DatasetContents
    from benchmark.packs.pack import Pack
    from benchmark.published.complexity import Complexity
    from benchmark.published.points import PublishedPoint

RATES = (0.093, 0.143, 0.323)  # bpp, where most generative codecs have published points
UP_TO_BPP = {"clic2020": 0.8, "kodak": 1.3}
ANCHORS = {"clic2020": "MS-ILLM", "kodak": "VTM"}
FID = "fid256"
SURFACES = ("clic2020", "kodak", "sample")  # whichever has rows, the first of them


class Made(NamedTuple):
    """A figure, or none, and what has to be said about what is not in it."""

    plate: "Plate | None"
    sentences: tuple[str, ...] = ()


@dataclass
class Paper:
    """Everything that figures are drawn from; a dataset is read when it is first asked for."""

    results: Path
    data_dir: Path | None
    points: "tuple[PublishedPoint, ...]"
    complexities: "tuple[Complexity, ...]"
    packs: "Sequence[Pack]"
    attested_only: bool = False
    _found: "dict[str, DatasetContents]" = field(default_factory=dict)

    def evidence(self, dataset: str) -> "DatasetContents":
        """Rows and streams of a dataset."""
        from benchmark.packs.contents import dataset_contents, verified_rows

        if dataset not in self._found:
            found = dataset_contents(self.results, dataset, self.packs)
            if self.attested_only:
                found = found._replace(table=verified_rows(found.table))
            self._found[dataset] = found
        return self._found[dataset]

    def summary(self, dataset: str) -> "Summary | None":
        """Means of its rows; None where it has none."""
        from benchmark.analysis.reduce import summarise_with_distributions
        from benchmark.registry import DISTRIBUTION_METRICS, METRICS

        table, folder = self.evidence(dataset).table, self.results / dataset
        names = (*METRICS, *DISTRIBUTION_METRICS)
        return summarise_with_distributions(table, folder, names) if table.num_rows else None

    def datasets(self) -> list[str]:
        """Names of all that have rows, the paper's own first."""
        stored = {path.parent.name for path in self.results.glob("*/per_image")}
        recorded = {
            (line.fields.get("dataset") or "").partition(":")[0]
            for pack in self.packs
            for line in pack.streams.values()
        }
        rest = sorted((stored | recorded) - set(SURFACES) - {""})
        return [name for name in (*SURFACES, *rest) if name in stored | recorded]

    def looks(self, labels: "Sequence[str]" = ()) -> "dict[str, Look]":
        """One look a system in all figures, and one for each of these labels."""
        from benchmark.analysis.systems import SYSTEMS
        from benchmark.figures.style import looks

        own = [system.look for system in SYSTEMS]
        fixed = looks(own)
        return {**looks([*own, *labels]), **fixed}


def open_paper(results: Path, data_dir: Path | None, attested_only: bool = False) -> Paper:
    """The published numbers and packs of a results folder, or those that the project ships."""
    from benchmark.packs.contents import packs_beside
    from benchmark.published.complexity import parse_complexity
    from benchmark.published.read import SHIPPED, read_points

    path = results / "published" / "complexity.csv"
    path = path if path.exists() else SHIPPED.with_name("complexity.csv")
    try:
        complexities = parse_complexity(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    points, packs = read_points(results), packs_beside(results)
    return Paper(results, data_dir, points, complexities, packs, attested_only)


def curves_clic2020(paper: Paper) -> Made:
    """PSNR and FID against rate."""
    from benchmark.analysis.rate_distortion import Measure

    return _curves(paper, "clic2020", [Measure.named("psnr"), Measure.named(FID)])


def curves_kodak(paper: Paper) -> Made:
    """PSNR, MS-SSIM and LPIPS against rate."""
    from benchmark.analysis.rate_distortion import Measure

    return _curves(paper, "kodak", [Measure.named(name) for name in ("psnr", "ms_ssim", "lpips")])


def _curves(paper: Paper, dataset: str, measures: "Sequence[Measure]") -> Made:
    from benchmark.analysis.systems import SYSTEMS, titled
    from benchmark.figures.paper_curve import draw_paper_curves
    from benchmark.published.curves import panel, too_few
    from benchmark.published.points import IMAGES

    summary = paper.summary(dataset)
    limit = UP_TO_BPP[dataset]
    panels = [panel(one, dataset, summary, paper.points, limit) for one in measures]
    panels = [one for one in panels if one.curves]
    said = too_few(summary, dataset, measures)
    if not panels:
        return Made(None, (f"no curves of {dataset}: nothing published or measured", *said))
    here = set(summary.labels) if summary else set()
    absent = [s.name for s in SYSTEMS if s.keeps_published and s.measured not in here]
    if absent:
        said.append(
            f"curves_{dataset} has published points alone of {', '.join(absent)}: "
            f"`bench run --codecs ours --dataset {dataset}` adds measured ones"
        )
    plate = draw_paper_curves(
        panels, paper.looks(), titled(dataset), IMAGES[dataset], ANCHORS[dataset]
    )
    return Made(plate, tuple(said))


def realism_plane(paper: Paper) -> Made:
    """FID against PSNR at a few rates of CLIC2020."""
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.systems import titled
    from benchmark.figures.plane import Plane, draw_plane
    from benchmark.published.curves import panel
    from benchmark.published.points import IMAGES
    from benchmark.published.traversal import trails

    dataset = "clic2020"
    psnr, fid = Measure.named("psnr"), Measure.named(FID)
    summary = paper.summary(dataset)
    both = [panel(one, dataset, summary, paper.points, 2.0) for one in (psnr, fid)]
    planes = [
        Plane(bpp, tuple(trails(both[0], both[1], summary, paper.points, dataset, bpp)))
        for bpp in RATES
    ]
    planes = [plane for plane in planes if plane.trails]
    if not planes:
        return Made(None, ("no realism_plane: no system has PSNR and FID on CLIC2020",))
    said: tuple[str, ...] = ()
    if not any(trail.measured for plane in planes for trail in plane.trails):
        said = ("realism_plane has published points alone: no measured row on CLIC2020 has a FID",)
    return Made(
        draw_plane(planes, psnr, fid, paper.looks(), titled(dataset), IMAGES[dataset]), said
    )


def realism_surface(paper: Paper) -> Made:
    """Rate, distortion and realism of our codec at several beta."""
    from benchmark.analysis.grid import grid
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.systems import titled
    from benchmark.figures.surface import draw_surface
    from benchmark.registry import DISTRIBUTION_METRICS, METRICS

    every = [Measure.named(name) for name in (*METRICS, *DISTRIBUTION_METRICS)]
    reasons = []
    for dataset in paper.datasets():
        summary = paper.summary(dataset)
        if summary is None:
            continue
        found = grid(summary, Measure.named("psnr"), every)
        if not isinstance(found, str):
            return Made(draw_surface(found, titled(dataset)))
        reasons.append(f"{dataset}: {found}")
    why = "; ".join(reasons) or "nothing is measured"
    example = "ours:beta=0,ours:beta=1.28,ours:beta=2.56,ours:beta=3.84"
    return Made(
        None,
        (f"no realism_surface: {why} (`bench run --codecs {example} --dataset kodak`)",),
    )


def ablation(paper: Paper, kind: str) -> Made:
    """The rows that `bench ablation` left below the results."""
    from benchmark.analysis.grid import REALISM
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.reduce import summarise_with_distributions
    from benchmark.analysis.systems import titled
    from benchmark.figures.ablation import draw_ablation, named
    from benchmark.figures.plate import Plate
    from benchmark.figures.table import means_table
    from benchmark.registry import DISTRIBUTION_METRICS, METRICS

    metrics = (*METRICS, *DISTRIBUTION_METRICS)
    for store in sorted(path.parent for path in paper.results.glob("*/results/*/per_image")):
        table, names, own = _variants(store, kind, paper.attested_only)
        if len(names) < 2:
            continue
        summary = named(summarise_with_distributions(table, store, metrics), names)
        every = [Measure.named(name) for name in metrics]
        shown = [one for one in every if one.column in ("psnr_db", *REALISM)]
        measures = [one for one in shown if summary.values_of(one.column)]
        trained = _budget(store.parent.parent, list(names))
        drawing = draw_ablation(summary, measures, own, titled(store.name), trained)
        if drawing is not None:
            records = _ablation_records(summary, measures)
            means = means_table(summary, measures)
            return Made(Plate(drawing.figure, drawing.caption, records, means))
    return Made(
        None,
        (
            f"no ablation_{kind}: no rows of `bench ablation {kind} --out "
            f"{paper.results}/ablation ...` are below {paper.results}",
        ),
    )


def _variants(
    store: Path, kind: str, attested_only: bool
) -> "tuple[pa.Table, dict[str, str], str]":
    """Rows of the kind's variants; what figures call each label; and the method's own name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from baselines.neural.training.session import trainer
    from benchmark.analysis.comparable import label_of
    from benchmark.packs.contents import verified_rows
    from benchmark.registry import CodecSpec
    from benchmark.rows.store import Store

    table = Store(store).table()
    table = verified_rows(table) if attested_only else table
    known = trainer("ablation")
    if kind == "gan":
        words = {f"{one}-{known.DISCRIMINATOR}": name for one, name in known.OBJECTIVES.items()}
    else:
        words = {f"{known.OBJECTIVE}-{one}": name for one, name in known.DISCRIMINATORS.items()}
    variants: dict[str, str] = {}
    for row in table.group_by(["codec", "variant"]).aggregate([]).to_pylist():
        options = dict(CodecSpec.of(row["codec"], row["variant"]).options)
        stem = Path(options.get("checkpoint", "")).stem
        if row["codec"] == "ours" and stem in words:
            variants[row["variant"]] = stem
    ordered = sorted(variants, key=lambda variant: list(words).index(variants[variant]))
    names = {label_of("ours", variant): words[variants[variant]] for variant in ordered}
    kept = pc.is_in(table["variant"], value_set=pa.array(variants, pa.string()))
    own = words[f"{known.OBJECTIVE}-{known.DISCRIMINATOR}"]
    return table.filter(kept), names, own


def _budget(folder: Path, labels: Sequence[str]) -> str:
    """What the cards beside the checkpoints say of steps and photographs, a sentence."""
    from benchmark.registry import parse_codec

    said: dict[tuple[Any, Any], None] = {}
    for label in labels:
        stem = Path(dict(parse_codec(label).options).get("checkpoint", "")).stem
        try:
            card = json.loads((folder / f"{stem}.json").read_text())
            said[card["steps"], card["training_data"]] = None
        except (OSError, ValueError, KeyError):
            return "How the variants were trained is not recorded beside them."
    told = "; ".join(f"{steps} steps on {photographs}" for steps, photographs in said)
    each = "Each variant" if len(said) == 1 else "Variants"
    return f"{each}: {told}, from one network."


def _ablation_records(summary: "Summary", measures: "Sequence[Measure]") -> list[Mapping[str, Any]]:
    from benchmark.analysis.rate_distortion import curves

    return [
        {
            "metric": measure.column,
            "variant": label,
            "setting": str(point.setting),
            "bpp": point.means[measure.column].bpp,
            "value": point.means[measure.column].value,
            "drawn": measure.drawn(point.means[measure.column].value or 0.0),
            "images": point.means[measure.column].images,
            "protocol": summary.protocols[measure.column],
            "version": point.edition.version,
        }
        for measure in measures
        for label, points in curves(summary, measure).items()
        for point in points
    ]


def complexity(paper: Paper) -> Made:
    """Seconds of encoding and decoding: timed rows, and published ones."""
    import pyarrow.compute as pc

    from benchmark.analysis.summarise import summarise
    from benchmark.figures.complexity import draw_complexity, measured_block, published_blocks

    said: tuple[str, ...] = ()
    blocks = published_blocks(paper.complexities)
    labels = [one.look for one in paper.complexities]
    for dataset in paper.datasets():
        timed = paper.evidence(dataset).table
        timed = timed.filter(pc.fill_null(timed["timing"], False))
        summary = summarise(timed) if timed.num_rows else None
        block = measured_block(summary, dataset)
        if block is not None and summary is not None:
            blocks.insert(0, block)
            labels += summary.labels
            break
    else:
        said = (
            "complexity has published seconds alone: no codec is timed on all images of a dataset "
            "(`bench run --timing`)",
        )
    return Made(draw_complexity(blocks, paper.looks(labels)), said)
