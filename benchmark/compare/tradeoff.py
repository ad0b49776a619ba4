"""The distortion of two codecs compared at equal rate and equal realism.

A codec with several variants (a realism weight, say) spans a surface (Blau and Michaeli,
"Rethinking Lossy Compression: The Rate-Distortion-Perception Tradeoff", 2019): at the other's rate
each variant is a pair of realism and distortion, interpolated along its curve as in BD-rates;
between the pairs distortion is interpolated linearly at the other's realism. Intervals are over
images sampled with replacement, the same for both codecs; a distribution metric enters with the
influence of each image, to first order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from benchmark.answer import Answer, Column, with_interval
from benchmark.codec import Float64Array
from benchmark.compare.builds import Family, is_default, one_build
from benchmark.compare.caveats import own_caveats
from benchmark.compare.curves import interpolated
from benchmark.compare.experiment import IMAGES
from benchmark.compare.interval import DRAWS, bootstrap_weights, draws_interval, resample_curve
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, remedies
from benchmark.option import AGAINST, ALLOW_FEW, CODEC, COMPARED, opt
from benchmark.registry import METRICS, metric_class
from benchmark.rows.edition import Edition, label_of, labels_of, marked_bundled
from benchmark.rows.names import find_editions, is_named
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import DatasetResults, Source, read_results
from benchmark.rows.summary import Mean, Point, Summary
from benchmark.rows.variants import NO_ANCHOR, every_variant
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

Match = Literal["equal", "all better", "all worse", "other rates"]
MATCHES: tuple[Match, ...] = get_args(Match)
STEP = 1e-5  # of an image's weight, for the derivative that is its influence

# Log rate, distortion and realism of points under each weighting, shape (weightings, points); of
# the last two more is better.
Surface = tuple[Float64Array, Float64Array, Float64Array]


# Metrics of single images to compare in, where no row has a value of the one that was asked for
OTHERS = {"distortion": ("psnr", "ms_ssim"), "realism": ("lpips_squeeze", "dists", "lpips")}
DISTORTION = opt(COMPARED, "The distortion metric: psnr, psnr_y or ms_ssim.")
REALISM = opt(
    COMPARED,
    "The realism metric (fid256, kid256, fd_squeeze, fd_alex), or one of perceptual quality "
    "(lpips_squeeze, dists).",
)
OF_BUILD = opt(
    COMPARED,
    "Take CODEC's variants of this build, by the first digits of its fingerprint or checkpoint; "
    "default: the newest that has most variants.",
)


def tradeoff(
    source: Source,
    codec: Annotated[str, CODEC],
    against: Annotated[str, AGAINST],
    *,
    distortion: Annotated[str, DISTORTION] = "psnr",
    realism: Annotated[str, REALISM] = "fid256",
    build: Annotated[str, OF_BUILD] = "",
    images: Annotated[tuple[str, ...], IMAGES] = (),
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Compare the distortion of CODEC with that of AGAINST at AGAINST's rates and realism.

    CODEC's variants (realism weights, say) of one build, that is one program or checkpoint, span a
    surface; it is interpolated at every setting of AGAINST. A metric such as LPIPS compares at
    equal perceptual quality, which is not realism.

    A record is a setting of AGAINST: `difference` is CODEC's distortion (`other`) less AGAINST's,
    with its 95 % interval over resampled images, the same for both codecs, and `certainty` is the
    share of draws with the same sign. Where the `verdict` is not "equal", all variants of CODEC are
    better or worse in realism at that rate, and `other` is the nearest one's; or it has no such
    rate.

    Examples:
      bench tradeoff ours vtm --realism fd_squeeze
      bench tradeoff ours hyperprior --realism lpips_squeeze --csv tradeoff.csv
    """
    names = metric_names(f"{distortion},{realism}")
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError("--distortion and --realism each take one metric, and not the same")
    both = f"{codec},{against}"
    stored = read_results(
        source.results, source.dataset, both, names, rows=source.rows, allow_few=allow_few,
        joined=lambda rows, others: (every_variant(rows, others), NO_ANCHOR), images=images,
    )  # fmt: skip
    metrics = Metric.named(names[0]), Metric.named(names[1])
    _require_values(stored, metrics)
    mine, others = _families(stored.summary, codec, against, metrics, build)
    own_specs = {edition.spec for edition in mine.points}
    points = [
        {"label": label_of(edition.spec), **record}
        for other in others
        for edition, curve in other.points.items()
        if edition.spec not in own_specs
        for record in tradeoffs(curve, list(mine.points.values()), *metrics)
    ]
    if not points:
        raise UsageError(f"{codec} and {against} are the same codec: name two")
    families, summary = (mine, *others), stored.summary
    curves = labels_of(edition for family in families for edition in family.points)
    bundled = {label for edition, label in curves.items() if edition.bundled}
    surface = f"{codec} is interpolated between {mine.described}."
    brackets = f"Brackets and certainty: {DRAWS} draws of images, both codecs' together."
    return Answer(
        points,
        _columns(codec, metrics, bundled if len(bundled) < len(curves) else ()),
        " ".join([f"{stored.subject}. {surface} {brackets}", *own_caveats(summary)]),
        [*dict.fromkeys(absent for of in families for absent in of.absent), *summary.not_shown],
        {"dataset": stored.name, "distortion": names[0], "realism": names[1], **stored.facts},
    )


def _columns(codec: str, metrics: tuple[Metric, Metric], bundled: Collection[str]) -> list[Column]:
    distortion, realism = metrics
    words = {
        "equal": "equal realism",
        "all better": "more realistic",
        "all worse": "less realistic",
    }
    if realism.kind != "realism":
        words = {"equal": f"equal {realism.kind}"}
        words |= {"all better": f"better {realism.kind}", "all worse": f"worse {realism.kind}"}

    def change(record: Mapping[str, Any]) -> str | None:
        ends = {"difference_low": record["low"], "difference_high": record["high"]}
        return with_interval({**record, **ends}, "difference", "+z.3f")

    return [
        Column("against", lambda of: marked_bundled(of["label"], of["label"] in bundled)),
        Column("setting"),
        Column("comparison", lambda of: words.get(of["verdict"], of["verdict"])),
        Column("bpp", "bpp", ".4f"),
        Column(realism.label, "realism", ".4f"),
        Column(distortion.label, "distortion", ".3f"),
        Column(f"{codec}'s", "other", ".3f"),
        Column("difference", change, str),
        Column("certainty (%)", "certainty", lambda share: f"{100 * share:.1f}"),
    ]


def _require_values(stored: DatasetResults, metrics: tuple[Metric, Metric]) -> None:
    """Raise `UsageError` where no row has a value of the distortion or the realism metric."""
    known = {column.name for column in stored.table if column.count()}
    for metric, (option, names) in zip(metrics, OTHERS.items(), strict=True):
        if not stored.summary.values_of(metric.column):
            has = [name for name in names if metric_class(name).column in known]
            other = (
                f"for --{option} {names[0]}, {remedies(names[:1], command=stored.summary.again)}"
            )
            remedy = f"try --{option} {has[0]}" if has else other
            raise UsageError(f"{stored.name} has no {metric.label}: {remedy}")


def _families(
    summary: Summary, codec: str, against: str, metrics: Sequence[Metric], build: str
) -> tuple[Family, list[Family]]:
    """Return the variants of a codec that are of one build, and those of each codec against it.

    build: how the fingerprint of the codec's build begins; empty to choose. Raises `UnknownName`
    for no such codec, `UsageError` for no such build, or none with values of both metrics.
    """
    points = (*summary.points, *summary.replaced)
    mine = _family(summary, _variants(summary, codec), metrics, build)
    of_codec = (p.edition for p in points if is_named(p.edition, codec))
    builds = sorted({edition.fingerprint for edition in of_codec})
    if not any(fingerprint.startswith(build) for fingerprint in builds):
        raise UsageError(f"no build of {codec} begins with {build!r}: {', '.join(builds)}")
    others = [_family(summary, {spec}, metrics) for spec in _variants(summary, against)]
    for name, families in ((codec, [mine]), (against, others)):
        if not any(family.points for family in families):
            asked = " and ".join(metric.label for metric in metrics)
            reason, *more = (text for family in families for text in family.left_out)
            reason += f" (and {counted(len(more), 'variant')} more)" if more else ""
            specs = _variants(summary, name)
            asked_for = [of for of in summary.editions if of.spec in specs]
            without = {m.column for m in metrics if not summary.values_of(m.column, asked_for)}
            lacking = [each for each in METRICS if metric_class(each).column in without]
            reason += f"; {remedies(lacking, command=summary.again)}" if lacking else ""
            raise UsageError(f"{name} has no points with {asked} to compare: {reason}")
    return mine, others


def _family(
    summary: Summary, specs: Collection[CodecSpec], metrics: Sequence[Metric], build: str = ""
) -> Family:
    return one_build(summary, lambda edition: edition.spec in specs, metrics, build)


def _variants(summary: Summary, codec: str) -> dict[CodecSpec, Edition]:
    """Return the variants that a name means; raise `UnknownName` for no such codec.

    A codec's name alone means its variants of the default network and encoder, where those have
    results.
    """
    of_codec = [edition for edition in summary.editions if edition.spec.name == codec]
    named_editions = of_codec or find_editions([codec], summary.editions)
    defaults = [edition for edition in named_editions if is_default(edition)]
    return {edition.spec: edition for edition in defaults or named_editions}


def tradeoffs(
    mine: Sequence[Point], other: Sequence[Sequence[Point]], distortion: Metric, realism: Metric
) -> list[dict[str, Any]]:
    """Compare every point of a curve with all variants of another codec, lowest rate first.

    Return records as `tradeoff` does: `other` is the other codec's distortion there, else that of
    the variant nearest in realism, `low` and `high` are the ends of the interval, without for one
    image, `draws` those in which it could be compared. All values are in the metrics' units.

    other: one curve for each variant, all of one build (`builds`). All points are over the same
    images and have both metrics. Raises `UsageError` where one gives no influence of an image.
    """
    for metric in (distortion, realism):
        if not metric.by_image:
            raise UsageError(
                f"{metric.label} gives no influence of an image, so that no certainty can be "
                "computed: name another metric"
            )
    curves = [_surface(points, distortion, realism) for points in other]
    compared = [_tradeoff(point, curves, distortion, realism) for point in mine]
    return sorted(compared, key=lambda record: record["bpp"])


def of_both(points: Sequence[Point], first: Metric, second: Metric) -> tuple[Point, ...]:
    """Return points whose values and means of two metrics are over the images that have both.

    They stay as they are if no image has. A distribution metric is taken over some of its images by
    their influence, to first order.
    """
    images = {
        name: {n for p in points for n in p.image_ids[np.isfinite(p.image_values[name])].tolist()}
        for name in (first.column, second.column)
    }
    shared = images[first.column] & images[second.column]
    changed = [name for name, of in images.items() if shared and of != shared]
    return tuple(over(point, shared, changed) if changed else point for point in points)


def over(
    point: Point, images: Collection[int], columns: Iterable[str], pooled: bool = False
) -> Point:
    """Return a point with rate, and values and means of metrics, over some of the images.

    pooled: the rate is of all bits over all pixels, else the mean of the images' rates.
    """
    used, means, values = np.isin(point.image_ids, [*images]), {}, {}
    for name in columns:
        values[name] = of = np.where(used, point.image_values[name], np.nan)
        finite, infinite = np.isfinite(of), int(np.isinf(of).sum())
        count, reasons = int(finite.sum()), point.means[name].reasons if name in point.means else ()
        value, bpp = (float(x[finite].mean()) if count else None for x in (of, point.image_bpp))
        missing = len(images) - count - infinite
        means[name] = Mean(value, bpp, count, infinite, missing, reasons)
    weights = used * (point.image_pixels if pooled else 1)
    rate = float(np.average(point.image_bpp, weights=weights)) if used.any() else None
    values, means = {**point.image_values, **values}, {**point.means, **means}
    return replace(point, bpp=rate, means=means, image_values=values)


def _surface(points: Sequence[Point], distortion: Metric, realism: Metric) -> Surface:
    points = of_both(points, distortion, realism)
    # Distortion is compared in the metric's own unit, not in the dB of its axis.
    curve = resample_curve(points, replace(distortion, scale="linear"), _weights)
    log_rate, quality = curve.log_rate, curve.quality
    at_realism = resample_curve(points, realism, _weights).quality
    order = np.lexsort((-quality[0], log_rate[0]))  # of settings of one rate, the best
    kept = order[np.unique(log_rate[0][order], return_index=True)[1]]
    return log_rate[:, kept], quality[:, kept], at_realism[:, kept]


def _weights(images: int) -> Float64Array:
    """Return the weights of the set, of each draw, and with each image weighted up a little.

    Their shape is (1 + DRAWS + images, images).
    """
    derivatives = (1 - STEP) / images + STEP * np.eye(images)
    return np.vstack([bootstrap_weights(images), derivatives])


def _tradeoff(
    point: Point, curves: Sequence[Surface], distortion: Metric, realism: Metric
) -> dict[str, Any]:
    log_rate, quality, at_realism = (x[:, 0] for x in _surface([point], distortion, realism))
    verdicts, others = _at_realism(*_at_rate(curves, log_rate), at_realism)
    sign = 1 if distortion.better == "higher" else -1
    record: dict[str, Any] = {
        "setting": str(point.setting),
        "bpp": float(10 ** log_rate[0]),
        "distortion": sign * float(quality[0]),
        "realism": realism.value(float(at_realism[0])),
        "verdict": MATCHES[int(verdicts[0])],
        **dict.fromkeys(("other", "difference", "low", "high", "certainty")),
        "draws": 0,
        "images": len(quality) - 1 - DRAWS,
    }
    differences = sign * (others - quality)
    of_draws = slice(1, 1 + DRAWS)
    compared = differences[of_draws][verdicts[of_draws] != MATCHES.index("other rates")]
    if record["verdict"] == "other rates" or not len(compared):
        return record
    influences = (differences[1 + DRAWS :] - differences[0]) / STEP
    record |= {"other": sign * float(others[0]), "difference": float(differences[0])}
    if len(influences) > 1:  # one image says nothing of the next
        low, high = draws_interval(compared, differences[0] + influences)
        same = np.sign(compared) == np.sign(differences[0])
        record |= {"low": low, "high": high, "certainty": float(np.mean(same))}
        record["draws"] = len(compared)
    return record


def _at_rate(
    curves: Sequence[Surface], log_rate: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Interpolate realism and distortion of each variant at a rate, over its logarithm.

    Both have shape (variants, weightings); NaN where a curve does not reach the rate.
    """
    realism, distortion = [], []
    for curve in curves:
        order = np.argsort(curve[0], axis=1)
        x, y, z = (np.take_along_axis(axis, order, axis=1) for axis in curve)
        distortion.append(interpolated(x, y, log_rate, USUAL_RULE.bd))
        realism.append(interpolated(x, z, log_rate, USUAL_RULE.bd))
    return np.stack(realism), np.stack(distortion)


def _at_realism(
    known: Float64Array, values: Float64Array, realism: Float64Array
) -> tuple[NDArray[np.int64], Float64Array]:
    """Return for each weighting the index in MATCHES and the distortion at, or nearest, a realism.

    known, values: realism and distortion of each variant, shape (variants, weightings).
    """
    lowest = np.nanmin(known, axis=0, initial=np.inf)
    highest = np.nanmax(known, axis=0, initial=-np.inf)
    reached = np.isfinite(lowest)
    outside = [~reached, realism < lowest, realism > highest]
    verdicts = np.select(outside, [3, 1, 2], default=0).astype(np.int64)
    inside = np.clip(realism, np.where(reached, lowest, 0), np.where(reached, highest, 0))
    result = np.full(len(inside), np.nan)
    for at in np.flatnonzero(reached):
        x, y = known[:, at], values[:, at]
        order = np.argsort(x)[: np.count_nonzero(np.isfinite(x))]  # NaN comes last
        result[at] = np.interp(inside[at], x[order], y[order])
    return verdicts, result
