"""Codecs and runs that rows name: which codecs may run at a command; records and ids of runs.

Stored rows start no program (`command`) and no Python file (`path.py:Class`), whoever measured them
and also as `base` of another codec: such a variant runs where `--codecs` names it in full.
"""

import platform
import re
import secrets
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BadOption, BenchError
from benchmark.registry import ALIASES
from benchmark.rows.edition import Edition
from benchmark.rows.names import is_named
from benchmark.spec import SEED, CodecSpec, names_code, parse_codec, resolve, split_codecs
from benchmark.system.machine import commit, machine
from benchmark.system.text import bench_command

if TYPE_CHECKING:
    import polars as pl

ALL = "all"


class NamedCodecs:
    """The codecs that a command names: comma-separated specs or labels, or "all"."""

    def __init__(self, codecs: str = ALL) -> None:
        self._texts = set(split_codecs(codecs))
        self._specs: dict[CodecSpec, CodecSpec] = {}  # as named, by identity
        self._selected: dict[Edition, bool] = {}
        for text in self._texts - {ALL}:
            with suppress(BenchError):  # a label, or a file that is not here
                spec = parse_codec(text)
                variants = resolve(spec) if names_code(spec) or text in ALIASES else ()
                self._specs |= {variant.identity: variant for variant in (spec, *variants)}

    def select(self, edition: Edition) -> bool:
        """Return whether an edition is among those named: see `rows.names`."""
        if edition not in self._selected:  # it is asked for each row
            is_here = ALL in self._texts or edition.spec in self._specs
            named = is_here or any(is_named(edition, text) for text in self._texts)
            self._selected[edition] = named
        return self._selected[edition]

    def may_run(self, spec: CodecSpec) -> bool:
        """Return whether a codec variant that stored rows name may be loaded and run.

        A codec that is named may run with every seed.
        """
        return not names_code(spec) or not {spec, spec.without([SEED])}.isdisjoint(self._specs)

    def complete(self, spec: CodecSpec) -> CodecSpec:
        """Return a variant of stored rows with the options beside it that the command gives."""
        return self._specs.get(spec, spec).complete

    def decoder_of(self, spec: CodecSpec) -> CodecSpec | None:
        """Return the codec that decodes streams of a variant; None where none may run.

        Of a file that rows have by another path it is the file that is named, of the same label.
        """
        if self.may_run(spec):
            return spec
        seed = [pair for pair in spec.options if pair[0] == SEED]
        for of in self._specs:
            seeded = of if SEED in dict(of.options) else of.with_options(seed)
            if names_code(of) and seeded.label == spec.label:
                return seeded
        return None

    def selects_to_run(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row (columns codec and variant) is of a codec to run for this command.

        >>> NamedCodecs("jpeg").selects_to_run({"codec": "jpeg", "variant": "optimize=1"})
        True
        >>> NamedCodecs("command").selects_to_run({"codec": "command", "variant": "decode=rm *"})
        False
        """
        edition = Edition.of_row(row)
        return self.select(edition) and self.may_run(edition.spec)

    def not_run(self, rows: "pl.DataFrame") -> dict[str, int]:
        """Return the number of rows of each selected variant that may not run, by its spec."""
        counts: dict[str, int] = {}
        for row in rows.group_by("codec", "variant").len().rows(named=True):
            with suppress(BadOption):  # it cannot be loaded either
                edition = Edition.of_row(row)
                if self.select(edition) and not self.may_run(edition.spec):
                    counts[edition.spec.text] = row["len"]
        return dict(sorted(counts.items()))


def why_not_run(spec: CodecSpec) -> str:
    """Return the clause on a codec variant of stored rows that `NamedCodecs.may_run` refuses."""
    return f"'{spec.text}' is code that rows name: it runs only where --codecs names it in full"


def why_no_stream(
    recorded: bool, codecs: Iterable[str], dataset: str, points: Iterable[str] = ()
) -> str:
    """Return a sentence on why rows have no stream and what makes one, without its full stop.

    recorded: whether they were measured elsewhere. points: as `bench run` has them.

    >>> why_no_stream(True, ["webp"], "kodak")
    'no stream came with the numbers; `bench run --codecs webp --dataset kodak` makes it here'
    >>> why_no_stream(False, ["webp"], "my photos").partition("; ")[2]
    "`bench run --codecs webp --dataset 'my photos' --results again` makes it again"
    """
    options = {"codecs": ",".join(codecs), "dataset": dataset, "points": [*points]}
    if recorded:
        return f"no stream came with the numbers; `{bench_command('run', **options)}` makes it here"
    again = bench_command("run", **options, results="again")
    return f"the stream was not kept; `{again}` makes it again"


def run_again(record: Mapping[str, Any], **changed: Any) -> str:
    """Return the `bench run` of a run's record, with other values of its request's fields.

    >>> run_again({"request": {"codecs": ["webp"], "dataset": "kodak", "limit": 3}}, limit=None)
    'bench run --codecs webp --dataset kodak'
    """
    asked = record.get("request")
    request = {**(asked if isinstance(asked, dict) else {}), **changed}
    options = {name: request.get(name) for name in AGAIN}
    for name, value in options.items():
        if isinstance(value, list | tuple) and name != "points":
            options[name] = ",".join(map(str, value))
    if options.get("results") == "results":
        options["results"] = ""
    return bench_command("run", **options)


EVERY = NamedCodecs()  # "all": every codec, and no code that rows name


PACKAGES = (
    "rdrbench", "numpy", "pillow", "pillow-simd", "imagecodecs", "imageio-ffmpeg", "torch",
    "compressai", "lpips", "polars", "scikit-image", "scipy",
)  # fmt: skip
RUN_TIME = "%Y%m%dT%H%M%S"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # of a run or dataset: no path to elsewhere
AGAIN = (
    *("codecs", "dataset", "points", "limit", "part", "draws", "target"),
    "results",
)
DIGITS = 6  # hexadecimal, that complete the name of a folder of images


def new_run_id(folder: Path) -> str:
    """Return an id that sorts after all runs in a store's folder, whatever the clock says."""
    now = datetime.now(UTC)
    for path in (folder / "runs").glob("*.json"):
        with suppress(ValueError, OverflowError):
            run = datetime.strptime(path.stem.partition("-")[0], RUN_TIME).replace(tzinfo=UTC)
            now = max(now, run + timedelta(seconds=1))
    return f"{now:{RUN_TIME}}-{secrets.token_hex(4)}"


def run_record(arguments: list[str], **facts: Any) -> dict[str, Any]:
    """Return facts of this process that readers of its rows may need, json values only."""
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": arguments,
        "commit": commit(),
        "machine": machine(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        **facts,
    }


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, distribution

    with suppress(PackageNotFoundError):
        of = distribution(package)
        line = re.search(r"^Version: (\S+)$", of.read_text("METADATA") or "", re.MULTILINE)
        return line[1] if line else of.version  # which would parse the whole text
    return None


def folder_store_name(
    title: str,
    images: Collection[str],
    stores: Mapping[str, Path],
    files: Iterable[tuple[str, int]],
) -> str:
    """Return the name of the results of a folder of images: "holiday-1a2b3c".

    title: the folder's own name. images: sha256 of the pixels of each image, or of some of them.
    stores: folders of results by name. files: name and size in bytes of every image.

    Results belong to the folder if their name begins with its title, and at least half of the
    images of the folder, or of the results if these have fewer, are in both. Of several, that with
    the largest share of common images is taken; of none, digits of a sha256 of `files` complete the
    title.
    """
    from benchmark.rows.store import Store  # brings polars, which workers do without

    here = set(images)
    own = re.compile(rf"{re.escape(title)}-[0-9a-f]{{{DIGITS}}}")
    known = {name: Store(stores[name]).images() for name in sorted(stores) if own.fullmatch(name)}
    shares = {
        name: len(here & there) / len(here | there)
        for name, there in known.items()
        if here & there and 2 * len(here & there) >= min(len(here), len(there))
    }
    if shares:
        return max(shares, key=shares.__getitem__)
    text = "".join(f"{name} {size}\n" for name, size in sorted(files))
    while True:
        digest = sha256(text.encode(errors="surrogateescape")).hexdigest()
        name = f"{title}-{digest[:DIGITS]}"
        if not known.get(name):  # results without any row are taken up
            return name
        text += "\n"  # other images of the same names and sizes
