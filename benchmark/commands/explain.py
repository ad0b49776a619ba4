"""`bench explain`: the rule that makes a curve differ from that of a reference."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands import options, output
from benchmark.errors import UsageError
from benchmark.option import COMPARED, ORIGIN, TARGET, opt
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.codec import Float64Array
    from benchmark.metrics.metric import Metric
    from benchmark.review.explain.explain import Explanation, Verdict

METRICS = ("psnr", "ms_ssim", "lpips", "fid256")
SHOWN = 6  # causes
MOST_POINTS = 1000
UNEXPLAINED = 0.9  # probability of no known cause from which that is said
WORDS: Mapping[str, Sequence[str]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
UNITS = {"excess": "squared levels", "shift": "dB", "ratio": "x", "offset": "bpp"}


def explain(
    curve: Annotated[
        str, typer.Argument(help="Your curve: csv, CompressAI's json, a table; or a published one.")
    ],
    against: Annotated[
        str, opt(COMPARED, "A codec with stored rows, a published system, or a file; default: VTM.")
    ] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of both.", completes="dataset")] = "kodak",
    metrics: Annotated[
        str, opt(COMPARED, "Comma-separated metrics; default: the first that both have.")
    ] = "",
    data_dir: Annotated[
        Path | None, opt(ORIGIN, "Folder of datasets, for colour rules of the pictures.")
    ] = None,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
    figure: Annotated[
        Path | None, opt(TARGET, "Figure of the two curves and the likeliest cause: pdf, png, svg.")
    ] = None,
) -> None:
    """Name the cause that makes a curve differ from that of a reference.

    Every known difference of protocol is fitted to the points or, where single images of the
    reference are stored, measured; colour rules need the pictures. The answer can be that none
    explains it.

    Examples:
      bench explain mine.csv --against vtm --dataset kodak
      bench explain mine.json --against VTM:CompressAI --metrics psnr,ms_ssim
      bench explain mine.csv --against vtm --figure why.png
    """
    import numpy as np

    from benchmark.compare.published.registry import read_curve
    from benchmark.facts import reference_codecs
    from benchmark.metrics.metric import Metric
    from benchmark.review.explain.curve_rules import places
    from benchmark.review.explain.explain import explain as explained
    from benchmark.review.explain.reference import read_reference, scale_of
    from benchmark.rows.schema import metric_names

    against = against or reference_codecs()[-1]
    mine = read_curve(curve, dataset, results)
    records = []
    for name in metric_names(metrics) if metrics else METRICS:
        metric = Metric.named(name)
        scale = scale_of(metric)
        if metric.column not in mine.series:
            if metrics:
                raise UsageError(f"{mine.name} has no {metric.label}: name another metric")
            continue
        reference, what = read_reference(against, dataset, metric, results, data_dir)
        bpp, values = map(np.array, mine.series[metric.column])
        if len(bpp) > MOST_POINTS:
            raise UsageError(f"{mine.name} has {len(bpp)} points, at most {MOST_POINTS} are fitted")
        decibels = places(values, scale)
        try:
            result = explained(reference, bpp, decibels)
        except ValueError as error:
            raise UsageError(
                f"{mine.name} has no rate in common with {what}, {bpp.min():.4g} to "
                f"{bpp.max():.4g} bpp: name another reference by --against"
            ) from error
        records.append((metric, what, len(bpp), result))
        if figure is not None and len(records) == 1:
            _draw(figure, metric, what, (reference.bpp, reference.decibels),
                  (mine.name, bpp, decibels), result)  # fmt: skip
        if not metrics:
            break
    if not records:
        raise UsageError(f"{mine.name} has none of {', '.join(METRICS)}: name a metric")
    if as_json:
        output.print_json([_record(metric, what, result) for metric, what, _, result in records])
        return
    for metric, what, points, result in records:
        _print(f"{mine.name} against {what}, {dataset}, {metric.axis_label}", points, result)


def _print(title: str, points: int, result: "Explanation") -> None:
    from benchmark.answer import Column
    from benchmark.show.table import Table

    size = f"{result.mean_db:+z.2f} dB on average" if points > 1 else f"{result.mean_db:+z.2f} dB"
    print(f"{title}: {counted(points, 'point')}, {size} (root mean square {result.before_db:.2f})")
    for line in _rates(points, result):
        print(line)
    columns = (
        Column("cause", _words),
        Column("by", "how"),
        Column("probability", "probability", ".2f"),
        Column("size", lambda v: v if v.parameter is not None else None, _size),
        Column("points", "points", "d"),
        Column("left (dB)", "residual_db", ".3f"),
    )
    output.print_table(Table.of(columns, result.verdicts[:SHOWN]))
    print(_answer(points, result))


def _size(verdict: "Verdict") -> str:
    return f"{verdict.parameter:.4g} {UNITS[verdict.rule]}"


def _rates(points: int, result: "Explanation") -> Iterator[str]:
    if result.same_rates:
        yield (
            f"rates: {result.same_rates} of {points} are the reference's own to 0.1 %, so the "
            "streams there are hardly others"
        )
    if result.counted:
        images = f"{result.counted} images of the dataset's size"
        yield f"rates: whole bytes over {images}, or a multiple"
    elif result.counted == 0:
        yield (
            "rates: no whole bytes over up to 100 images of the dataset's size: another size, or "
            "estimated bits"
        )


def _words(verdict: "Verdict") -> str:
    cause, _, detail = verdict.cause.partition(":")
    return WORDS[cause][0].format(detail)


def _answer(points: int, result: "Explanation") -> str:
    """Return the sentences below the table."""
    from benchmark.review.explain.curve_rules import SAME

    named = result.named
    if not named:
        if result.other_images:
            return "Its rates are not of all the reference's images: compare over the same images."
        if result.other_images is None:
            return (
                f"Undecided: its rates may be of {result.counted} images, and the reference's are "
                "of more: compare over the same images."
            )
        if result.unknown >= UNEXPLAINED:
            none = "None of the known differences of protocol explains the gap."
            rest = " At equal rates it is another decoder or average, not another codec."
            return f"{none}{rest if result.same_rates == points else ''}"
        most = " With one point no cause can be told from another." if points == 1 else ""
        return f"Undecided: several causes, or none, would give these points.{most}"
    if named[0].rule == SAME:
        return "The curves are the same: there is nothing to explain."
    causes = [_words(verdict) for verdict in named]
    remedies = "; or ".join(dict.fromkeys(WORDS[v.cause.partition(":")[0]][1] for v in named))
    return f"Likeliest: {'; or '.join(causes)}. What to do: {remedies}."


def _draw(
    path: Path,
    metric: "Metric",
    what: str,
    reference: "tuple[Float64Array, Float64Array]",
    mine: "tuple[str, Float64Array, Float64Array]",
    result: "Explanation",
) -> None:
    """Write the figure of the first metric; raise `UsageError` for another kind of file."""
    import numpy as np

    from benchmark.review.explain.reference import scale_of
    from benchmark.show.figures.rate_curve import draw_explained
    from benchmark.show.figures.texts import DATES, file_bytes
    from benchmark.system.atomic import write_files

    kind = path.suffix.removeprefix(".")
    if kind not in DATES:
        raise UsageError(f"--figure {path} is no .pdf, .png or .svg file: name one")
    curves = [(what, *reference), mine]
    if result.named:
        first = result.named[0]
        curves.append((_words(first), mine[1], np.array(first.predicted)))
    if scale_of(metric) == "distance":
        curves = [(name, bpp, 10 ** (decibels / 10)) for name, bpp, decibels in curves]
    drawing = draw_explained(metric, curves)
    write_files(path.parent, {path.name: file_bytes(drawing, kind)}, what="figure")


def _record(metric: "Metric", what: str, result: "Explanation") -> dict[str, Any]:
    numbers = {k: v for k, v in result._asdict().items() if k != "verdicts"}
    verdicts = [
        {k: v for k, v in verdict._asdict().items() if k != "predicted"}
        for verdict in result.verdicts
    ]
    named = [verdict.cause for verdict in result.named]
    return {
        "metric": metric.column, "against": what, **numbers, "named": named, "verdicts": verdicts
    }  # fmt: skip
