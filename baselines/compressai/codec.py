"""CompressAI's learned image codecs, through its compress() and decompress().

    compressai:model=bmshj2018-hyperprior:metric=mse
    compressai:model=mbt2018-mean:checkpoint=trained/lambda-{quality}.pth.tar
    compressai:model=cheng2020-anchor:checkpoint=low.pth,middle.pth,high.pth:name=Mine
    compressai:model=mbt2018-mean:weights=random
    hyperprior:weights=matched        the same model, reduced, trained by this project

The sweep has the qualities whose weight files exist. Images are padded (zeros around them, to
multiples of 64) and rounded as in CompressAI's evaluation, whose numbers differ only by the header,
8 to 10 bytes. The entropy model computes in floating point, so a stream can be decoded only on the
same kind of device, and with the same versions and number of threads, as it was encoded. A damaged
payload gives a wrong image, not an error. A stream:

    quality        1 byte: selects the model's network
    width, height  a varint each, in pixels
    lengths        a varint for each string, in bytes; the model determines their number
    strings        in this order; the stream ends with the last one

A stream of n bytes has at most 2^18 + 1024 n pixels, with sides rounded up to multiples of 64. A
decoder refuses more, so an encoder appends zeros if a blank image's stream is shorter.
"""

import platform
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from baselines.neural.bitstream.container import ByteReader, varint
from baselines.neural.card import Card, has_card, tensors_sha256, verified_card
from baselines.neural.network_codec import (
    find_checkpoint,
    find_existing_files,
    find_trained_files,
    released_files,
)
from benchmark.codec import (
    CodecInfo,
    OneOf,
    Pixels,
    Setting,
    device_kind,
    require_accepted,
    require_options,
)
from benchmark.errors import (
    BadOption,
    CorruptStream,
    ImageRefused,
    Unavailable,
    UnknownName,
    UsageError,
)
from benchmark.spec import file_list
from benchmark.system.digest import file_sha256
from benchmark.system.machine import package_folder
from benchmark.system.settings import PublishedFile, chosen_device, find_weights
from benchmark.system.text import bench_command

if TYPE_CHECKING:
    from torch import Tensor, nn

# Number of qualities by model; listed, since importing CompressAI takes seconds. 1: lowest rate.
QUALITIES = {
    "bmshj2018-factorized": 8,
    "bmshj2018-factorized-relu": 8,
    "bmshj2018-hyperprior": 8,
    "mbt2018-mean": 8,
    "mbt2018": 8,
    "cheng2020-anchor": 6,
    "cheng2020-attn": 6,
}
METRICS = ("mse", "ms-ssim")
AUTOREGRESSIVE = ("mbt2018", "cheng2020-anchor", "cheng2020-attn")
# Files are named MODEL-QUALITY-HASH or MODEL-ms-ssim-QUALITY-HASH; here are the exceptions.
FILE_STEMS = {
    ("bmshj2018-factorized", "mse"): "bmshj2018-factorized-prior",
    ("cheng2020-anchor", "ms-ssim"): "cheng2020_anchor-ms-ssim",
    ("cheng2020-attn", "mse"): "cheng2020_attn-mse",
    ("cheng2020-attn", "ms-ssim"): "cheng2020_attn-ms-ssim",
}
QUALITY_MARK = "{quality}"  # placeholder in a checkpoint's name
STATE_KEYS = ("network", "state_dict", "model_state_dict")  # in files of training scripts
# Networks trained by this project: CompressAI's model, and the prefix of the files' names.
MATCHED_MODEL, MATCHED_STEM = "bmshj2018-hyperprior", "hyperprior"
WEIGHTS = ("published", "matched", "random")  # values of the option
RANDOM_SEED = 0
MAX_CACHED_BYTES = 1 << 30  # networks per process: four full sweeps of bmshj2018-hyperprior

REVISION = 3
LATENT_STEP = 16  # pixels between latent positions, in every model
CAVEATS = {
    "random": "random weights",
    "matched": "reduced, trained by this project",
}


# The widest hyperprior needs 660 bytes of memory per pixel: 44 GB for an image of this size.
MAX_PIXELS = 1 << 26
STEP = 64  # pixels; the deepest model divides height and width by it
STRING_TAIL = 64  # bytes that CompressAI's decoder reads in advance
MIN_ALLOWED_PIXELS, PIXELS_PER_BYTE = 1 << 18, 1 << 10


class ZooStream(NamedTuple):
    """Contents of a stream."""

    quality: int  # 0..255
    width: int  # pixels
    height: int  # pixels
    strings: tuple[bytes, ...]


def pack(stream: ZooStream) -> bytes:
    """Return the bytes of a stream.

    >>> pack(ZooStream(3, 768, 512, (b"latent", b"z"))).hex(" ")
    '03 80 06 80 04 06 01 6c 61 74 65 6e 74 7a'
    """
    sizes = (stream.width, stream.height, *map(len, stream.strings))
    header = bytes([stream.quality]) + b"".join(map(varint, sizes))
    return header + b"".join(stream.strings)


def unpack(data: bytes, num_strings: int) -> ZooStream:
    """Invert `pack`; raises `CorruptStream` unless the bytes are exactly a stream."""
    # sizes are checked against `MAX_PIXELS` before anything is allocated
    reader = ByteReader(data)
    (quality,) = reader.take(1)
    width, height, *lengths = (reader.varint() for _ in range(2 + num_strings))
    if not 0 < width * height <= MAX_PIXELS:
        raise CorruptStream(f"the stream claims {width} x {height} pixels, not 1 to {MAX_PIXELS}")
    strings = tuple(reader.take(length) for length in lengths)
    if excess := reader.rest():
        raise CorruptStream(f"the stream has {len(excess)} bytes after its last string")
    return ZooStream(quality, width, height, strings)


def max_pixels(num_bytes: int) -> int:
    """Return the number of pixels that a decoder accepts for a stream of `num_bytes`."""
    return MIN_ALLOWED_PIXELS + PIXELS_PER_BYTE * num_bytes


def pad_blank_stream(stream: ZooStream) -> ZooStream:
    """Append zeros to the last string if a decoder would refuse the stream as too short."""
    # only blank images have so few bytes; entropy decoders ignore the zeros
    _, _, padded_width, padded_height = padding(stream.width, stream.height)
    missing_pixels = padded_width * padded_height - max_pixels(sum(map(len, stream.strings)))
    *other_strings, last_string = stream.strings
    last_string += bytes(max(0, -(-missing_pixels // PIXELS_PER_BYTE)))
    return stream._replace(strings=(*other_strings, last_string))


class NetworkSource(NamedTuple):
    """Source of a network; equal sources give equal networks."""

    model: str
    quality: int
    weights: str  # one of `WEIGHTS`, or "checkpoint"
    path: Path | None  # None for random weights
    sha256: str  # digest of the file
    device: str


def _find_sources(
    model: str, metric: str, weights: str, checkpoint: str, device: str
) -> dict[int, NetworkSource]:
    """Return the networks' sources by quality, lowest first; options as in `CompressAI`."""
    _require_published(model, metric)
    require_options("compressai", weights=(weights, WEIGHTS))
    if checkpoint and weights != "published":
        raise BadOption(f"weights={weights} and checkpoint=FILE exclude each other")
    files: Mapping[int, Path | None]
    if weights == "random":
        files = dict.fromkeys(range(1, QUALITIES[model] + 1))
    elif checkpoint:
        if QUALITY_MARK in checkpoint:
            files = find_existing_files(
                range(1, 100),
                lambda quality: find_checkpoint(checkpoint.replace(QUALITY_MARK, str(quality))),
            )
        else:
            files = dict(enumerate(map(find_checkpoint, file_list(checkpoint)), start=1))
        for path in filter(has_card, filter(None, files.values())):
            _require_model(path, model)
    elif weights == "published":
        files = _find_published_files(model, metric)
    else:
        files = find_matched(model, metric)
    kind = "checkpoint" if checkpoint else weights
    return {
        quality: NetworkSource(
            model, quality, kind, path, tensors_sha256(path) if path else "", device
        )
        for quality, path in files.items()
    }


def _require_published(model: str, metric: str) -> None:
    for kind, name, names in (("model", model, QUALITIES), ("metric", metric, METRICS)):
        if name not in names:
            raise UnknownName(f"compressai {kind}", name, names)


def install_obstacles() -> dict[str, str]:
    """Return {"compressai": why it cannot be installed on this machine}; empty if it can."""
    system = sys.platform, platform.machine()
    if sys.version_info[:2] < (3, 13) and system == ("linux", "x86_64"):
        return {}
    return {"compressai": "its wheels are for Python 3.11 and 3.12 on Linux, x86-64"}


def published_files(options: Mapping[str, str]) -> list[PublishedFile]:
    """Return published weight files in order of quality; a `UsageError` if there are none."""
    model, metric = options.get("model", ""), options.get("metric", "mse")
    if options.get("weights") == "matched":
        return released_files(MATCHED_STEM)
    if not model or options.keys() - {"model", "metric"}:
        raise UsageError(
            f"{dict(options)} does not name published weights: give a model, and a metric other "
            "than mse, for example compressai:model=bmshj2018-hyperprior:metric=ms-ssim"
        )
    _require_published(model, metric)
    with prepare_import():
        from compressai.zoo.image import model_urls
    urls = model_urls.get(model, {}).get(metric)
    if urls is None:
        raise BadOption(f"no weights are published for {model}, {metric}: change model or metric")
    return [
        PublishedFile(url, name := url.rpartition("/")[2], name.removesuffix(".pth.tar")[-8:])
        for _, url in sorted(urls.items())
    ]


def file_pattern(model: str, metric: str, quality: int) -> str:
    """Return a glob pattern of a published file: "mbt2018-ms-ssim-2-????????.pth.tar"."""
    usual_stem = model if metric == "mse" else f"{model}-{metric}"
    return f"{FILE_STEMS.get((model, metric), usual_stem)}-{quality}-????????.pth.tar"


def _find_published_files(model: str, metric: str) -> dict[int, Path]:
    """Return the published files that exist, by quality; `Unavailable` if none or damaged."""
    fetch = bench_command("fetch", f"compressai:model={model}:metric={metric}")
    qualities = range(1, QUALITIES[model] + 1)
    paths = find_existing_files(
        qualities,
        lambda quality: find_weights(
            [file_pattern(model, metric, quality)], f"run `{fetch}`", fetch
        ),
    )
    for path in paths.values():
        digest_start, sha256 = path.name.removesuffix(".pth.tar")[-8:], file_sha256(path)
        if not sha256.startswith(digest_start):
            raise Unavailable(
                f"{path} is damaged: its sha256 begins with {sha256[:8]}; delete the file and run "
                f"`{fetch}`"
            )
    return paths


def find_matched(model: str, metric: str) -> dict[int, Path]:
    """Return files of networks that this project trained, by quality, checked with their cards."""
    # raises `BadOption` for other models, `Unavailable` for missing or damaged files
    if (model, metric) != (MATCHED_MODEL, "mse"):
        raise BadOption(
            f"matched weights exist for {MATCHED_MODEL} with mse, not {model} with {metric}"
        )
    qualities = range(1, QUALITIES[model] + 1)
    try:
        files = find_trained_files(
            qualities, lambda quality: find_checkpoint(f"{MATCHED_STEM}-{quality}.safetensors")
        )
    except Unavailable as error:
        raise Unavailable(f"{error}: train weights with `bench train --suite matched`") from None
    for path in files.values():
        _require_model(path, model)
    return files


def _require_model(path: Path, model: str) -> None:
    card = verified_card(path)
    model_of_card = getattr(card.config, "model", card.architecture)
    if model_of_card != model:
        raise Unavailable(f"{path} holds {model_of_card}, not {model}, according to its card")


_networks: OrderedDict[Hashable, "nn.Module"] = OrderedDict()


def network(source: NetworkSource) -> "nn.Module":
    """Return a source's network on its device, cached."""
    return cached_network(source, lambda: _make_network(source))


def cached_network(source: Hashable, make: Callable[[], "nn.Module"]) -> "nn.Module":
    """Return a source's network; the process caches up to `MAX_CACHED_BYTES` of networks."""
    if source in _networks:
        _networks.move_to_end(source)
    else:
        _networks[source] = make()
        while len(_networks) > 1 and sum(map(_num_bytes, _networks.values())) > MAX_CACHED_BYTES:
            _networks.popitem(last=False)
    return _networks[source]


def _make_network(source: NetworkSource) -> "nn.Module":
    with prepare_import():
        from compressai.registry import MODELS
        from compressai.zoo import load_state_dict  # it converts older names of layers
        from compressai.zoo.image import cfgs
    import torch

    architecture = MODELS[source.model]
    published = source.weights == "published"
    net: Any
    if source.path is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            net = architecture(*cfgs[source.model][source.quality])
    elif has_card(source.path):
        from baselines.neural.checkpoint import load_checkpoint

        net = load_checkpoint(source.path).network.codec
    else:
        from baselines.neural.checkpoint import read_state_dict

        state = read_state_dict(source.path, *STATE_KEYS)
        try:
            net = architecture.from_state_dict(load_state_dict(state))
        except (KeyError, RuntimeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise Unavailable(f"{source.path} does not hold {source.model}: {reason}") from error
    # Published files, and files with a card, contain the tables with which streams are coded. In
    # other state dicts, tables may be older than the weights, so they are computed again, as in
    # CompressAI's evaluation.
    net.update(force=source.path is None or not (published or has_card(source.path)))
    net.eval().requires_grad_(False)
    result: nn.Module = net.to(source.device)
    return result


def _num_bytes(net: "nn.Module") -> int:
    return sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))


@contextmanager
def prepare_import() -> Iterator[None]:
    """Prepare the import of CompressAI; `Unavailable` if it is not installed."""
    package_folder("compressai")
    with warnings.catch_warnings():
        # torch_geometric scripts its functions during its import, which torch 2.13 deprecates
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
        yield


class CompressAI:
    """Model of CompressAI, trained for a metric, at all qualities whose weights exist.

    `weights` is "published", "random" for a seeded, untrained network, or "matched" for networks
    that this project trained, with as much work per pixel and as many crops per rate as `ours`.
    `checkpoint` names state dicts instead: several separated by commas, lowest rate first, or a
    pattern with `{quality}`. Autoregressive models run on the CPU.
    """

    name = "compressai"
    packages: ClassVar[tuple[str, ...]] = ("torch", "compressai")
    package_obstacles: ClassVar[Mapping[str, str]] = install_obstacles()
    published_weights = staticmethod(published_files)

    def __init__(
        self,
        *,
        model: str,
        metric: str = "mse",
        weights: str = "published",
        checkpoint: str = "",
    ) -> None:
        package_folder("compressai")
        self._model, self._metric = model, metric
        self._device = "cpu" if model in AUTOREGRESSIVE else chosen_device()
        self.num_strings = 1 if "factorized" in model else 2
        sources = _find_sources(model, metric, weights, checkpoint, self._device)
        self._kind = next(iter(sources.values())).weights
        self._sources = sources
        self._paths = [source.path for source in sources.values() if source.path is not None]
        self.sweep = tuple(Setting("quality", quality) for quality in sources)
        self.accepts = OneOf(self.sweep)

    def describe(self) -> CodecInfo:
        """Return versions, call, CompressAI's licence, and a sha256 of the weights."""
        versions = f"CompressAI {version('compressai')}, torch {version('torch')}"
        trainings: dict[str, None] = {}
        for card in self._cards():
            steps = f"{card.steps} steps of {card.crops} crops in all: {card.training_data}"
            training = card.training if card.steps is None else steps
            trainings["N={}, M={}, {}".format(*card.config.widths, training)] = None
        layers = "CompressAI's own layers"  # stored rows contain this text: keep it
        sources = list(zip(self.sweep, self._sources.values(), strict=True))
        digests = b"".join(bytes.fromhex(source.sha256) for _, source in sources)
        seed_text = f"{RANDOM_SEED} {versions} {self._model}"  # without weight files
        return CodecInfo(
            version="; ".join((versions, layers, *trainings)),
            command=f"{self._model} for {self._metric}, {self._kind} weights, quality {{quality}}: "
            f"compress() and decompress() with {layers}, zeros around it to multiples of "
            f"{STEP}",
            licence="BSD-3-Clause-Clear",
            fingerprint=sha256(digests or seed_text.encode()).hexdigest(),
            revision=REVISION,
            timed="one call in this process: padding, transforms, entropy coding",
            device=device_kind(self._device),
            caveat=self._caveats(),
            chroma="4:4:4",
            tuned_for="MS-SSIM" if self._metric == "ms-ssim" else "PSNR",
            parts=tuple(
                (str(setting), source.sha256) for setting, source in sources if source.sha256
            ),
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream of an image; raises `ImageRefused` above `MAX_PIXELS`."""
        from baselines.neural.network import inference

        height, width, _ = pixels.shape
        if height * width > MAX_PIXELS:
            raise ImageRefused(f"{width} x {height} pixels exceed {MAX_PIXELS}: shrink the image")
        require_accepted(self, setting)
        quality = int(setting.value)
        net: Any = network(self._sources[quality])
        with inference():
            strings = net.compress(padded_planes(pixels, self._device))["strings"]
        stream = ZooStream(quality, width, height, tuple(string for (string,) in strings))
        return pack(pad_blank_stream(stream))

    def decode(self, data: bytes) -> Pixels:
        """Return the image, rounded to 8 bits; `CorruptStream` for an incomplete stream."""
        from baselines.neural.network import inference

        stream = unpack(data, self.num_strings)
        if stream.quality not in self._sources:
            raise CorruptStream(
                f"the stream has quality {stream.quality}, but its weights are missing"
            )
        _, _, padded_width, padded_height = padding(stream.width, stream.height)
        if padded_width * padded_height > max_pixels(len(data)):
            size = f"{stream.width} x {stream.height} pixels"
            raise CorruptStream(f"{len(data)} bytes are too few for the claimed {size}")
        net: Any = network(self._sources[stream.quality])
        factor = int(net.downsampling_factor)
        # CompressAI's decoder may read beyond the end of a damaged string: at most four bytes per
        # symbol, or fifteen times four bits for an escape. Zeros are appended for that.
        zero_bytes = (
            4 * int(net.M) * (padded_width // LATENT_STEP) * (padded_height // LATENT_STEP)
            + STRING_TAIL
        )
        strings = [[string + bytes(15 * len(string) + zero_bytes)] for string in stream.strings]
        with inference():
            decoded = net.decompress(strings, (padded_height // factor, padded_width // factor))[
                "x_hat"
            ][0]
            return inner_pixels(decoded, stream.width, stream.height)

    def setting_of(self, data: bytes) -> Setting:
        """Return a stream's quality; raises `CorruptStream` like `decode`."""
        return Setting("quality", unpack(data, self.num_strings).quality)

    def _cards(self) -> list[Card]:
        return [verified_card(path) for path in self._paths if has_card(path)]

    def _caveats(self) -> str:
        cards = self._cards()
        if cards and not all(card.steps for card in cards):  # untrained, or with unknown training
            return ", ".join(dict.fromkeys(card.shown_caveat for card in cards if not card.steps))
        if self._kind == "published":
            qualities = range(1, QUALITIES[self._model] + 1)
            missing = [f"{quality}" for quality in qualities if quality not in self._sources]
            return f"no weights for quality {', '.join(missing)}" if missing else ""
        return CAVEATS.get(self._kind, "")


def padding(width: int, height: int) -> tuple[int, int, int, int]:
    """Return the padding in CompressAI's evaluation: left, top, padded width, padded height.

    >>> padding(451, 64)
    (30, 0, 512, 64)
    """
    padded_width, padded_height = (-(-side // STEP) * STEP for side in (width, height))
    return (padded_width - width) // 2, (padded_height - height) // 2, padded_width, padded_height


def padded_planes(pixels: Pixels, device: str) -> "Tensor":
    """Convert an image to a network's input: float32 in 0..1, (1, 3, height, width), padded."""
    import torch
    from torch.nn import functional

    height, width, _ = pixels.shape
    left, top, padded_width, padded_height = padding(width, height)
    planes = torch.from_numpy(pixels.astype(np.float32)).to(device).permute(2, 0, 1)[None] / 255
    return functional.pad(
        planes, (left, padded_width - width - left, top, padded_height - height - top)
    )


def inner_pixels(planes: "Tensor", width: int, height: int) -> Pixels:
    """Crop the image from a network's padded planes (3, H, W), and round to 8 bits."""
    left, top, _, _ = padding(width, height)
    picture = planes[:, top : top + height, left : left + width].permute(1, 2, 0)
    pixels: Pixels = picture.mul(255).round_().clamp_(0, 255).byte().contiguous().cpu().numpy()
    return pixels
