"""Details of a report: protocols, codecs, builds, figures and what is left out, as one record."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.analysis.builds import mixed_sentences
from benchmark.analysis.interval import DrawSpread
from benchmark.analysis.sources import SourceFacts
from benchmark.analysis.stored import DatasetResults
from benchmark.analysis.summarise import CONTAINER, Edition, Point, Summary
from benchmark.figures.labels import Drawing
from benchmark.figures.table import Table, draws_table, markdown
from benchmark.report.left_out import Gap, lines_of, source_sentences
from benchmark.system.text import counted, markdown_text, one_line

LAST_RUN = ("started_utc", "commit", "machine", "packages")


def details_record(
    stored: DatasetResults,
    command: str,
    anchor: str,
    drawings: Mapping[str, Drawing],
    gaps: Sequence[Gap],
    published: Sequence[str],
    sources: SourceFacts | None,
) -> dict[str, Any]:
    """Return everything that a report says in details.json: values of JSON alone.

    command: that makes the report again. published: sentences on published points left out.
    """
    summary = stored.summary
    last = stored.runs[-1] if stored.runs else {}
    return {
        "dataset": stored.name,
        "command": command,
        "images": summary.images,
        "images_left_out": summary.dropped,
        "bpp": "mean of each image's" if summary.average == "per_image" else "pooled",
        "anchor": anchor,
        "protocols": dict(summary.protocols_in_use),
        "sources": sources and {**sources._asdict(), "sentences": source_sentences(sources)},
        "codecs": [_codec(points) for points in _by_label(summary).values()],
        "builds": list(mixed_sentences(summary)),
        "figures": {
            name: {"caption": one.caption, "details": list(one.details)}
            for name, one in drawings.items()
        },
        "left_out": [gap._asdict() for gap in gaps],
        "published_left_out": list(published),
        "runs": len(stored.runs),
        "last_run": {name: last[name] for name in LAST_RUN if name in last},
    }


def details_text(record: Mapping[str, Any], spreads: Sequence[DrawSpread] = ()) -> str:
    """Return details.md: the record as a text, with a table of the spreads over drawings."""
    protocols = ", ".join(f"{name}: {one}" for name, one in record["protocols"].items())
    intro = f"{counted(record['images'], 'image')}. bpp is the {record['bpp']} bpp."
    if record["bpp"] == "pooled":
        intro = f"{counted(record['images'], 'image')}. bpp is pooled: all bits over all pixels."
    if record["images_left_out"]:
        intro += (
            " Restricted to the images that all points have; left out: "
            f"{record['images_left_out']}."
        )
    sources = (record["sources"] or {}).get("sentences", ())
    gaps = [Gap(**one) for one in record["left_out"]]
    parts = [
        f"# Details of {markdown_text(record['dataset'])}",
        f"Made by `{one_line(record['command'])}`." if record["command"] else "",
        intro,
        _listed([f"{source[0].upper()}{source[1:]}." for source in sources]),
        f"## Protocols\n\n{markdown_text(protocols)}",
        "## Codecs",
        markdown(_codecs_table(record["codecs"])),
        _listed(record["builds"]),
        "## Figures" if record["figures"] else "",
        *(
            f"### {name}\n\n{markdown_text(' '.join([one['caption'], *one['details']]))}"
            for name, one in record["figures"].items()
        ),
        *(["## Draws", markdown(draws_table(spreads))] if spreads else []),
        "## Left out",
        _listed([*lines_of(gaps), *record["published_left_out"]]) or "Nothing.",
    ]
    if last := record["last_run"]:
        facts = [str(last[name]) for name in LAST_RUN[:3] if last.get(name)]
        parts.append(f"The last of {record['runs']} runs: {markdown_text(', '.join(facts))}.")
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _by_label(summary: Summary) -> dict[str, list[Point]]:
    result: dict[str, list[Point]] = {}
    for point in summary.points:
        result.setdefault(point.label, []).append(point)
    return result


def _codec(points: Sequence[Point]) -> dict[str, Any]:
    edition = points[0].edition
    sizes = [size for point in points if (size := point.means[CONTAINER].value)]
    return {
        "codec": edition.label,
        "version": edition.version,
        "origin": _origin(edition),
        "chroma": edition.facts.chroma,
        "tuned_for": edition.facts.tuned_for,
        "container_bytes": sum(sizes) / len(sizes) if sizes else None,
        "timed": edition.timed,
        "devices": list(edition.devices),
        "caveats": list(edition.caveats),
        "command": edition.command,
    }


def _origin(edition: Edition) -> str:
    if edition.bundled:
        return "bundled"
    return "recorded elsewhere" if edition.recorded else "measured here"


def _codecs_table(codecs: Sequence[Mapping[str, Any]]) -> Table:
    headers = ("codec", "version", "origin", "chroma", "container (bytes)", "timed", "caveat")
    rows = tuple(
        (
            codec["codec"],
            codec["version"],
            codec["origin"],
            codec["chroma"] or "not stated",
            f"{codec['container_bytes']:.0f}" if codec["container_bytes"] else "",
            codec["timed"],
            ", ".join(codec["caveats"]),
        )
        for codec in codecs
    )
    kept = [place for place, cells in enumerate(zip(*rows, strict=True)) if any(cells)]
    shown = tuple(tuple(row[place] for place in kept) for row in rows)
    return Table(tuple(headers[place] for place in kept), shown, len(kept))


def _listed(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in sentences)
