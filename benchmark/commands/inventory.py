"""`bench list` and `bench doctor`: what can be measured, and what of it runs on this machine."""

import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from benchmark import plugins, registry
from benchmark.answer import Answer, Column
from benchmark.codec import CodecInfo
from benchmark.errors import BadOption, BenchError, Reason, Unavailable, UnknownName
from benchmark.measure.request import Request
from benchmark.metrics.metric import lacking, protocol_of, read_reason
from benchmark.option import ARGUMENT, opt, some
from benchmark.rows.edition import short_version
from benchmark.rows.packs.pack import shipped_packs, with_variant
from benchmark.spec import codec_class, load_codec, parameters_of, parse_codec, resolve
from benchmark.system.digest import cache_folder
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.rows.intact import Verified


KINDS = "codecs", "datasets", "metrics"
OWN_CLASS, OWN_FUNCTION = "./file.py:Class", "./file.py:function"
OWN = {
    "codecs": {OWN_CLASS: "a codec of your own"},
    "datasets": {"path/to/images": "any folder", OWN_FUNCTION: "a dataset of your own"},
    "metrics": {OWN_CLASS: "a metric of your own"},
}


def examine(kind: str, data_dir: Path | None = None, loaded: bool = True) -> list[dict[str, Any]]:
    """Return a record for each codec, dataset or metric of the registry and of plugins.

    state: "ready", "pack" (its recorded streams stand in), "options" (it needs some) or "missing".
    what: version, place or protocol, else what it needs; lacks: where it is missing, the command
    that brings it, or the reason. loaded: construct metrics, instead of looking for their weights.
    """
    look: Mapping[str, Callable[[str], dict[str, Any]]] = {
        "codecs": _of_codec,
        "datasets": partial(_of_dataset, data_dir=data_dir),
        "metrics": partial(_of_metric, loaded=loaded),
    }
    titles = _titles(kind) | _plugins(kind)
    return [_record(name, title, **_attempt(name, look[kind])) for name, title in titles.items()]


def _record(name: str, title: str, **facts: Any) -> dict[str, Any]:
    unknown = {"state": "", "what": "", "licence": "", "lacks": "", "reason": Reason("")._asdict()}
    return {"name": name, "title": title, **unknown, **facts}


def _titles(kind: str) -> dict[str, str]:
    if kind == "codecs":
        modules = {name: target.partition(":")[0] for name, target in registry.CODECS.items()}
        alone = {module for module, count in Counter(modules.values()).items() if count == 1}
        titles = {
            name: _title(target, of_module=modules[name] in alone)
            for name, target in registry.CODECS.items()
        }
        return titles | {name: f"short for {text}" for name, text in registry.ALIASES.items()}
    if kind == "datasets":
        return {
            name: _title(target).removeprefix("Open the ").removeprefix("Open ")
            for name, target in registry.DATASETS.items()
        }
    titles = {name: _title(target) for name, target in registry.METRICS.items()}
    of_sets = registry.DISTRIBUTION_METRICS.items()
    return titles | {name: f"of whole datasets: {_title(target)}" for name, target in of_sets}


def _title(target: str, of_module: bool = False) -> str:
    """Return the first sentence of the docstring of `module:object`, or of the module."""
    try:
        what = import_module(target.partition(":")[0]) if of_module else registry.imported(target)
    except Exception:  # a broken library, of which `_attempt` says more
        return ""
    text = what.__doc__ or ""
    return text.partition("\n\n")[0].partition(";")[0].replace("\n", " ").rstrip(".")


def _of_metric(name: str, loaded: bool) -> dict[str, Any]:
    if absent := lacking([name], loaded=loaded):
        reason, sentence = read_reason(absent[name])
        return _missing(sentence, reason)
    return {"state": "ready", "what": protocol_of(name) if loaded else ""}


def _of_dataset(name: str, data_dir: Path | None) -> dict[str, Any]:
    from benchmark.datasets.dataset import open_dataset

    images = open_dataset(name, data_dir).images
    count = counted(len(images), "image")
    return {"state": "ready", "what": f"{count} in {images[0].path.parent}"}


def imaging_library() -> str:
    """Return name, version and libjpeg of what `import PIL` finds: Pillow or pillow-simd."""
    import PIL
    from PIL import features

    name = "pillow-simd" if ".post" in PIL.__version__ else "Pillow"  # it is a post-release
    turbo = features.version("libjpeg_turbo")
    jpeg = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    return f"{name} {PIL.__version__} with {jpeg}"


def examine_machine(data_dir: Path | None = None) -> list[tuple[str, str]]:
    """Return (name, fact) of machine, libraries that decide numbers, and folders used."""
    from benchmark.datasets.dataset import data_folders
    from benchmark.system.machine import machine
    from benchmark.system.settings import weight_folders

    def places(folders: list[Path]) -> str:
        return ", ".join(f"{folder}{'' if folder.exists() else ' (absent)'}" for folder in folders)

    return [
        ("processor", machine()),
        ("memory", _memory()),
        ("system", platform.platform()),
        ("Python", f"{platform.python_version()}, {sys.executable}"),
        ("PIL", imaging_library()),
        ("torch", _torch()),
        ("weights", places(weight_folders())),
        ("datasets", places(data_folders(data_dir))),
        ("cache", places([cache_folder()])),
    ]


def _plugins(kind: str) -> dict[str, str]:
    offered = plugins.installed().items()
    brought = {name: plugin for name, plugin in offered if registry.is_brought(name)}
    return {name: f"of {p.package}" for name, p in brought.items() if f"{p.kind}s" == kind}


def _memory() -> str:
    if sys.platform == "win32":
        return "unknown"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"


def _of_codec(name: str) -> dict[str, Any]:
    spec = resolve(parse_codec(name))[0]
    codec = load_codec(spec)
    try:
        info: CodecInfo = codec.describe()
    except Unavailable as missing:
        pack = with_variant(shipped_packs(), spec)
        if pack is None:
            raise
        info = pack.infos[spec]
        images = {image_sha256 for of, image_sha256, *_ in pack.rows if of == spec}
        count = counted(len(images), "image")
        what = f"{info.version} of {count}, from {pack.path}; for others, {missing}"
        return {"state": "pack", "what": what, "licence": info.licence}
    caveat = f" ({info.caveat})" if info.caveat else ""
    what = f"{short_version(info.version)}{caveat}"
    return {"state": "ready", "what": what, "licence": info.licence}


def _attempt(name: str, look: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    try:
        return look(name)
    except BadOption as error:
        return {"state": "options", "what": str(error)}
    except BenchError as error:
        return _missing(str(error), error.reason or Reason(""))
    except Exception as error:  # a broken library is what a doctor is called for
        return _missing(f"it is broken: {type(error).__name__}: {error}", Reason(""))


def _missing(what: str, reason: Reason) -> dict[str, Any]:
    kind, subject, remedy = reason
    lacks = remedy or (f"{kind} {subject}" if subject else what)
    return {"state": "missing", "what": what, "lacks": lacks, "reason": reason._asdict()}


def _torch() -> str:
    """Describe torch's build by its version alone: importing torch takes seconds."""
    from benchmark.system.settings import GPU_MARKS

    try:
        build = version("torch")
    except PackageNotFoundError:
        return "not installed"
    if not any(Path(mark).exists() for mark in GPU_MARKS):
        return f"{build}; no GPU"
    usable = not build.endswith("+cpu")
    uses = "a GPU, for networks of codecs, metrics and training"
    return f"{build}; " + (uses if usable else "there is a GPU that this build cannot use")


def described(name: str) -> Answer:
    """Describe a codec, metric or dataset: its text, options with defaults, and settings.

    Raises `UnknownName` for no name of these.
    """
    metrics = {**registry.METRICS, **registry.DISTRIBUTION_METRICS}
    values: dict[str, Any] = {}
    settings: tuple[str, ...] = ()
    if name in metrics or name in registry.DATASETS:
        target = metrics[name] if name in metrics else registry.DATASETS[name]
        made = registry.imported(target)
    else:
        known = [*registry.CODECS, *registry.ALIASES, *registry.DATASETS, *metrics]
        if name.partition(":")[0] not in known and not registry.is_brought(name):
            raise UnknownName("codec, dataset or metric", name, known)
        spec = parse_codec(name)
        made, stated = codec_class(spec), dict(spec.options)
        for key, of in parameters_of(spec, made).items():
            values[key] = stated.get(key, "" if of.default is of.empty else of.default)
        sweep = getattr(made, "sweep", ())  # lowest rate first
        settings = tuple(map(str, sweep)) if isinstance(sweep, tuple) else ()
    text = getdoc(made) or ""
    options = ", ".join(f"{key}={value}" for key, value in values.items())
    lists = {"options": options, "settings": ", ".join(settings)}
    summary = "\n".join(f"{kind}: {names}" for kind, names in lists.items() if names)
    facts = {"name": name, "text": text, "options": values, "settings": settings}
    return Answer((), (), summary, facts=facts, title=f"{name}: {text}")


def list_(
    names: Annotated[
        tuple[str, ...],
        opt(ARGUMENT, "Describe these, with options.", value="NAME", many="repeated"),
    ] = (),
) -> list[Answer]:
    """List codecs, datasets and metrics, each with a title and what it lacks here.

    A codec is ready, in a pack (its recorded streams stand in), or needs options. `bench doctor`
    has versions, licences and whole reasons.

    Examples:
      bench list
      bench list avif vtm ms_ssim
      bench list --json
    """
    if not names:
        columns = [*map(Column, ("name", "state", "title", "lacks"))]
        answers = []
        for kind in KINDS:
            own = [_record(name, title) for name, title in OWN[kind].items()]
            records = [*examine(kind, loaded=False), *own]
            answers.append(Answer(records, columns, facts={"kind": kind}, title=kind))
        return answers
    return [*map(described, names)]


def doctor(
    request: Annotated[Request, some("data_dir weights_dir")],
    results: Annotated[
        Path | None, opt(ARGUMENT, "Folder of results to verify instead.", value="RESULTS")
    ] = None,
) -> list[Answer]:
    """Say which codecs, metrics and datasets can be used here, and what the others lack.

    With a folder of results, read all of it instead, and name every shard, stream and record that
    is damaged or missing, with the remedy. Exit code 0, 1 if there is one, 2 for a folder without
    results.

    Examples:
      bench doctor
      bench doctor results
      bench doctor --data-dir data --weights-dir weights --json
    """
    if results is not None:
        from benchmark.rows.intact import verify_results  # which needs polars

        return [*map(_verified, verify_results(results))]
    request.use_folders()
    columns = [*map(Column, ("name", "state", "what", "licence"))]
    machine = [{"name": name, "what": fact} for name, fact in examine_machine(request.data_dir)]
    parts = {"machine": machine} | {kind: examine(kind, request.data_dir) for kind in KINDS}
    return [
        Answer(records, columns, facts={"kind": kind}, title=kind)
        for kind, records in parts.items()
    ]


def _verified(of: "Verified") -> Answer:
    """Return what is wrong with the results of a dataset."""
    state = "something is damaged" if of.wrong else "all is whole"
    pictures = f", {counted(of.pictures, 'picture')}" if of.pictures else ""
    title = (
        f"{of.dataset}: {of.shards} shards, {of.streams} streams{pictures} and {of.records} "
        f"records read; {state}"
    )
    facts = {**of._asdict(), "wrong": of.wrong}
    del facts["findings"]
    facts["run_records"] = facts.pop("records")
    records = [finding._asdict() for finding in of.findings]
    columns = [*map(Column, ("state", "path", "what", "remedy"))]
    return Answer(records, columns, facts=facts, title=title, code=int(of.wrong))
