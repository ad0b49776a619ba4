"""Compare the distortion of two codecs at equal rate and equal realism.

A codec with several variants (such as realism weights) spans a surface (Blau and Michaeli,
"Rethinking Lossy Compression: The Rate-Distortion-Perception Tradeoff", 2019). At the other codec's
rate, each variant is interpolated along its curve, as for BD-rates; between variants, distortion is
interpolated linearly at the other codec's realism. Intervals are over images sampled with
replacement, the same for both codecs; for a distribution metric, images' influences are used (first
order).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from benchmark.answer import Answer, Column, interval_text
from benchmark.codec import Float64Array
from benchmark.compare.builds import Family, is_default, one_build
from benchmark.compare.caveats import caveats_measured_here
from benchmark.compare.experiment import IMAGES
from benchmark.compare.interval import DRAWS, bootstrap_weights, draws_interval, resample_curve
from benchmark.compare.rate_quality import interpolate
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, remedies
from benchmark.option import ALLOW_FEW, CODEC, COMPARED, OTHER_CODEC, opt
from benchmark.registry import METRICS, metric_class
from benchmark.rows.edition import Edition, label_of, labels_of, mark_bundled
from benchmark.rows.names import find_editions, is_named
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import DatasetResults, RowSource, read_results
from benchmark.rows.summary import Mean, Point, Summary
from benchmark.rows.variants import NO_ANCHOR, add_variants
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

RealismVerdict = Literal["equal", "all better", "all worse", "other rates"]
VERDICTS: tuple[RealismVerdict, ...] = get_args(RealismVerdict)
STEP = 1e-5  # change of an image's weight, for a finite difference that gives its influence

# Log rate, distortion and realism of points under each weighting, shape (weightings, points);
# higher distortion and realism values are better.
Surface = tuple[Float64Array, Float64Array, Float64Array]


# Metrics of single images to suggest if the requested metric has no values
ALTERNATIVES = {"distortion": ("psnr", "ms_ssim"), "realism": ("lpips_squeeze", "dists", "lpips")}
DISTORTION = opt(COMPARED, "The distortion metric: psnr, psnr_y or ms_ssim.")
REALISM = opt(
    COMPARED,
    "The realism metric (fid256, kid256, fd_squeeze, fd_alex), or one of perceptual quality "
    "(lpips_squeeze, dists).",
)
BUILD = opt(
    COMPARED,
    "Build of CODEC's variants: the first digits of its fingerprint or checkpoint; default: the "
    "build with the most variants (of several, the newest).",
)


def tradeoff(
    source: RowSource,
    codec: Annotated[str, CODEC],
    against: Annotated[str, OTHER_CODEC],
    *,
    distortion: Annotated[str, DISTORTION] = "psnr",
    realism: Annotated[str, REALISM] = "fid256",
    build: Annotated[str, BUILD] = "",
    images: Annotated[tuple[str, ...], IMAGES] = (),
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Compare the distortion of CODEC with that of AGAINST at AGAINST's rates and realism.

    CODEC's variants (such as realism weights) of one build (program or checkpoint) span a surface,
    which is interpolated at every setting of AGAINST. With a metric such as LPIPS, codecs are
    compared at equal perceptual quality, which is not realism.

    One record per setting of AGAINST: `difference` is CODEC's distortion (`other`) minus AGAINST's,
    with a 95 % interval over resampled images; `certainty` is the share of draws with the same
    sign. `verdict` "all better" or "all worse": all variants of CODEC have better or worse realism
    at that rate, and `other` is the nearest variant's; "other rates": CODEC lacks this rate.

    Examples:
      bench tradeoff ours vtm --realism fd_squeeze
      bench tradeoff ours hyperprior --realism lpips_squeeze --csv tradeoff.csv
    """
    names = metric_names(f"{distortion},{realism}")
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError("--distortion and --realism each take one metric, and the two must differ")
    codec_list = f"{codec},{against}"
    dataset_results = read_results(
        source.results, source.dataset, codec_list, names, rows=source.rows, allow_few=allow_few,
        join=lambda rows, other_rows: (add_variants(rows, other_rows), NO_ANCHOR), images=images,
    )  # fmt: skip
    metrics = Metric.named(names[0]), Metric.named(names[1])
    _require_values(dataset_results, metrics)
    codec_family, against_families = _families(
        dataset_results.summary, codec, against, metrics, build
    )
    codec_specs = {edition.spec for edition in codec_family.points}
    records = [
        {"label": label_of(edition.spec), **record}
        for family in against_families
        for edition, edition_points in family.points.items()
        if edition.spec not in codec_specs
        for record in tradeoffs(edition_points, list(codec_family.points.values()), *metrics)
    ]
    if not records:
        raise UsageError(f"{codec} and {against} are the same codec: name two different codecs")
    families, summary = (codec_family, *against_families), dataset_results.summary
    labels = labels_of(edition for family in families for edition in family.points)
    bundled_labels = {label for edition, label in labels.items() if edition.bundled}
    surface_sentence = f"{codec} is interpolated between {codec_family.description}."
    brackets_sentence = (
        f"Brackets and certainty come from {DRAWS} draws of images, the same for both codecs."
    )
    return Answer(
        records,
        _tradeoff_columns(
            codec, metrics, bundled_labels if len(bundled_labels) < len(labels) else ()
        ),
        " ".join(
            [
                f"{dataset_results.subject}. {surface_sentence} {brackets_sentence}",
                *caveats_measured_here(summary),
            ]
        ),
        [
            *dict.fromkeys(absence for family in families for absence in family.absences),
            *summary.not_shown,
        ],
        {
            "dataset": dataset_results.name,
            "distortion": names[0],
            "realism": names[1],
            **dataset_results.facts,
        },
    )


def _tradeoff_columns(
    codec: str, metrics: tuple[Metric, Metric], bundled: Collection[str]
) -> list[Column]:
    distortion, realism = metrics
    verdict_texts = {
        "equal": "equal realism",
        "all better": "more realistic",
        "all worse": "less realistic",
    }
    if realism.kind != "realism":
        verdict_texts = {"equal": f"equal {realism.kind}"}
        verdict_texts |= {
            "all better": f"better {realism.kind}",
            "all worse": f"worse {realism.kind}",
        }

    def difference_text(record: Mapping[str, Any]) -> str | None:
        ends = {"difference_low": record["low"], "difference_high": record["high"]}
        return interval_text({**record, **ends}, "difference", "+z.3f")

    return [
        Column("against", lambda row: mark_bundled(row["label"], row["label"] in bundled)),
        Column("setting"),
        Column("comparison", lambda row: verdict_texts.get(row["verdict"], row["verdict"])),
        Column("bpp", "bpp", ".4f"),
        Column(realism.label, "realism", ".4f"),
        Column(distortion.label, "distortion", ".3f"),
        Column(f"{codec}'s", "other", ".3f"),
        Column("difference", difference_text, str),
        Column("certainty (%)", "certainty", lambda share: f"{100 * share:.1f}"),
    ]


def _require_values(dataset_results: DatasetResults, metrics: tuple[Metric, Metric]) -> None:
    """Raise `UsageError` if no row has a value of a metric."""
    measured_columns = {column.name for column in dataset_results.table if column.count()}
    for metric, (option, names) in zip(metrics, ALTERNATIVES.items(), strict=True):
        if not dataset_results.summary.count_values(metric.column):
            available_names = [
                name for name in names if metric_class(name).column in measured_columns
            ]
            command = dataset_results.summary.rescore_command
            alternative = f"for --{option} {names[0]}, {remedies(names[:1], command=command)}"
            remedy = f"try --{option} {available_names[0]}" if available_names else alternative
            raise UsageError(f"{dataset_results.name} has no {metric.label}: {remedy}")


def _families(
    summary: Summary, codec: str, against: str, metrics: Sequence[Metric], build: str
) -> tuple[Family, list[Family]]:
    """Return one build's variants of a codec, and the variants of each codec in `against`.

    build: prefix of the codec's fingerprint; empty: choose one. Raises `UnknownName` for an unknown
    codec, `UsageError` for an unknown build or one without values of both metrics.
    """
    points = (*summary.points, *summary.replaced)
    codec_family = _family(summary, _named_variants(summary, codec), metrics, build)
    codec_editions = (p.edition for p in points if is_named(p.edition, codec))
    builds = sorted({edition.fingerprint for edition in codec_editions})
    if not any(fingerprint.startswith(build) for fingerprint in builds):
        raise UsageError(f"no build of {codec} begins with {build!r}; it has {', '.join(builds)}")
    against_families = [
        _family(summary, {spec}, metrics) for spec in _named_variants(summary, against)
    ]
    for name, families in ((codec, [codec_family]), (against, against_families)):
        if not any(family.points for family in families):
            metric_labels = " and ".join(metric.label for metric in metrics)
            reason, *other_reasons = (note for family in families for note in family.absence_notes)
            if other_reasons:
                reason += f" (and {counted(len(other_reasons), 'variant')} more)"
            specs = _named_variants(summary, name)
            requested_editions = [edition for edition in summary.editions if edition.spec in specs]
            columns_without_values = {
                m.column for m in metrics if not summary.count_values(m.column, requested_editions)
            }
            missing_metrics = [
                metric_name
                for metric_name in METRICS
                if metric_class(metric_name).column in columns_without_values
            ]
            if missing_metrics:
                reason += f"; {remedies(missing_metrics, command=summary.rescore_command)}"
            raise UsageError(f"{name} has no points with {metric_labels} to compare: {reason}")
    return codec_family, against_families


def _family(
    summary: Summary, specs: Collection[CodecSpec], metrics: Sequence[Metric], build: str = ""
) -> Family:
    return one_build(summary, lambda edition: edition.spec in specs, metrics, build)


def _named_variants(summary: Summary, codec: str) -> dict[CodecSpec, Edition]:
    """Return a codec's variants; a bare name means default variants, if any. `UnknownName`."""
    codec_editions = [edition for edition in summary.editions if edition.spec.name == codec]
    named_editions = codec_editions or find_editions([codec], summary.editions)
    default_editions = [edition for edition in named_editions if is_default(edition)]
    return {edition.spec: edition for edition in default_editions or named_editions}


def tradeoffs(
    curve_points: Sequence[Point],
    variant_curves: Sequence[Sequence[Point]],
    distortion: Metric,
    realism: Metric,
) -> list[dict[str, Any]]:
    """Compare each point of a curve with all variants of another codec, lowest rate first.

    Returns the records of `tradeoff`, in the metrics' units; `low` and `high` are the ends of the
    interval (None for one image), `draws` is the number of comparable draws.

    variant_curves: one per variant, all of one build (`builds`), over the same images and with both
    metrics. Raises `UsageError` for a metric without per-image influence.
    """
    for metric in (distortion, realism):
        if not metric.has_image_values:
            raise UsageError(
                f"{metric.label} has no per-image influence, so its certainty cannot be "
                "computed: choose another metric"
            )
    surfaces = [_surface(points, distortion, realism) for points in variant_curves]
    records = [_tradeoff(point, surfaces, distortion, realism) for point in curve_points]
    return sorted(records, key=lambda record: record["bpp"])


def restrict_to_shared(
    points: Sequence[Point], first_metric: Metric, second_metric: Metric
) -> tuple[Point, ...]:
    """Restrict two metrics' values and means to images with values of both, if there are any.

    A distribution metric is restricted by images' influences (first order).
    """
    images = {
        name: {n for p in points for n in p.image_ids[np.isfinite(p.image_values[name])].tolist()}
        for name in (first_metric.column, second_metric.column)
    }
    shared_images = images[first_metric.column] & images[second_metric.column]
    changed_columns = [
        name for name, ids in images.items() if shared_images and ids != shared_images
    ]
    return tuple(
        average_over(point, shared_images, changed_columns) if changed_columns else point
        for point in points
    )


def average_over(
    point: Point, images: Collection[int], columns: Iterable[str], pooled: bool = False
) -> Point:
    """Return a point averaged over some images; pooled: divide all bits by all pixels."""
    is_included, means, values = np.isin(point.image_ids, [*images]), {}, {}
    for name in columns:
        values[name] = selected_values = np.where(is_included, point.image_values[name], np.nan)
        is_finite, num_infinite = np.isfinite(selected_values), int(np.isinf(selected_values).sum())
        num_finite, reasons = (
            int(is_finite.sum()),
            point.means[name].reasons if name in point.means else (),
        )
        value, bpp = (
            float(x[is_finite].mean()) if num_finite else None
            for x in (selected_values, point.image_bpp)
        )
        num_missing = len(images) - num_finite - num_infinite
        means[name] = Mean(value, bpp, num_finite, num_infinite, num_missing, reasons)
    weights = is_included * (point.image_pixels if pooled else 1)
    rate = float(np.average(point.image_bpp, weights=weights)) if is_included.any() else None
    values, means = {**point.image_values, **values}, {**point.means, **means}
    return replace(point, bpp=rate, means=means, image_values=values)


def _surface(points: Sequence[Point], distortion: Metric, realism: Metric) -> Surface:
    points = restrict_to_shared(points, distortion, realism)
    # Distortion is compared in the metric's own unit, not in the dB of its axis.
    curve = resample_curve(points, replace(distortion, scale="linear"), _weights)
    log_rate, quality = curve.log_rate, curve.quality
    realism_quality = resample_curve(points, realism, _weights).quality
    order = np.lexsort((-quality[0], log_rate[0]))  # best first at equal rate
    first_indices = order[np.unique(log_rate[0][order], return_index=True)[1]]
    return log_rate[:, first_indices], quality[:, first_indices], realism_quality[:, first_indices]


def _weights(images: int) -> Float64Array:
    """Return weights for the set, draws and derivatives; (1 + DRAWS + images, images)."""
    derivatives = (1 - STEP) / images + STEP * np.eye(images)
    return np.vstack([bootstrap_weights(images), derivatives])


def _tradeoff(
    point: Point, surfaces: Sequence[Surface], distortion: Metric, realism: Metric
) -> dict[str, Any]:
    log_rate, quality, realism_quality = (x[:, 0] for x in _surface([point], distortion, realism))
    verdicts, matched_values = _interpolate_at_realism(
        *_interpolate_at_rate(surfaces, log_rate), realism_quality
    )
    sign = 1 if distortion.better == "higher" else -1
    record: dict[str, Any] = {
        "setting": str(point.setting),
        "bpp": float(10 ** log_rate[0]),
        "distortion": sign * float(quality[0]),
        "realism": realism.value(float(realism_quality[0])),
        "verdict": VERDICTS[int(verdicts[0])],
        **dict.fromkeys(("other", "difference", "low", "high", "certainty")),
        "draws": 0,
        "images": len(quality) - 1 - DRAWS,
    }
    differences = sign * (matched_values - quality)
    draws = slice(1, 1 + DRAWS)
    compared_differences = differences[draws][verdicts[draws] != VERDICTS.index("other rates")]
    if record["verdict"] == "other rates" or not len(compared_differences):
        return record
    influences = (differences[1 + DRAWS :] - differences[0]) / STEP
    record |= {"other": sign * float(matched_values[0]), "difference": float(differences[0])}
    if len(influences) > 1:  # one image gives no interval
        low, high = draws_interval(compared_differences, differences[0] + influences)
        has_same_sign = np.sign(compared_differences) == np.sign(differences[0])
        record |= {"low": low, "high": high, "certainty": float(np.mean(has_same_sign))}
        record["draws"] = len(compared_differences)
    return record


def _interpolate_at_rate(
    surfaces: Sequence[Surface], log_rate: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return realism and distortion at a log rate, (variants, weightings); NaN out of reach."""
    realism, distortion = [], []
    for surface in surfaces:
        order = np.argsort(surface[0], axis=1)
        log_rates, distortions, realisms = (
            np.take_along_axis(axis, order, axis=1) for axis in surface
        )
        distortion.append(interpolate(log_rates, distortions, log_rate, USUAL_RULE.bd))
        realism.append(interpolate(log_rates, realisms, log_rate, USUAL_RULE.bd))
    return np.stack(realism), np.stack(distortion)


def _interpolate_at_realism(
    variant_realism: Float64Array, variant_distortion: Float64Array, realism: Float64Array
) -> tuple[NDArray[np.int64], Float64Array]:
    """Return indices into VERDICTS and the distortion at (or nearest to) a realism, by weighting.

    variant_realism, variant_distortion: shape (variants, weightings).
    """
    lowest_realism = np.nanmin(variant_realism, axis=0, initial=np.inf)
    highest_realism = np.nanmax(variant_realism, axis=0, initial=-np.inf)
    is_reached = np.isfinite(lowest_realism)
    conditions = [~is_reached, realism < lowest_realism, realism > highest_realism]
    verdicts = np.select(conditions, [3, 1, 2], default=0).astype(np.int64)
    clipped_realism = np.clip(
        realism, np.where(is_reached, lowest_realism, 0), np.where(is_reached, highest_realism, 0)
    )
    distortion = np.full(len(clipped_realism), np.nan)
    for weighting in np.flatnonzero(is_reached):
        x, y = variant_realism[:, weighting], variant_distortion[:, weighting]
        order = np.argsort(x)[: np.count_nonzero(np.isfinite(x))]  # NaN comes last
        distortion[weighting] = np.interp(clipped_realism[weighting], x[order], y[order])
    return verdicts, distortion
