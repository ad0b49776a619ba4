"""The curves that a figure shows, and the table of their sources.

A figure shows at most eight curves: the requested curves or, by default, in this order: 1. the
user's codecs, the anchor, and the project's codec if the user has none; 2. published systems; 3. a
variant per family, then the other variants: those measured here, then bundled ones, by BD-rate.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from benchmark.answer import Column
from benchmark.compare.curve import Curve, Panel
from benchmark.compare.experiment import Experiment
from benchmark.compare.rate_quality import bd_rate
from benchmark.compare.rule import Rule
from benchmark.errors import UnknownName
from benchmark.rows.edition import PROJECT_CODEC, Edition, labels_of
from benchmark.rows.names import find_editions, is_named, usual_variants
from benchmark.show.figures.style import look
from benchmark.show.table import Table
from benchmark.spec import CodecSpec, requested_names
from benchmark.system.text import group_by_key, listed

MAX_NAMES = 8  # maximum in a sentence on absent curves
MAX_BPP = 4.0  # papers compare no higher rates; a curve measured here may extend it


def highest_rate(curves: Iterable[Curve]) -> float:
    """Return the highest rate that figures show: MAX_BPP, or a higher rate measured here."""
    rates_here = (
        point.bpp for curve in curves if curve.edition.origin == "here" for point in curve.points
    )
    return max([MAX_BPP, *rates_here])


def note_cut_curves(panels: Iterable[Panel], cut_panels: Iterable[Panel], rule: Rule) -> list[str]:
    """Return a sentence on curves that have no point below the rate limit, if any."""
    names_beyond = {curve.name for curve in chain(*panels)} - {
        curve.name for curve in chain(*cut_panels)
    }
    return (
        [f"No point below {rule.up_to_bpp:g} bpp: {', '.join(sorted(names_beyond))}."]
        if names_beyond
        else []
    )


class Choice(NamedTuple):
    """The curves that the panels of a figure, a page or a report show."""

    curves: Mapping[str, Curve]  # by name, in the order of the legend
    left_out: Mapping[str, Curve]  # by name
    rule: Rule  # rule of BD-rates

    @property
    def labels(self) -> list[str]:
        """The labels of the measured curves."""
        measured_editions = (curve.edition for curve in self.curves.values() if curve.measured)
        return [*labels_of(measured_editions).values()]

    @property
    def published(self) -> list[str]:
        """The names of the published curves."""
        return [name for name, curve in self.curves.items() if not curve.measured]

    def select(self, panels: Sequence[Panel]) -> list[Panel]:
        """Return panels with only the chosen curves, omitting panels that have none of them."""
        names, selected_panels = list(self.curves), list[Panel]()
        for panel in panels:
            curves = [curve for curve in panel if curve.name in self.curves]
            curves.sort(key=lambda curve: names.index(curve.name))
            selected_panels += [curves] if curves else []
        return selected_panels

    def missing_sentences(self, panels: Sequence[Panel]) -> list[str]:
        """Return sentences on chosen curves that are missing in all or some of the panels."""
        sentences = []
        for measured, word in ((True, "measured"), (False, "reported")):
            chosen_curves = [curve for curve in self.curves.values() if curve.measured is measured]
            names_by_panel = []
            for panel in panels:
                specs = {curve.spec for curve in panel if curve.measured is measured}
                missing_curves = [curve for curve in chosen_curves if curve.spec not in specs]
                names_by_panel.append(
                    [curve.name if measured else curve.title for curve in missing_curves]
                )
            missing_everywhere = [
                name for name in names_by_panel[0] if all(name in names for names in names_by_panel)
            ]
            if missing_everywhere:
                sentences.append(f"Not {word}: {listed(missing_everywhere, max_names=MAX_NAMES)}.")
            for panel, names in zip(panels, names_by_panel, strict=True):
                if missing_here := [name for name in names if name not in missing_everywhere]:
                    metric = panel[0].metric.title
                    sentences.append(
                        f"{metric} not {word}: {listed(missing_here, max_names=MAX_NAMES)}."
                    )
        return sentences


def pick_curves(
    panels: Sequence[Panel],
    rule: Rule,
    anchor: CodecSpec | None = None,
    requested_codecs: Sequence[str] = (),
) -> Choice:
    """Choose curves for a figure; requested codecs, the anchor and user's codecs are preferred."""
    all_curves = sorted(chain(*panels), key=lambda curve: not curve.measured)
    curves_by_name = {curve.name: curve for curve in all_curves}
    names, max_curves = [*curves_by_name], look().max_curves
    if max_curves is not None and len(curves_by_name) > max_curves:
        curves = list(curves_by_name.values())
        user_curves = [curve for curve in curves if curve.edition.is_from_user]
        requested_curves = (
            _requested_curves(curves, anchor, requested_codecs) if requested_codecs else []
        )
        ranked_names = [
            curve.name
            for curve in requested_curves
            or _ranked_curves(panels[0], curves, user_curves, anchor, rule)
        ]
        num_required = sum(curve.measured for curve in requested_curves or user_curves)
        names = [
            name for name in curves_by_name if name in ranked_names[: max(max_curves, num_required)]
        ]
    names.sort(key=lambda name: look().place(curves_by_name[name].edition))
    left_out = {name: curve for name, curve in curves_by_name.items() if name not in names}
    return Choice({name: curves_by_name[name] for name in names}, left_out, rule)


def note_undrawn(choice: Choice, experiment: Experiment) -> list[str]:
    """Return a sentence on requested curves that exceed a figure's limit, if any."""
    requested_codecs = {*experiment.named_codecs, *requested_names(experiment.bundled)}
    names = [
        name
        for name, curve in choice.left_out.items()
        if not curve.measured or any(is_named(curve.edition, text) for text in requested_codecs)
    ]
    limit = f"a figure has at most {look().max_curves} curves; --all draws every curve"
    return [f"not drawn: {', '.join(names)}: {limit}"] if names else []


def rename_curves(panels: Sequence[Panel], editions: Iterable[Edition] = ()) -> list[Panel]:
    """Rename curves by drawing options. editions: those that options may name; default: all."""
    titles = look().titles({*editions} or {curve.edition for curve in chain(*panels)})
    return [[c._replace(title=titles.get(c.edition, c.title)) for c in panel] for panel in panels]


def _requested_curves(
    curves: Sequence[Curve], anchor: CodecSpec | None, requested_codecs: Sequence[str]
) -> list[Curve]:
    measured_editions = [curve.edition for curve in curves if curve.measured]
    specs = {anchor: None}
    for text in requested_codecs:
        with suppress(UnknownName):  # a published system, or a codec without a curve
            specs |= {edition.spec: None for edition in find_editions([text], measured_editions)}
    measured_curves = [c for spec in specs for c in curves if c.measured and c.spec == spec]
    return [*measured_curves, *(curve for curve in curves if not curve.measured)]


def _ranked_curves(
    first_panel: Panel,
    curves: Sequence[Curve],
    user_curves: Sequence[Curve],
    anchor: CodecSpec | None,
    rule: Rule,
) -> list[Curve]:
    """Return all curves in the order of the module's docstring; BD-rates use `first_panel`."""
    rates = {curve.name: curve.rates for curve in first_panel}
    anchor_curve = next(
        (curve.rates for curve in reversed(first_panel) if curve.spec == anchor), None
    )

    def sort_key(curve: Curve) -> tuple[bool, float]:
        delta = None
        if anchor_curve is not None and curve.name in rates:
            delta = bd_rate(anchor_curve, rates[curve.name], rule).value
        return curve.edition.bundled, math.inf if delta is None else delta

    ranked_curves = sorted(curves, key=sort_key)
    priority_curves = [*user_curves, *(curve for curve in ranked_curves if curve.spec == anchor)]
    if not user_curves:
        usual_specs = usual_variants(PROJECT_CODEC)
        project_curves = [
            curve
            for curve in ranked_curves
            if curve.measured and curve.edition.family == PROJECT_CODEC
        ]
        priority_curves += [
            curve for curve in project_curves if curve.spec in usual_specs
        ] or project_curves[:1]
    priority_curves += [curve for curve in ranked_curves if not curve.measured]
    priority_families = {curve.edition.family for curve in priority_curves}
    families = group_by_key((curve.edition.family, curve) for curve in ranked_curves)
    priority_curves += [
        curves[0] for name, curves in families.items() if name not in priority_families
    ]
    return list({curve.name: curve for curve in (*priority_curves, *ranked_curves)}.values())


def sources_table(curves: Iterable[Curve]) -> Table:
    """Return a table with a row per curve and source: origin, protocols, caveats."""
    rows = {
        (curve.name, curve.metric, *(getattr(point, name) for name in SOURCE_FIELDS)): (
            curve,
            point,
        )
        for curve in curves
        for point in curve.points[: curve.num_points]
    }
    return Table.create(SOURCES, rows.values(), absent="").drop_empty_columns()


SOURCE_FIELDS = ("how", "source", "protocol", "rate_protocol", "value_error", "note")
SOURCES = (  # columns; a row is (curve, one of its points)
    Column("curve", "0.name"),
    Column("from", "0.edition.origin"),
    Column("how", "1.how"),
    Column("source", "1.source"),
    Column("protocol", "1.protocol"),
    Column("rates", "1.rate_protocol"),
    Column("images", lambda row: row[1].images and str(row[1].images)),
    Column("reading error", lambda row: row[1].value_error and f"{row[1].value_error:g}"),
    Column("trained on", lambda row: ", ".join(row[0].edition.facts.trained_on)),
    Column("caveat", lambda row: "; ".join(row[0].edition.run_facts.caveats)),
    Column("note", lambda row: None if row[0].measured else row[1].note),
)
