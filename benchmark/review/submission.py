"""Submissions to a site: packs, what their authors state, and whether an audit agrees."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from benchmark.datasets.dataset import Source
from benchmark.errors import BadPack, StoreError
from benchmark.measure.record import ShowsProgress
from benchmark.measure.request import Request
from benchmark.review.again import Again, compared, decode_again, differences, speed
from benchmark.review.audit.pack_audit import open_photographs
from benchmark.review.evidence import BROKEN, point_of
from benchmark.review.streams import Sent, label_of_row, scored_metrics, sent_rows
from benchmark.review.supplement import Supplement
from benchmark.rows.codecs import NAME, NamedCodecs
from benchmark.rows.packs.pack import INDEX, Pack, open_pack
from benchmark.system.atomic import write_file
from benchmark.system.foreign_files import read_regular
from benchmark.system.machine import machine
from benchmark.system.text import by_key, counted, json_bytes, parse_toml, read_json

LARGEST_STATEMENT_BYTES = 1 << 16
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Statement of authors on a submission, in NAME.toml beside NAME.tar."""

    title: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    doi: Annotated[str, msgspec.Meta(pattern=r"^(10\.\d{4,9}/[^\s<>\"]+)?$")] = ""
    url: Annotated[str, msgspec.Meta(pattern=r"^(https://[^\s<>\"]+)?$")] = ""
    parameters: Positive | None = None  # of encoder and decoder together
    encode_kmac: Positive | None = None  # thousand multiply-accumulates per pixel
    decode_kmac: Positive | None = None
    memory_bytes: Positive | None = None  # peak of decoding, of the largest image


class Audit(msgspec.Struct, frozen=True):
    """Result of an audit: the streams and numbers of a codec variant that were reproduced."""

    audited: bool
    reason: str  # why not; empty where it is
    streams: int
    columns: tuple[str, ...]  # of metrics that were reproduced
    seconds: float | None  # of decoding a megapixel, alone: the median
    machine: str


class Submission(NamedTuple):
    """A pack with its rows, what its authors state, and an audit for each label in it."""

    name: str
    pack: Pack | None  # None: it cannot be read, and `wrong` says why
    statement: Statement
    sent: Sequence[Sent]
    audits: Mapping[str, Audit]
    wrong: str = ""


def submissions(
    folder: Path | None,
    audits: Path | None,
    request: Request,
    codecs: NamedCodecs,
    progress: ShowsProgress,
    seed: int | None = None,
) -> Iterator[Submission]:
    """Yield the packs of a folder, sorted by name, each audited, or with its earlier audit.

    audits: folder of earlier audits, by the packs' sha256 and the metrics; who can write there
    decides what is audited. request: metrics, device, jobs, timeout, folders. seed: as of
    `decode_again`.
    """
    for place in sorted(folder.iterdir()) if folder else ():
        if place.suffix != ".tar" and not (place / INDEX).is_file():
            continue
        try:
            if place.is_symlink():
                raise StoreError("it is a link")
            pack = open_pack(place)
            statement = read_statement(place.with_suffix(".toml"))
            sent, impossible = sent_rows(Supplement((pack,), (), (), (), ()))
            if impossible:
                raise StoreError(f"it has {impossible[0].what} {impossible[0].why}")
            for name in {stream.dataset for stream in sent}:
                if not NAME.fullmatch(name):
                    raise StoreError(f"{name!r} is no name of a dataset")
        except (BadPack, StoreError) as error:
            yield Submission(place.name, None, Statement(), (), {}, str(error))
            continue
        kept = audits / f"{pack.sha256}.json" if audits else None
        audits_of = _kept(kept, request.metrics)
        if audits_of is None:
            audits_of = audit(sent, request, codecs, progress, seed)
            if kept is not None:
                write_file(kept, json_bytes(_Kept([*request.metrics], audits_of)))
        yield Submission(place.stem, pack, statement, sent, audits_of)


def read_statement(path: Path) -> Statement:
    """Read what authors state; nothing where there is no file. Raises `StoreError`."""
    if not os.path.lexists(path):
        return Statement()
    try:
        return parse_toml(read_regular(path, LARGEST_STATEMENT_BYTES, path.parent), Statement)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StoreError(f"{path.name} cannot be read: {why}") from error


class _Kept(msgspec.Struct):
    metrics: list[str]
    audits: dict[str, Audit]


def _kept(path: Path | None, metrics: Sequence[str]) -> dict[str, Audit] | None:
    with suppress(OSError, ValueError):
        if path is not None:
            kept = read_json(path, _Kept)
            return kept.audits if kept.metrics == [*metrics] else None
    return None


def audit(
    sent: Sequence[Sent],
    request: Request,
    codecs: NamedCodecs,
    progress: ShowsProgress,
    seed: int | None = None,
) -> dict[str, Audit]:
    """Decode the streams of a submission twice, score them, and say by label what is reproduced."""
    own = dict.fromkeys(str(stream.row["dataset"]) for stream in sent)
    photographs, missing = open_photographs(own, (), request.data_dir, request.flatten)
    metrics = scored_metrics(request)
    again = decode_again(sent, photographs, metrics, request, codecs, progress, seed)
    absent = "; ".join(missing.values())
    return {
        label: _audited(alike, metrics, absent, _lacking(alike, photographs))
        for label, alike in by_key((label_of_row(of.row), of) for of in again).items()
    }


def _lacking(alike: Sequence[Again], photographs: Mapping[str, Sequence[Source]]) -> str:
    """Return which image of its dataset a point is without; empty where all are there."""
    there = {(*point_of(of.row), of.row["image_sha256"]) for of in alike}
    for point in sorted({key[:3] for key in there}):
        for source in photographs.get(point[0], ()):
            if (*point, source.sha256) not in there:
                return f"{source.file.name} is missing at {point[2]}"
    return ""


def _audited(
    alike: Sequence[Again], metrics: Sequence[str], missing: str, lacking_image: str = ""
) -> Audit:
    counts = Counter[str](stream.state for stream in alike)
    columns = set.intersection(*({*compared(stream, metrics)} for stream in alike))
    lacking = sum(not stream.values for stream in alike)
    wrong = differences(alike, metrics)
    sizes = [stream.wrong_size for stream in alike if stream.wrong_size]
    labels = [stream.encoded for stream in alike if stream.label == "other"]
    once = sum(stream.twice is False for stream in alike)
    states = {**dict(zip(BROKEN, BROKEN, strict=True)), "not run": "not run: no decoder here"}
    states |= dict.fromkeys(("other", "blind"), "with other pixels")
    reasons = [f"{counted(counts[s], 'stream')} {what}" for s, what in states.items() if counts[s]]
    if once:
        reasons.append(f"{counted(once, 'stream')} with other pixels the second time")
    reasons += [f"{counted(len(sizes), 'size')} differ: {first}" for first in sizes[:1]]
    reasons += [f"of another setting: {first}" for first in labels[:1]]
    reasons += [f"{counted(len(wrong), 'value')} differ: {first}" for first in wrong[:1]]
    reasons += [lacking_image] if lacking_image else []
    if not reasons and lacking:
        why = missing or "their photographs are not known here"
        reasons = [f"{counted(lacking, 'stream')} not scored: {why}"]
    if not reasons and not columns:
        reasons = ["no metric was sent for every stream"]
    here = tuple(sorted(columns))
    return Audit(not reasons, "; ".join(reasons), len(alike), here, speed(alike), machine())
