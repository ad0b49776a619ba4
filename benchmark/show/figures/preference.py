"""Scores of people's preference against rate: a curve for each codec, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.show.figures import texts
from benchmark.show.figures.style import BAR_POINTS, Style, figure_style, line

SCORE_LABEL = "Preference (log of odds)"


def draw_preference(
    points: Sequence[Mapping[str, Any]],
    styles: Mapping[str, Style],
    names: Mapping[str, str],
    dataset: str,
    caption: str,
) -> texts.Drawing:
    """Draw scores against rate. points: records with `codec`, `bpp`, `preference`, `low`, `high`.

    styles, names: by codec.
    """
    import seaborn as sns

    with figure_style():
        figure, (axes,), width = texts.panel_figure(1)
        handles = []
        for codec, name in names.items():
            own = sorted((p for p in points if p["codec"] == codec), key=lambda point: point["bpp"])
            bpp, values = ([point[key] for point in own] for key in ("bpp", "preference"))
            handles += axes.plot(bpp, values, label=name, **line(styles[codec], published=False))
            for point in own:
                if point["low"] is not None:
                    ends = [point["low"], point["high"]]
                    colour = styles[codec].colour
                    axes.plot([point["bpp"]] * 2, ends, color=colour, linewidth=BAR_POINTS)
        axes.set_xscale("log")
        rates = [point["bpp"] for point in points]
        texts.plain_ticks(axes.xaxis, wide=max(rates) > 5 * min(rates))
        axes.set_xlabel(texts.RATE_LABEL)
        axes.set_ylabel(SCORE_LABEL)
        texts.title(axes, f"{dataset}, people's choices", 0.9 * width)
        sns.despine(ax=axes)
        texts.add_legend(figure, handles)
    return texts.Drawing(figure, caption, points)
