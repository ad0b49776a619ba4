"""Codecs and runs that rows name: which codecs may run; records and ids of runs.

Stored rows never start a program or a Python file, not even as `base` of another codec: a variant
with such code runs only if `--codecs` gives its complete spec.
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
from benchmark.registry import ALIASES, USUAL_METRICS
from benchmark.rows.edition import Edition
from benchmark.rows.names import is_named
from benchmark.spec import SEED, CodecSpec, parse_codec, refers_to_code, resolve, split_codecs
from benchmark.system.machine import commit, machine
from benchmark.system.text import bench_command

if TYPE_CHECKING:
    import polars as pl

ALL = "all"


class NamedCodecs:
    """Codecs that a command names: comma-separated specs or labels, or "all"."""

    def __init__(self, codecs: str = ALL) -> None:
        self._texts = set(split_codecs(codecs))
        self._specs: dict[CodecSpec, CodecSpec] = {}  # specs as typed, by identity
        self._is_selected: dict[Edition, bool] = {}
        for text in self._texts - {ALL}:
            with suppress(BenchError):  # a label, or a missing file
                spec = parse_codec(text)
                variants = resolve(spec) if refers_to_code(spec) or text in ALIASES else ()
                self._specs |= {variant.identity: variant for variant in (spec, *variants)}

    def select(self, edition: Edition) -> bool:
        """Return whether an edition is among the named codecs; see `rows.names`."""
        if edition not in self._is_selected:  # `select` is called for each row
            is_listed = ALL in self._texts or edition.spec in self._specs
            is_selected = is_listed or any(is_named(edition, text) for text in self._texts)
            self._is_selected[edition] = is_selected
        return self._is_selected[edition]

    def may_run(self, spec: CodecSpec) -> bool:
        """Return whether a stored variant may run: code must be named; its seed may be omitted."""
        return not refers_to_code(spec) or not {spec, spec.remove_options([SEED])}.isdisjoint(
            self._specs
        )

    def complete(self, spec: CodecSpec) -> CodecSpec:
        """Return a stored variant with further options from the command."""
        return self._specs.get(spec, spec).with_all_options

    def find_decoder(self, spec: CodecSpec) -> CodecSpec | None:
        """Return the codec that decodes a variant's streams (its file may have moved), or None."""
        if self.may_run(spec):
            return spec
        seed_options = [pair for pair in spec.options if pair[0] == SEED]
        for candidate in self._specs:
            candidate_with_seed = (
                candidate
                if SEED in dict(candidate.options)
                else candidate.add_options(seed_options)
            )
            if refers_to_code(candidate) and candidate_with_seed.label == spec.label:
                return candidate_with_seed
        return None

    def selects_to_run(self, row: Mapping[str, Any]) -> bool:
        """Return whether the codec of a row (columns codec and variant) is selected and may run."""
        edition = Edition.parse_row(row)
        return self.select(edition) and self.may_run(edition.spec)

    def count_refused(self, rows: "pl.DataFrame") -> dict[str, int]:
        """Return the number of rows of each selected variant that may not run, by spec."""
        counts: dict[str, int] = {}
        for row in rows.group_by("codec", "variant").len().rows(named=True):
            with suppress(BadOption):  # an invalid spec cannot be loaded at all
                edition = Edition.parse_row(row)
                if self.select(edition) and not self.may_run(edition.spec):
                    counts[edition.spec.text] = row["len"]
        return dict(sorted(counts.items()))


def explain_refusal(spec: CodecSpec) -> str:
    """Return a clause on why `NamedCodecs.may_run` refuses a stored variant."""
    return f"'{spec.text}' is code named by rows: it runs only if --codecs gives its full spec"


def explain_missing_stream(
    recorded: bool, codecs: Iterable[str], dataset: str, points: Iterable[str] = ()
) -> str:
    """Return a clause on why rows have no stream, and which command makes one.

    recorded: whether the rows were measured elsewhere. points: option of `bench run`.

    >>> explain_missing_stream(True, ["webp"], "kodak")
    'no stream came with the numbers; `bench run --codecs webp --dataset kodak` makes it here'
    >>> explain_missing_stream(False, ["webp"], "my photos").partition("; ")[2]
    "`bench run --codecs webp --dataset 'my photos' --results again` makes it again"
    """
    options = {"codecs": ",".join(codecs), "dataset": dataset, "points": [*points]}
    if recorded:
        return f"no stream came with the numbers; `{bench_command('run', **options)}` makes it here"
    command = bench_command("run", **options, results="again")
    return f"the stream was not kept; `{command}` makes it again"


def rerun_command(record: Mapping[str, Any], **replacements: Any) -> str:
    """Return the `bench run` command of a run's record; `replacements`: fields of its request.

    >>> rerun_command({"request": {"codecs": ["webp"], "dataset": "kodak", "limit": 3}}, limit=None)
    'bench run --codecs webp --dataset kodak'
    """
    stored_request = record.get("request")
    request = {**(stored_request if isinstance(stored_request, dict) else {}), **replacements}
    options = {name: request.get(name) for name in (*REQUEST_FIELDS, *MANNER_FIELDS)}
    if [*(options["metrics"] or ())] == [*USUAL_METRICS]:
        options["metrics"] = ()
    for name, value in options.items():
        if isinstance(value, list | tuple) and name != "points":
            options[name] = ",".join(map(str, value))
    if options.get("results") == "results":
        options["results"] = ""
    return bench_command("run", **options)


ALL_CODECS = NamedCodecs()  # every codec, except code that only rows name


PACKAGES = (
    "rdrbench", "numpy", "pillow", "pillow-simd", "imagecodecs", "imageio-ffmpeg", "torch",
    "compressai", "lpips", "polars", "scikit-image", "scipy",
)  # fmt: skip
RUN_TIME = "%Y%m%dT%H%M%S"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # matches names of runs and datasets, not paths
REQUEST_FIELDS = (
    *("codecs", "dataset", "points", "limit", "part", "draws", "target"),
    "results",
)
MANNER_FIELDS = ("metrics", "data_dir", "flatten")  # parts of one run may differ in these
DIGITS = 6  # hexadecimal digits at the end of an image folder's results name


def new_run_id(folder: Path) -> str:
    """Return a run id that sorts after all runs in a store's folder, even if the clock is wrong."""
    time = datetime.now(UTC)
    for path in (folder / "runs").glob("*.json"):
        with suppress(ValueError, OverflowError):
            run_time = datetime.strptime(path.stem.partition("-")[0], RUN_TIME).replace(tzinfo=UTC)
            time = max(time, run_time + timedelta(seconds=1))
    return f"{time:{RUN_TIME}}-{secrets.token_hex(4)}"


def run_record(arguments: list[str], **facts: Any) -> dict[str, Any]:
    """Return a run's record with facts about this process, JSON values only."""
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": arguments,
        "commit": commit(),
        "machine": machine(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: _package_version(name) for name in PACKAGES},
        **facts,
    }


def _package_version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, distribution

    with suppress(PackageNotFoundError):
        package_metadata = distribution(package)
        match = re.search(
            r"^Version: (\S+)$", package_metadata.read_text("METADATA") or "", re.MULTILINE
        )
        return match[1] if match else package_metadata.version  # slower: parses all metadata
    return None


def folder_store_name(
    title: str,
    images: Collection[str],
    stores: Mapping[str, Path],
    files: Iterable[tuple[str, int]],
) -> str:
    """Return the name of a folder of images in results: "holiday-1a2b3c".

    title: the folder's name. images: sha256 of the pixels of some or all images. stores: results
    folders by name. files: name and size in bytes of every image.

    Existing results belong to the folder if their name begins with its title and they have at
    least half of the images of the smaller set in common; the largest share decides.
    Otherwise, digits of a sha256 of `files` complete the title.
    """
    from benchmark.rows.store import Store  # imports polars, unneeded by workers

    folder_images = set(images)
    name_pattern = re.compile(rf"{re.escape(title)}-[0-9a-f]{{{DIGITS}}}")
    store_images = {
        name: Store(stores[name]).images()
        for name in sorted(stores)
        if name_pattern.fullmatch(name)
    }
    shares = {
        name: len(folder_images & stored_images) / len(folder_images | stored_images)
        for name, stored_images in store_images.items()
        if folder_images & stored_images
        and 2 * len(folder_images & stored_images) >= min(len(folder_images), len(stored_images))
    }
    if shares:
        return max(shares, key=shares.__getitem__)
    listing = "".join(f"{name} {size}\n" for name, size in sorted(files))
    while True:
        digest = sha256(listing.encode(errors="surrogateescape")).hexdigest()
        name = f"{title}-{digest[:DIGITS]}"
        if not store_images.get(name):  # a folder without rows is used again
            return name
        listing += "\n"  # different images with the same names and sizes
