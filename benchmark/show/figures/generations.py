"""Quality against generation: pictures that were coded again and again, a line for each codec."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchmark.compare.pictures import GenerationCurve
from benchmark.metrics.measure import Measure
from benchmark.show import sections
from benchmark.show.figures import texts
from benchmark.show.figures.style import Style, figure_style, line
from benchmark.show.table import Column, Table, records

if TYPE_CHECKING:
    from matplotlib.lines import Line2D


def draw_generations(
    curves: Sequence[GenerationCurve],
    measures: Sequence[Measure],
    styles: Mapping[str, Style],
    names: Mapping[str, str],
    dataset: str,
) -> texts.Drawing | None:
    """Draw a panel for each metric; None without values.

    styles and names: of codecs, by label. dataset: its title.
    """
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    measures = [m for m in measures if any(m.column in curve.means for curve in curves)]
    if not measures:
        return None
    handles: dict[str, Line2D] = {}
    with figure_style():
        figure, every_axes, width = texts.panel_figure(len(measures))
        for axes, measure in zip(every_axes, measures, strict=True):
            for curve in curves:
                if (values := curve.means.get(measure.column)) is not None:
                    (handle,) = axes.plot(
                        range(1, len(values) + 1),
                        [measure.plotted(value) for value in values],
                        label=f"{names[curve.label]}, {curve.setting} ({curve.bpp[0]:.2f} bpp)",
                        **line(styles[curve.label]),
                    )
                    handles.setdefault(curve.label, handle)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.margins(x=0.06, y=0.1)
            axes.set_xlabel("Generation")
            axes.set_ylabel(texts.axis_words(measure))
            sns.despine(ax=axes)
        images = min(curve.images for curve in curves)
        texts.title(every_axes[0], f"{dataset}, {images} images", 0.8 * width)
        texts.add_legend(figure, list(handles.values()))
    caption = sections.brief(
        f"{sections.metric_names(measures)} against the original, of pictures that were coded "
        f"again and again on {dataset} ({images} images); in brackets the rate of the first "
        "generation.",
        *sections.scale_sentences(measures),
    )
    columns = [
        Column("system", lambda at: names[at[0].label], key="system"),
        Column("", "0.label", key="label"),
        Column("setting", lambda at: str(at[0].setting), key="setting"),
        Column("generation", lambda at: at[1] + 1, "d", "generation"),
        Column("", "0.images", key="images"),
        Column("bpp", lambda at: at[0].bpp[at[1]], ".4f", "bpp"),
    ]
    columns += [Column(m.label, partial(_value, m.column), ".4f", m.column) for m in measures]
    marks = [(curve, number) for curve in curves for number in range(len(curve.bpp))]
    table = Table.of(columns, marks, absent="")
    return texts.Drawing(figure, caption, records(columns, marks), table)


def _value(column: str, at: tuple[GenerationCurve, int]) -> float | None:
    values = at[0].means.get(column)
    return None if values is None else values[at[1]]
