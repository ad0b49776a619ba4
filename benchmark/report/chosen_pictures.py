"""Stored rows whose decoded pictures are asked for: by codec, image, setting or rate."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow.compute as pc

from benchmark.analysis.comparable import label_of, told_names
from benchmark.analysis.match import FARTHEST, nearest
from benchmark.analysis.stored import rows_of_codecs
from benchmark.codec import Setting
from benchmark.codec_spec import CodecSpec
from benchmark.errors import UnknownName, UsageError
from benchmark.packs.contents import DatasetContents, why_no_stream
from benchmark.plan.select import parse_points
from benchmark.registry import ALIASES, NULL
from benchmark.rows.editions import newest_rows
from benchmark.rows.named_code import why_not_run

StoredRow = Mapping[str, Any]

NAMES_TOLD = 30
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
    row: StoredRow

    @property
    def setting(self) -> Setting:
        """The point of the codec's rate control."""
        return Setting(self.row["setting_name"], self.row["setting_value"])

    @property
    def image(self) -> str:
        """The image's name without its file's suffix."""
        return stem(self.row["image"])


class ChosenPictures(NamedTuple):
    """Pictures that can be decoded, and those asked for that cannot, with reasons."""

    pictures: tuple[StoredPicture, ...]
    absent: Mapping[str, int]  # number of pictures by reason, a sentence without its full stop


def choose_pictures(contents: DatasetContents, name: str, choice: PictureChoice) -> ChosenPictures:
    """Choose rows of each codec variant's newest build, ordered by image, codec and setting.

    name: of the dataset, or of a part of it such as clic2020:mobile. Raises `UsageError` for what
    no row has: another codec, image, setting or value.
    """
    rows = _rows(contents, name, choice)
    rows = _of_images(rows, choice)
    rows = _at_points(rows, choice)
    absent: dict[str, int] = {}
    kept = []
    for one in rows:
        if one.row["status"] != "ok":
            absent[FAILED] = absent.get(FAILED, 0) + 1
        elif not contents.codecs.may_run(_spec(one)):
            why = why_not_run(_spec(one))
            absent[why] = absent.get(why, 0) + 1
        else:
            kept.append(one)
    rows = kept
    if choice.bpp is not None:
        rows, far = _of_rate(rows, contents, choice.bpp)
        if far:
            reason = f"no stored rate within a factor of {FARTHEST:g} of {choice.bpp:g} bpp"
            absent[f"{reason} ({_listed(far)})"] = len(far)
    lacking = [one for one in rows if not contents.has_picture(one.row)]
    for recorded in (True, False):
        these = [one for one in lacking if bool(one.row["recorded"]) == recorded]
        if these:
            absent[_why(these, choice)] = len(these)
    return ChosenPictures(tuple(one for one in rows if contents.has_picture(one.row)), absent)


def rates(pictures: Iterable[StoredPicture]) -> dict[str, str]:
    """Return the settings and rates of pictures by codec variant, in words."""
    by_label: dict[str, list[StoredPicture]] = defaultdict(list)
    for one in pictures:
        by_label[one.label].append(one)
    found = {}
    for label, these in by_label.items():
        settings = sorted({one.setting for one in these})
        bpp = [one.row["bpp"] for one in these]
        told = ", ".join(map(str, settings))
        span = f"{min(bpp):.3f}" + (f" to {max(bpp):.3f}" if len(bpp) > 1 else "")
        found[label] = f"{span} bpp at {told}"
    return found


def stem(image: str) -> str:
    """Return an image's name without its file's suffix.

    >>> stem("mobile/IMG_1.v2.png"), stem("kodim03")
    ('mobile/IMG_1.v2', 'kodim03')
    """
    return str(PurePosixPath(image).with_suffix(""))


def _rows(contents: DatasetContents, name: str, choice: PictureChoice) -> list[StoredPicture]:
    codecs, subset = choice.codecs, name.partition(":")[2]
    table = contents.table.take(newest_rows(contents.table).index)
    if codecs == "all" and table.num_rows:
        table = table.filter(pc.not_equal(table["codec"], NULL))
    table = rows_of_codecs(table, codecs, subset)
    if table.num_rows == 0:
        raise UsageError(
            f"{contents.store.folder} has no rows of {name}: measure some with `bench run`"
        )
    rows = [StoredPicture(label_of(one["codec"], one["variant"]), one) for one in table.to_pylist()]
    return sorted(
        rows, key=lambda one: (one.row["image"], one.label, *one.setting, one.row["cell"])
    )


def _of_images(rows: Sequence[StoredPicture], choice: PictureChoice) -> list[StoredPicture]:
    names = list(dict.fromkeys(one.row["image"] for one in rows))
    wanted = set(names[: choice.limit])
    if choice.images:
        known = {stem(name): name for name in names} | {name: name for name in names}
        for name in choice.images:
            if name not in known:
                near = get_close_matches(name, known, n=5)
                few = [stem(one) for one in names] if len(names) <= NAMES_TOLD else near
                raise UnknownName("image with results", name, few)
        wanted = {known[name] for name in choice.images[: choice.limit]}
    return [one for one in rows if one.row["image"] in wanted]


def _at_points(rows: Sequence[StoredPicture], choice: PictureChoice) -> list[StoredPicture]:
    points = parse_points(choice.points)
    for (codec, setting), values in points.items():
        of_codec = [one.setting for one in rows if codec in _names(one)]
        if not of_codec:
            told = (told_names(one.row["codec"], one.row["variant"]) for one in rows)
            raise UnknownName("codec with results", codec, set().union(*told))
        stored = {one.value for one in of_codec if one.name == setting}
        if not stored:
            raise UnknownName(f"setting of {codec}", setting, {one.name for one in of_codec})
        for value in values:
            if value not in stored:
                known = ", ".join(f"{one:g}" for one in sorted(stored))
                raise UsageError(f"{codec} has no results at {setting}={value:g}, but at {known}")
    kept = []
    for one in rows:
        own = [key for key in points if key[0] in _names(one)]
        asked = {value for key in own if key[1] == one.setting.name for value in points[key]}
        if one.setting.value in asked or not (own or (points and choice.codecs == "all")):
            kept.append(one)
    return kept


def _of_rate(
    rows: Sequence[StoredPicture], contents: DatasetContents, bpp: float
) -> tuple[list[StoredPicture], list[StoredPicture]]:
    """Return the nearest pictures of each image and codec, and those whose nearest is far off.

    Rows without a stream count only where the codec and image have none near the rate that has one.
    """
    groups: dict[str, dict[str, list[StoredPicture]]] = defaultdict(lambda: defaultdict(list))
    for one in rows:
        groups[one.row["image"]][_spec(one).text].append(one)
    kept, far = [], []
    for of_image in groups.values():
        by_cell = {one.row["cell"]: one for ones in of_image.values() for one in ones}
        every = {spec: [one.row for one in ones] for spec, ones in of_image.items()}
        with_stream = {
            spec: kept_rows
            for spec, rows_of_spec in every.items()
            if (kept_rows := [row for row in rows_of_spec if contents.has_picture(row)])
        }
        found, _ = nearest(with_stream, bpp)
        others, too_far = nearest({spec: every[spec] for spec in every if spec not in found}, bpp)
        kept += [by_cell[row["cell"]] for row in (*found.values(), *others.values())]
        far += [of_image[spec][0] for spec in too_far]
    return kept, far


def _why(these: Sequence[StoredPicture], choice: PictureChoice) -> str:
    specs = {one.label if one.label in ALIASES else _spec(one).text for one in these}
    options = "".join(f" --points {text}" for text in choice.points)
    recorded = bool(these[0].row["recorded"])
    return why_no_stream(recorded, sorted(specs), choice.dataset, options)


def _listed(these: Iterable[StoredPicture]) -> str:
    return ", ".join(sorted({one.label for one in these}))


def _spec(one: StoredPicture) -> CodecSpec:
    return CodecSpec.of(one.row["codec"], one.row["variant"])


def _names(one: StoredPicture) -> set[str]:
    return {one.row["codec"], one.label, _spec(one).text}
