"""`bench list` and `bench doctor`: codecs, datasets and metrics, and what is installed."""

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
from benchmark.metrics.metric import protocol_of, read_reason, uncomputable_metrics
from benchmark.option import ARGUMENT, opt, subset
from benchmark.rows.edition import short_version
from benchmark.rows.packs.pack import find_pack, shipped_packs
from benchmark.spec import codec_class, load_codec, parameters_of, parse_codec, resolve
from benchmark.system.digest import cache_folder
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.rows.intact import Verification


REGISTRY_KINDS = "codecs", "datasets", "metrics"
USER_CLASS, USER_FUNCTION = "./file.py:Class", "./file.py:function"
USER_ENTRIES = {
    "codecs": {USER_CLASS: "a codec of your own"},
    "datasets": {"path/to/images": "any folder", USER_FUNCTION: "a dataset of your own"},
    "metrics": {USER_CLASS: "a metric of your own"},
}


def examine(kind: str, data_dir: Path | None = None, loaded: bool = True) -> list[dict[str, Any]]:
    """Return a record for each codec, dataset or metric of the registry and of plugins.

    state: "ready", "pack" (only recorded streams), "options" (it requires some) or "missing".
    lacks: a command that installs it, or the reason. loaded: construct metrics to test them.
    """
    examiners: Mapping[str, Callable[[str], dict[str, Any]]] = {
        "codecs": _examine_codec,
        "datasets": partial(_examine_dataset, data_dir=data_dir),
        "metrics": partial(_examine_metric, loaded=loaded),
    }
    titles = _read_titles(kind) | _plugin_titles(kind)
    return [
        _make_record(name, title, **_attempt(name, examiners[kind]))
        for name, title in titles.items()
    ]


def _make_record(name: str, title: str, **facts: Any) -> dict[str, Any]:
    defaults = {"state": "", "what": "", "licence": "", "lacks": "", "reason": Reason("")._asdict()}
    return {"name": name, "title": title, **defaults, **facts}


def _read_titles(kind: str) -> dict[str, str]:
    if kind == "codecs":
        modules = {name: target.partition(":")[0] for name, target in registry.CODECS.items()}
        single_codec_modules = {
            module for module, count in Counter(modules.values()).items() if count == 1
        }
        titles = {
            name: _read_title(target, from_module=modules[name] in single_codec_modules)
            for name, target in registry.CODECS.items()
        }
        return titles | {name: f"short for {text}" for name, text in registry.ALIASES.items()}
    if kind == "datasets":
        return {
            name: _read_title(target).removeprefix("Open the ").removeprefix("Open ")
            for name, target in registry.DATASETS.items()
        }
    titles = {name: _read_title(target) for name, target in registry.METRICS.items()}
    set_metrics = registry.DISTRIBUTION_METRICS.items()
    return titles | {
        name: f"of whole datasets: {_read_title(target)}" for name, target in set_metrics
    }


def _read_title(target: str, from_module: bool = False) -> str:
    try:
        source = (
            import_module(target.partition(":")[0])
            if from_module
            else registry.import_target(target)
        )
    except Exception:  # a broken library, which `_attempt` describes
        return ""
    text = source.__doc__ or ""
    return text.partition("\n\n")[0].partition(";")[0].replace("\n", " ").rstrip(".")


def _examine_metric(name: str, loaded: bool) -> dict[str, Any]:
    if reasons := uncomputable_metrics([name], loaded=loaded):
        reason, sentence = read_reason(reasons[name])
        return _missing_record(sentence, reason)
    return {"state": "ready", "what": protocol_of(name) if loaded else ""}


def _examine_dataset(name: str, data_dir: Path | None) -> dict[str, Any]:
    from benchmark.datasets.dataset import open_dataset

    images = open_dataset(name, data_dir).images
    count = counted(len(images), "image")
    return {"state": "ready", "what": f"{count} in {images[0].path.parent}"}


def imaging_library() -> str:
    """Return the name of PIL (Pillow or pillow-simd), its version and its libjpeg."""
    import PIL
    from PIL import features

    name = "pillow-simd" if ".post" in PIL.__version__ else "Pillow"  # a post-release of Pillow
    turbo_version = features.version("libjpeg_turbo")
    jpeg_library = (
        f"libjpeg-turbo {turbo_version}" if turbo_version else f"libjpeg {features.version('jpg')}"
    )
    return f"{name} {PIL.__version__} with {jpeg_library}"


def examine_machine(data_dir: Path | None = None) -> list[tuple[str, str]]:
    """Return pairs (name, fact): machine, libraries that affect numbers, and folders."""
    from benchmark.datasets.dataset import data_folders
    from benchmark.system.machine import machine
    from benchmark.system.settings import weight_folders

    def folder_texts(folders: list[Path]) -> str:
        return ", ".join(f"{folder}{'' if folder.exists() else ' (absent)'}" for folder in folders)

    return [
        ("processor", machine()),
        ("memory", _memory()),
        ("system", platform.platform()),
        ("Python", f"{platform.python_version()}, {sys.executable}"),
        ("PIL", imaging_library()),
        ("torch", _torch()),
        ("weights", folder_texts(weight_folders())),
        ("datasets", folder_texts(data_folders(data_dir))),
        ("cache", folder_texts([cache_folder()])),
    ]


def _plugin_titles(kind: str) -> dict[str, str]:
    installed_plugins = plugins.installed().items()
    user_plugins = {
        name: plugin for name, plugin in installed_plugins if registry.is_user_code(name)
    }
    return {
        name: f"of {plugin.package}"
        for name, plugin in user_plugins.items()
        if f"{plugin.kind}s" == kind
    }


def _memory() -> str:
    if sys.platform == "win32":
        return "unknown"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"


def _examine_codec(name: str) -> dict[str, Any]:
    spec = resolve(parse_codec(name))[0]
    codec = load_codec(spec)
    try:
        info: CodecInfo = codec.describe()
    except Unavailable as error:
        pack = find_pack(shipped_packs(), spec)
        if pack is None:
            raise
        info = pack.infos[spec]
        images = {image_sha256 for pack_spec, image_sha256, *_ in pack.rows if pack_spec == spec}
        count = counted(len(images), "image")
        description = f"{info.version}, {count} from {pack.path}; for other images: {error}"
        return {"state": "pack", "what": description, "licence": info.licence}
    caveat = f" ({info.caveat})" if info.caveat else ""
    description = f"{short_version(info.version)}{caveat}"
    return {"state": "ready", "what": description, "licence": info.licence}


def _attempt(name: str, examiner: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    try:
        return examiner(name)
    except BadOption as error:
        return {"state": "options", "what": str(error)}
    except BenchError as error:
        return _missing_record(str(error), error.reason or Reason(""))
    except Exception as error:  # a broken library is reported, not raised
        return _missing_record(f"it is broken: {type(error).__name__}: {error}", Reason(""))


def _missing_record(sentence: str, reason: Reason) -> dict[str, Any]:
    kind, subject, remedy = reason
    hint = remedy or (f"{kind} {subject}" if subject else sentence)
    return {"state": "missing", "what": sentence, "lacks": hint, "reason": reason._asdict()}


def _torch() -> str:
    """Describe torch's build without importing it, which takes seconds."""
    from benchmark.system.settings import GPU_MARKS

    try:
        build = version("torch")
    except PackageNotFoundError:
        return "not installed"
    if not any(Path(mark).exists() for mark in GPU_MARKS):
        return f"{build}; no GPU"
    is_usable = not build.endswith("+cpu")
    use_text = "a GPU for training, and for networks of codecs and metrics"
    return f"{build}; " + (use_text if is_usable else "this build cannot use the GPU")


def describe(name: str) -> Answer:
    """Describe a codec, metric or dataset: options, defaults, settings; may raise `UnknownName`."""
    metrics = {**registry.METRICS, **registry.DISTRIBUTION_METRICS}
    values: dict[str, Any] = {}
    settings: tuple[str, ...] = ()
    if name in metrics or name in registry.DATASETS:
        target = metrics[name] if name in metrics else registry.DATASETS[name]
        implementation = registry.import_target(target)
    else:
        all_names = [*registry.CODECS, *registry.ALIASES, *registry.DATASETS, *metrics]
        if name.partition(":")[0] not in all_names and not registry.is_user_code(name):
            raise UnknownName("codec, dataset or metric", name, all_names)
        spec = parse_codec(name)
        implementation, given_options = codec_class(spec), dict(spec.options)
        for key, parameter in parameters_of(spec, implementation).items():
            values[key] = given_options.get(
                key, "" if parameter.default is parameter.empty else parameter.default
            )
        sweep = getattr(implementation, "sweep", ())  # lowest rate first
        settings = tuple(map(str, sweep)) if isinstance(sweep, tuple) else ()
    text = getdoc(implementation) or ""
    options = ", ".join(f"{key}={value}" for key, value in values.items())
    texts_by_kind = {"options": options, "settings": ", ".join(settings)}
    summary = "\n".join(f"{heading}: {names}" for heading, names in texts_by_kind.items() if names)
    facts = {"name": name, "text": text, "options": values, "settings": settings}
    return Answer((), (), summary, facts=facts, title=f"{name}: {text}")


def list_(
    names: Annotated[
        tuple[str, ...],
        opt(
            ARGUMENT,
            "Codecs, datasets or metrics to describe, with their options.",
            value="NAME",
            value_form="repeated",
        ),
    ] = (),
) -> list[Answer]:
    """List codecs, datasets and metrics, with what is missing to use them.

    State of a codec: ready, pack (only recorded streams), options (it requires some), or missing.
    `bench doctor` shows versions, licences and complete reasons.

    Examples:
      bench list
      bench list avif vtm ms_ssim
      bench list --json
    """
    if not names:
        columns = [*map(Column, ("name", "state", "title", "lacks"))]
        answers = []
        for kind in REGISTRY_KINDS:
            user_records = [_make_record(name, title) for name, title in USER_ENTRIES[kind].items()]
            records = [*examine(kind, loaded=False), *user_records]
            answers.append(Answer(records, columns, facts={"kind": kind}, title=kind))
        return answers
    return [*map(describe, names)]


def doctor(
    request: Annotated[Request, subset("data_dir weights_dir")],
    results: Annotated[
        Path | None,
        opt(ARGUMENT, "Folder of results to verify, instead of the installation.", value="RESULTS"),
    ] = None,
) -> list[Answer]:
    """Show what is installed and what is missing.

    With a folder of results, verifies its files instead, and lists damaged or missing files with
    remedies. Exit code 0; 1: a damaged or missing file; 2: a folder without results.

    Examples:
      bench doctor
      bench doctor results
      bench doctor --data-dir data --weights-dir weights --json
    """
    if results is not None:
        from benchmark.rows.intact import verify_results  # needs polars

        return [*map(_verification_answer, verify_results(results))]
    request.use_folders()
    columns = [*map(Column, ("name", "state", "what", "licence"))]
    machine = [{"name": name, "what": fact} for name, fact in examine_machine(request.data_dir)]
    records_by_kind = {"machine": machine} | {
        kind: examine(kind, request.data_dir) for kind in REGISTRY_KINDS
    }
    return [
        Answer(records, columns, facts={"kind": kind}, title=kind)
        for kind, records in records_by_kind.items()
    ]


def _verification_answer(verification: "Verification") -> Answer:
    state = "damaged" if verification.has_findings else "intact"
    pictures = f", {counted(verification.pictures, 'picture')}" if verification.pictures else ""
    title = (
        f"{verification.dataset}: {verification.shards} shards, {verification.streams} streams"
        f"{pictures} and {verification.records} records were read: {state}"
    )
    facts = {**verification._asdict(), "wrong": verification.has_findings}
    del facts["findings"]
    facts["run_records"] = facts.pop("records")
    records = [finding._asdict() for finding in verification.findings]
    columns = [*map(Column, ("state", "path", "what", "remedy"))]
    return Answer(records, columns, facts=facts, title=title, code=int(verification.has_findings))
