"""What is keyed by editions, for tests that name these by their labels."""

from benchmark.compare import bd
from benchmark.compare.rule import USUAL_RULE
from benchmark.rows import summary as summaries
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.variants import Anchor
from benchmark.spec import parse_codec


def edition(summary, label):
    """The edition of a summary that has a label; one of no rows where it has none."""
    editions_by_label = {label_of(edition.spec): edition for edition in summary.editions}
    return editions_by_label.get(label) or Edition.create(parse_codec(label))


def anchor(text, reason=""):
    return Anchor(parse_codec(text), reason)


def compare(summary, metric, label, rule=USUAL_RULE):
    return [*bd.compare(summary, [metric], edition(summary, label), rule).values()]


def rank_by_bd_rate(summary, metrics, label, *args, rule=USUAL_RULE, **options):
    return bd.rank_by_bd_rate(summary, metrics, edition(summary, label), rule, *args, **options)


def curves(summary, metric):
    points_by_edition = summaries.curves(summary, metric)
    return {label_of(entry.spec): points for entry, points in points_by_edition.items()}


def ends(record, kind=""):
    """The ends of the interval of a comparison. kind: "images_" of the images' mean."""
    return record[f"{kind}bd_rate_low_percent"], record[f"{kind}bd_rate_high_percent"]


def quartiles(record):
    return tuple(record[f"images_bd_rate_{end}_quartile_percent"] for end in ("lower", "upper"))
