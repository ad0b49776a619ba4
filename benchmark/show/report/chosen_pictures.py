"""Stored rows whose decoded pictures are asked for: by codec, image, setting or rate."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from polars import col

from benchmark.codec import Setting
from benchmark.compare.match import FARTHEST
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import facts_of
from benchmark.measure.request import parse_points
from benchmark.registry import ALIASES, CODECS
from benchmark.rows.codecs import why_no_stream, why_not_run
from benchmark.rows.comparable import shown
from benchmark.rows.packs.contents import DatasetContents
from benchmark.rows.stored import rows_of_codecs
from benchmark.rows.systems import known_names, label_of
from benchmark.rows.variants import measured_place
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key

MOST_NAMES = 30  # in a message
FAILED = "they failed when they were measured; `bench report` has the reasons"


class PictureChoice(NamedTuple):
    """Pictures that are asked for; what is not given restricts nothing."""

    dataset: str  # as `bench run` takes it: a name, or a folder of images
    codecs: str = "all"  # comma-separated names or labels; "all" leaves out `raw`
    images: tuple[str, ...] = ()  # names, with or without their files' suffix
    limit: int | None = None  # only the first images by name
    points: tuple[str, ...] = ()  # `parse_points`; with codecs "all", only codecs with a point
    bpp: float | None = None  # of each codec and image, the setting of the nearest rate alone


class StoredPicture(NamedTuple):
    """A row and the label of its codec variant in tables and figures."""

    label: str
    row: Mapping[str, Any]

    @property
    def setting(self) -> Setting:
        """The point of the codec's rate control."""
        return Setting(self.row["setting_name"], self.row["setting_value"])

    @property
    def spec(self) -> CodecSpec:
        """The codec variant."""
        return CodecSpec.of_row(self.row)

    @property
    def image(self) -> str:
        """The image's name without its file's suffix."""
        return stem(self.row["image"])


class ChosenPictures(NamedTuple):
    """Pictures that can be decoded, and those asked for that cannot, with reasons."""

    pictures: tuple[StoredPicture, ...]
    absent: Mapping[str, int]  # number of pictures by reason, a sentence without its full stop


def choose_pictures(contents: DatasetContents, name: str, choice: PictureChoice) -> ChosenPictures:
    """Choose rows of each codec variant's edition, ordered by image, codec and setting.

    name: of the dataset, or of a part of it such as clic2020:mobile. Raises `UsageError` for what
    no row has: another codec, image, setting or value.
    """
    asked = _at_points(_of_images(_rows(contents, name, choice), choice), choice)
    absent: Counter[str] = Counter()
    kept = []
    for picture in asked:
        if picture.row["status"] != "ok":
            absent[FAILED] += 1
        elif not contents.codecs.decoder_of(picture.spec):
            absent[why_not_run(picture.spec)] += 1
        else:
            kept.append(picture)
    if choice.bpp is not None:
        kept, far = _of_rate(kept, contents, choice.bpp)
        if far:
            labels = ", ".join(sorted({picture.label for picture in far}))
            reason = f"no stored rate within a factor of {FARTHEST:g} of {choice.bpp:g} bpp"
            absent[f"{reason} ({labels})"] = len(far)
    place = measured_place(contents.store.folder.parent, choice.dataset)
    lacking = [picture for picture in kept if not contents.has_picture(picture.row)]
    for recorded in (True, False):
        mine = [picture for picture in lacking if bool(picture.row["recorded"]) == recorded]
        if mine:
            specs = {p.label if p.label in ALIASES else p.spec.text for p in mine}
            why = why_no_stream(recorded, sorted(specs), place, choice.points)
            absent[why] = len(mine)
    return ChosenPictures(tuple(p for p in kept if contents.has_picture(p.row)), absent)


def rates(pictures: Iterable[StoredPicture]) -> dict[str, str]:
    """Return the settings and rates of pictures by codec variant, in words."""
    result = {}
    for label, alike in by_key((picture.label, picture) for picture in pictures).items():
        bpp = [picture.row["bpp"] for picture in alike]
        span = f"{min(bpp):.3f}" + (f" to {max(bpp):.3f}" if len(bpp) > 1 else "")
        settings = ", ".join(map(str, sorted({picture.setting for picture in alike})))
        result[label] = f"{span} bpp at {settings}"
    return result


def stem(image: str) -> str:
    """Return an image's name without its file's suffix.

    >>> stem("mobile/IMG_1.v2.png"), stem("kodim03")
    ('mobile/IMG_1.v2', 'kodim03')
    """
    return str(PurePosixPath(image).with_suffix(""))


def _rows(contents: DatasetContents, name: str, choice: PictureChoice) -> list[StoredPicture]:
    table = contents.table
    if choice.codecs == "all":
        null = [name for name in CODECS if facts_of(CodecSpec(name, ())).null]
        table = table.filter(~col("codec").is_in(null))
    table = shown(rows_of_codecs(table, choice.codecs, name.partition(":")[2]))
    if table.height == 0:
        raise UsageError(
            f"{contents.store.folder} has no rows of {name}: measure some with `bench run`"
        )
    rows = [
        StoredPicture(label_of(row["codec"], row["variant"]), row) for row in table.rows(named=True)
    ]
    return sorted(rows, key=lambda it: (it.row["image"], it.label, *it.setting, it.row["cell"]))


def _of_images(rows: Sequence[StoredPicture], choice: PictureChoice) -> list[StoredPicture]:
    names = list(dict.fromkeys(picture.row["image"] for picture in rows))
    known = {stem(name): name for name in names} | {name: name for name in names}
    for name in choice.images:
        if name not in known:
            near = get_close_matches(name, known, n=5)
            few = [*map(stem, names)] if len(names) <= MOST_NAMES else near
            typed = [known.replace(",", r"\,") for known in few]
            raise UnknownName("image with results", name, typed)
    wanted = ([known[name] for name in choice.images] or names)[: choice.limit]
    return [picture for picture in rows if picture.row["image"] in wanted]


def _at_points(rows: Sequence[StoredPicture], choice: PictureChoice) -> list[StoredPicture]:
    points = parse_points(choice.points)
    named = [(row, {row.row["codec"], row.label, row.spec.text}) for row in rows]
    for (codec, setting), values in points.items():
        of_codec = [row.setting for row, names in named if codec in names]
        if not of_codec:
            variants = ((row.row["codec"], row.row["variant"]) for row in rows)
            raise UnknownName("codec with results", codec, known_names(variants))
        stored = {known.value for known in of_codec if known.name == setting}
        if not stored:
            raise UnknownName(f"setting of {codec}", setting, {known.name for known in of_codec})
        for value in values:
            if value not in stored:
                at = ", ".join(f"{known:g}" for known in sorted(stored))
                raise UsageError(f"{codec} has no results at {setting}={value:g}, but at {at}")
    kept = []
    for row, names in named:
        own = [key for key in points if key[0] in names]
        asked = {value for key in own if key[1] == row.setting.name for value in points[key]}
        if row.setting.value in asked or not (own or (points and choice.codecs == "all")):
            kept.append(row)
    return kept


def _of_rate(
    rows: Sequence[StoredPicture], contents: DatasetContents, bpp: float
) -> tuple[list[StoredPicture], list[StoredPicture]]:
    """Return the nearest pictures of each image and codec, and those whose nearest is far off.

    Rows without a stream count only where the codec and image have none near the rate that has one.
    """

    def distance(picture: StoredPicture) -> tuple[bool, float]:
        ratio = abs(math.log(picture.row["bpp"] / bpp))
        return ratio > math.log(FARTHEST) or not contents.has_picture(picture.row), ratio

    groups = by_key(((picture.row["image"], picture.spec.text), picture) for picture in rows)
    nearest = [min(group, key=distance) for group in groups.values()]
    near: list[StoredPicture] = []
    far: list[StoredPicture] = []
    for picture in nearest:
        (far if distance(picture)[1] > math.log(FARTHEST) else near).append(picture)
    return near, far
