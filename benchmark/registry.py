"""Registry of codecs, metrics, datasets and commands as text: listing them imports none."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from benchmark.errors import BadOption, Unavailable, UnknownName, UsageError

CODECS = {
    "ours": "baselines.crdr:CRDR",
    "raw": "baselines.raw:Raw",
    "jpeg": "baselines.jpeg:JPEG",
    "jpegli": "baselines.jpegli:Jpegli",
    "mozjpeg": "baselines.mozjpeg:MozJPEG",
    "webp": "baselines.webp:WebP",
    "jpeg2000": "baselines.jpeg2000:JPEG2000",
    "avif": "baselines.avif:AVIF",
    "jpegxl": "baselines.jpegxl:JPEGXL",
    "bpg": "baselines.bpg:BPG",
    "x265": "baselines.x265:X265",
    "vvenc": "baselines.vvenc:VVenC",
    "vtm": "baselines.vtm:VTM",
    "compressai": "baselines.compressai.codec:CompressAI",
    "folder": "baselines.folder:Folder",
    "command": "baselines.command:Command",
}
HYPERPRIOR = "compressai:model=bmshj2018-hyperprior:metric=mse"
# Short names, in tables and figures as well. Options may follow one, and win over its own.
ALIASES = {
    "hyperprior": HYPERPRIOR,
    "hyperprior:weights=matched": f"{HYPERPRIOR}:weights=matched",
    "hyperprior:weights=matched-whole": f"{HYPERPRIOR}:weights=matched-whole",
}
NEED_OPTIONS = ("compressai", "folder", "command")  # cannot run by their bare name
METRICS = {
    "psnr": "benchmark.metrics.psnr:PSNR",
    "psnr_y": "benchmark.metrics.psnr:LumaPSNR",
    "psnr_ycbcr": "benchmark.metrics.psnr:WeightedPSNR",
    "ms_ssim": "benchmark.metrics.perceptual.ms_ssim:MSSSIM",
    "ssim": "benchmark.metrics.perceptual.ssim:SSIM",
    "lpips": "benchmark.metrics.perceptual.lpips:LPIPSAlex",
    "lpips_squeeze": "benchmark.metrics.perceptual.lpips:LPIPSSqueeze",
    "lpips_vgg": "benchmark.metrics.perceptual.lpips:LPIPSVGG",
    "dists": "benchmark.metrics.perceptual.dists:DISTS",
    "ssimulacra2": "benchmark.metrics.perceptual.ssimulacra2:SSIMULACRA2",
    "butteraugli": "benchmark.metrics.perceptual.butteraugli:Butteraugli",
    "vmaf": "benchmark.metrics.perceptual.vmaf:VMAF",
    "niqe": "benchmark.metrics.no_reference.niqe:NIQE",
    "musiq": "benchmark.metrics.no_reference.learned:MUSIQ",
    "clip_iqa": "benchmark.metrics.no_reference.learned:CLIPIQA",
    "maniqa": "benchmark.metrics.no_reference.learned:MANIQA",
}
USUAL_METRICS = ("psnr", "psnr_y", "ms_ssim", "lpips")  # measured unless others are asked for
# Networks whose features distribution metrics are computed from
FEATURE_SPACES = {
    "inception256": "benchmark.metrics.feature_spaces:Inception256",
    "inception256_tf": "benchmark.metrics.feature_spaces:InceptionTF256",
    "alex256": "benchmark.metrics.feature_spaces:Alex256",
    "squeeze256": "benchmark.metrics.feature_spaces:Squeeze256",
}
# Metrics of all images of a dataset together, reduced from the features of one of the spaces
DISTRIBUTION_METRICS = {
    "fid256": "benchmark.metrics.frechet:FID256",
    "fid256_inf": "benchmark.metrics.frechet:FIDInfinity",
    "fid256_tf": "benchmark.metrics.frechet:FID256TF",
    "kid256": "benchmark.metrics.kernel_distance:KID256",
    "kid256_tf": "benchmark.metrics.kernel_distance:KID256TF",
    "precision256": "benchmark.metrics.neighbours:Precision256",
    "recall256": "benchmark.metrics.neighbours:Recall256",
    "fd_alex": "benchmark.metrics.frechet:FDAlex",
    "fd_squeeze": "benchmark.metrics.frechet:FDSqueeze",
}
DATASETS = {
    "sample": "benchmark.datasets.sample:open_sample",
    "kodak": "benchmark.datasets.kodak:open_kodak",
    "clic2020": "benchmark.datasets.clic2020:open_clic2020",
    "clic2020:professional": "benchmark.datasets.clic2020:open_professional",
    "clic2020:mobile": "benchmark.datasets.clic2020:open_mobile",
    "clic2020-valid": "benchmark.datasets.clic2020:open_validation",
    "clic2021": "benchmark.datasets.clic2021:open_clic2021",
    "div2k": "benchmark.datasets.div2k:open_div2k",
    "tecnick": "benchmark.datasets.tecnick:open_tecnick",
}


class BroughtCommand(NamedTuple):
    """A sub-command of `bench` that contenders bring."""

    target: str  # module:attribute, a function for Typer or a `typer.Typer` of several
    help: str  # one line


COMMANDS = {
    "encode": BroughtCommand(
        "baselines.commands.encode:encode",
        "Encode an image with our codec; --q-map and --beta-map control it block by block.",
    ),
    "decode": BroughtCommand(
        "baselines.commands.decode:decode", "Decode a stream of our codec to an image."
    ),
    "train": BroughtCommand(
        "baselines.commands.train:train",
        "Train a network or a suite of networks to checkpoints, or resume.",
    ),
    "ablation": BroughtCommand(
        "baselines.commands.ablation:ablation",
        "Train variants of the realism stage, measure each and draw their curves.",
    ),
    "checkpoint": BroughtCommand(
        "baselines.commands.checkpoint:checkpoint", "Make checkpoints of our codec."
    ),
}


class CodecSpec(NamedTuple):
    """A codec and its options as text, so it travels: `jpeg:subsampling=444:optimize=1`."""

    name: str  # in CODECS, or path.py:Class
    options: tuple[tuple[str, str], ...]  # sorted, defaults left out once resolved

    @classmethod
    def of(cls, name: str, variant: str) -> "CodecSpec":
        """Return the spec of a row's columns `codec` and `variant`."""
        return cls(name, _options(variant, split_unescaped(variant, ":") if variant else []))

    @property
    def variant(self) -> str:
        """The options as text, empty for none."""
        return ":".join(f"{key}={_escape(value)}" for key, value in self.options)

    @property
    def text(self) -> str:
        """The spec as `--codecs` takes it."""
        return f"{self.name}:{self.variant}" if self.options else self.name

    @property
    def label(self) -> str:
        """Name in tables and figures: the option `name` if given, else the spec without folders."""
        given = dict(self.options).get("name")
        return given or self._replace(name=self.name.rpartition("/")[2]).text


def names_code(spec: CodecSpec) -> bool:
    """Return whether a spec itself says which program or Python file to run.

    Such a spec is for whoever wrote it; rows and packs of strangers may have one too.

    >>> names_code(CodecSpec("jpeg", ())), names_code(CodecSpec("./mine.py:Mine", ()))
    (False, True)
    """
    return spec.name == "command" or spec.name not in CODECS


def split_unescaped(text: str, separator: str) -> list[str]:
    r"""Split a text at separators that no backslash precedes; escapes are kept.

    >>> split_unescaped(r"a:b\:c", ":")
    ['a', 'b\\:c']
    """
    parts, start = [], 0
    for position, character in enumerate(text):
        if character == separator and (position == 0 or text[position - 1] != "\\"):
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def parse_codec(text: str) -> CodecSpec:
    r"""Parse a spec from the command line; `\:` and `\,` stand for `:` and `,` inside a value.

    >>> parse_codec("jpeg:optimize=1")
    CodecSpec(name='jpeg', options=(('optimize', '1'),))
    >>> parse_codec("./mine.py:Mine:level=3").name
    './mine.py:Mine'
    >>> parse_codec("hyperprior:metric=ms-ssim").text
    'compressai:metric=ms-ssim:model=bmshj2018-hyperprior'
    """
    name, *rest = split_unescaped(text, ":")
    name, *preset = split_unescaped(ALIASES.get(name, name), ":")
    if name.endswith(".py"):
        if not rest or "=" in rest[0]:
            raise UsageError(f"{text!r} names no class: write {name}:ClassName")
        name, rest = f"{name}:{rest[0]}", rest[1:]
    elif name not in CODECS:
        raise UnknownName("codec", name, [*CODECS, *ALIASES])
    options = {**dict(_options(text, preset)), **dict(_options(text, rest))}
    return CodecSpec(name, tuple(sorted(options.items())))


def codec_class(spec: CodecSpec) -> type[Any]:
    """Import the class of a spec; raise `Unavailable` if its module lacks a library."""
    path, _, attribute = (CODECS.get(spec.name) or spec.name).partition(":")
    if spec.name not in CODECS and not path.endswith(".py"):  # any class of any package, otherwise
        raise UnknownName("codec", spec.name, CODECS)
    try:
        module = _module_of_file(Path(path)) if path.endswith(".py") else import_module(path)
    except ImportError as error:
        raise Unavailable(f"{spec.name} needs the Python package {error.name}: {error}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise UnknownName(f"class in {path}:", attribute, classes)
    return found


def resolve(spec: CodecSpec) -> list[CodecSpec]:
    """Return the variants of a spec, without default options; a bare name may be several."""
    made = codec_class(spec)
    variants: tuple[Mapping[str, str], ...] = getattr(made, "variants", ())
    if variants and not spec.options:
        return [CodecSpec(spec.name, tuple(sorted(options.items()))) for options in variants]
    defaults = {key: str(value.default) for key, value in _parameters(made).items()}
    kept = [(key, value) for key, value in spec.options if defaults.get(key) != value]
    return [CodecSpec(spec.name, tuple(kept))]


def load_codec(spec: CodecSpec) -> Any:
    """Construct a codec, with options converted to the types that the constructor declares."""
    made = codec_class(spec)
    parameters = _parameters(made)
    values: dict[str, Any] = {}
    for key, text in spec.options:
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise BadOption(f"{spec.name} has no option {key!r}; it has: {known}")
        kind = parameters[key].annotation
        try:
            values[key] = kind(text) if kind in (int, float) else text
        except ValueError:
            raise BadOption(f"{spec.name}: {key}={text!r} is not of type {kind.__name__}") from None
    missing = [k for k, v in parameters.items() if v.default is v.empty and k not in values]
    if missing:
        raise BadOption(f"{spec.name} needs {', '.join(f'{key}=...' for key in missing)}")
    return made(**values)


def metric_class(name: str) -> type[Any]:
    """Import the class of an image metric, distribution metric or feature space by its name."""
    known = {
        **METRICS,
        **DISTRIBUTION_METRICS,
        **(FEATURE_SPACES if name in FEATURE_SPACES else {}),
    }
    found: type[Any] = _named("metric", known, name)
    return found


def scored_by_image(names: Iterable[str]) -> tuple[str, ...]:
    """Return what is computed per image for these metrics: itself, or a metric's feature space.

    >>> scored_by_image(["psnr", "fid256", "kid256"])
    ('psnr', 'inception256')
    """
    of_images = [
        metric_class(name).space if name in DISTRIBUTION_METRICS else name for name in names
    ]
    return tuple(dict.fromkeys(of_images))


def metric_names(asked: str | Iterable[str]) -> tuple[str, ...]:
    """Return metrics as a tuple of names without duplicates; `all` stands for every metric.

    asked: names, or a comma-separated text of them. Raises `UnknownName`.

    >>> metric_names("psnr, lpips,psnr")
    ('psnr', 'lpips')
    """
    known = (*METRICS, *DISTRIBUTION_METRICS)
    texts = asked.split(",") if isinstance(asked, str) else asked
    names = tuple(dict.fromkeys(text.strip() for text in texts))
    if names == ("all",):
        return known
    for name in names:
        if name not in known:
            raise UnknownName("metric", name, known)
    return names


def load_command(name: str) -> Any:
    """Import a sub-command that contenders bring: a function, or a `typer.Typer`."""
    return _named("command", {key: one.target for key, one in COMMANDS.items()}, name)


def dataset_opener(name: str) -> Callable[..., Any]:
    """Return the function that opens the dataset of this name in a list of folders."""
    opener: Callable[..., Any] = _named("dataset", DATASETS, name)
    return opener


def dataset_module(name: str) -> ModuleType:
    """Return the module that opens a dataset: its profile, download and typical sizes, if any."""
    return import_module(DATASETS[name].partition(":")[0])


def open_dataset(name_or_folder: str | Path, data_dir: Path | None = None) -> Any:
    """Open a dataset by its name in `DATASETS`, or any folder of images as a dataset.

    data_dir: searched for named datasets before $BENCH_DATA and the user's cache. Returns a
    `benchmark.datasets.dataset.Dataset`. Raises `UnknownName` for what is neither a name nor
    a path, `UsageError` for a path without images, `Unavailable` where images are missing.
    """
    folder = import_module("benchmark.datasets.folder")
    text = str(name_or_folder)
    if text not in DATASETS and (Path(text).exists() or "/" in text):
        return folder.open_folder(Path(text))
    return dataset_opener(text)(folder.data_folders(data_dir))


def _named(kind: str, table: Mapping[str, str], name: str) -> Any:
    if name not in table:
        raise UnknownName(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def _options(text: str, parts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    options = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise BadOption(f"{part!r} in {text!r} is no option: write key=value")
        if key in options:
            raise BadOption(f"{text!r} gives the option {key!r} twice")
        options[key] = _unescape(value)
    return tuple(sorted(options.items()))


def _parameters(made: type[Any]) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(made, eval_str=True)
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {key: value for key, value in signature.parameters.items() if value.kind in keyword}


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"no file {path}")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _escape(value: str) -> str:
    return value.replace(":", r"\:").replace(",", r"\,")


def _unescape(value: str) -> str:
    return value.replace(r"\:", ":").replace(r"\,", ",")
