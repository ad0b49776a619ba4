"""MS-ILLM: HiFiC's autoencoder trained against labels of its neighbourhood, for six rates.

    msillm
    msillm:weights=no-gan          the networks that it was trained from, without a discriminator
    msillm:weights=random

Muckley, El-Nouby, Ullrich, Jegou, Verbeek, "Improving Statistical Fidelity for Neural Image
Compression with Implicit Local Likelihood Models" (ICML 2023). Network and entropy coder are those
of its authors' package, neuralcompression, which codes with CompressAI's range coder; the sweep
holds the qualities whose weight files are present. Images are padded by reflection to multiples of
64 and decoded pictures rounded as the authors' evaluation does it, for images of any size. The
package is installed with one of its requirements (`INSTALL`): coding needs no other, of which
several cannot be met beside this project's.

What chooses the entropy coder's tables is computed in floating point, on the CPU in encoder and
decoder alike: a stream decodes with the same versions, number of threads and kind of processor, and
elsewhere as long as rounding chooses no other table. The decoder does not trust that: it encodes
what it decoded once more, and refuses a stream that does not come out again. That finds damage too,
except where it turns a symbol into another that is coded with as many bits.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.compressai.codec import STEP, ZooCodec, ZooStream, padded, readable_beyond
from baselines.compressai.weights import NetworkSource, caveat_of_missing, importable, present
from benchmark.codec import CodecInfo, Pixels, device_kind, require_options
from benchmark.errors import CorruptStream, Reason, Unavailable, UsageError
from benchmark.registry import require_release
from benchmark.system.digest import file_sha256, require_recorded
from benchmark.system.settings import PublishedFile, chosen_device

if TYPE_CHECKING:
    from torch import Tensor

REVISION = 1
MOST_SYMBOL = 1 << 24  # float32 has no odd number beyond; nor does CompressAI encode 2^27 and more
RELEASE = "0.3.1"
INSTALL = f"pip install fvcore && pip install --no-deps neuralcompression=={RELEASE}"
ADDRESS = "https://dl.fbaipublicfiles.com/NeuralCompression/2023-muckley-msillm"
# Rates that qualities 1 to 6 were trained for, in bits per pixel, as file names have them.
TARGETS = {1: "0.035", 2: "0.07", 3: "0.14", 4: "0.3", 5: "0.45", 6: "0.9"}
STEMS = {"published": "msillm", "no-gan": "noganms"}  # first part of file names, by `weights`
WEIGHTS = (*STEMS, "random")  # what the option may be
RANDOM_SEED = 0
KEPT_NETWORKS = len(TARGETS)  # 0.7 GB each: all qualities of a run, since each image asks for all


class MSILLM(ZooCodec):
    """The six published networks, or those of them that are here.

    `weights` is "published", "no-gan" for the networks trained with MSE and LPIPS alone that the
    published ones began from, or "random" for seeded, untrained ones of the same architecture.
    """

    name = "msillm"
    num_strings = 2

    def __init__(self, *, weights: str = "published") -> None:
        require_options(self.name, weights=(weights, WEIGHTS))
        require_package()
        self._weights, self._device = weights, chosen_device()
        super().__init__(find_sources(weights, self._device), network)

    @staticmethod
    def published_weights(options: Mapping[str, str]) -> list[PublishedFile]:
        """Return the published weight files for these options, for `bench fetch`."""
        weights = options.get("weights", "published")
        if weights not in STEMS or options.keys() - {"weights"}:
            raise UsageError(
                f"{dict(options)} names no published weights: fetch msillm or msillm:weights=no-gan"
            )
        # The authors publish no digests of them, and neither file names nor torch.hub entries have
        # any: `bench fetch` records the sha256 of what it got.
        names = [_file_name(weights, quality) for quality in TARGETS]
        return [PublishedFile(f"{ADDRESS}/{name}", name, sha256="") for name in names]

    def describe(self) -> CodecInfo:
        """Return versions, call, licences of code and weights, and the sha256 of the weights."""
        packages = ("neuralcompression", "compressai", "torch")
        versions = ", ".join(f"{package} {version(package)}" for package in packages)
        random = self._weights == "random"
        return CodecInfo(
            version=versions,
            command=f"MS-ILLM (Muckley et al., ICML 2023), {self._weights} weights, quality "
            f"{{quality}}: compress(), and decompress() with what it decoded encoded again; "
            f"reflected around it to multiples of {STEP}",
            licence="MIT" if random else "MIT AND CC-BY-NC-4.0",
            fingerprint=self.fingerprint(f"{RANDOM_SEED} {versions}"),
            revision=REVISION,
            timed="one call in this process: padding, transforms, entropy coding and its check",
            device=device_kind(self._device),
            caveat="random weights" if random else caveat_of_missing(self._sources, TARGETS),
            chroma="4:4:4",
            tuned_for="perceptual quality",
        )

    def strings_of(self, net: Any, pixels: Pixels) -> tuple[bytes, ...]:
        """Encode an image."""
        import torch

        # The package pads by torch, which reflects once only: not enough for a tiny image.
        around = [(0, -side % STEP) for side in pixels.shape[:2]]
        mirrored = np.pad(pixels, [*around, (0, 0)], mode="reflect")
        levels = torch.from_numpy(mirrored).to(self._device)
        coded = net.compress(levels.permute(2, 0, 1)[None].float() / 255, force_cpu=False)
        return coded.hyper_latent_strings[0], coded.latent_strings[0]

    def levels_of(self, net: Any, stream: ZooStream) -> "Tensor":
        """Decode a stream to uint8 of shape (3, height, width)."""
        import torch

        picture = net.decoder(decoded_latents(net, stream).to(self._device))
        picture = picture[0, :, : stream.height, : stream.width].clamp(0, 1)
        levels: Tensor = (picture * 255 + 0.5).to(torch.uint8)
        return levels


def decoded_latents(net: Any, stream: ZooStream) -> "Tensor":
    """Return y (1, 220, H / 16, W / 16), as the generator takes it, of the padded size H x W.

    net: a `HiFiCAutoencoder` whose tables are up to date; these are the steps of its `decompress`
    up to the generator. A range decoder that has gone astray, by damage or by another machine's
    rounding of the scales, does not end in the state that every encoder begins in, so that what it
    decoded does not encode to the same bytes: raises `CorruptStream`.
    """
    z_string, y_string = stream.strings
    columns, rows = (side // STEP for side in padded(stream.width, stream.height))
    coder = net.hyper_bottleneck
    symbols = coder.channels * rows * columns
    hyper = coder.decompress([readable_beyond(z_string, symbols)], (rows, columns))
    medians = coder.quantiles[:, 0, 1].reshape(1, -1, 1, 1)
    _require_whole(hyper - medians, lambda: coder.compress(hyper), z_string)

    means, scales = net.hyper_synthesis_mean(hyper), net.hyper_synthesis_scale(hyper)
    gaussian = net.latent_bottleneck
    indexes = gaussian.build_indexes(scales)
    readable = readable_beyond(y_string, indexes.numel())
    latents: Tensor = gaussian.decompress([readable], indexes, means=means)
    _require_whole(
        latents - means, lambda: gaussian.compress(latents, indexes, means=means), y_string
    )
    return latents


def _require_whole(symbols: "Tensor", encode: "Callable[[], list[bytes]]", string: bytes) -> None:
    """Raise `CorruptStream` unless `encode` gives the string, with no more than zeros behind it.

    symbols: what `encode` encodes; CompressAI's encoder never returns for some that are too large.
    """
    if bool((symbols.abs() < MOST_SYMBOL).all()):
        (again,) = encode()
        if string.startswith(again) and not any(string[len(again) :]):
            return
    raise CorruptStream(
        "the stream's symbols do not encode to its bytes again: it is damaged, or was made where "
        "floating point rounds otherwise (other versions, threads or processor)"
    )


def find_sources(weights: str, device: str) -> dict[int, NetworkSource]:
    """Return the origins of networks by quality, lowest first; `weights` is one of `WEIGHTS`.

    Raises `Unavailable` where no file is here, or a file is not that of its recorded sha256.
    """
    if weights == "random":
        return {q: NetworkSource("msillm", q, "random", None, "", device) for q in TARGETS}
    command = "bench fetch msillm" + ("" if weights == "published" else f":weights={weights}")
    names = {quality: _file_name(weights, quality) for quality in TARGETS}
    result: dict[int, NetworkSource] = {}
    for quality, path in present(names, command).items():
        require_recorded(path, f"delete both and run `{command}`")
        digest = file_sha256(path)
        result[quality] = NetworkSource("msillm", quality, weights, path, digest, device)
    return result


@lru_cache(KEPT_NETWORKS)
def network(source: NetworkSource) -> Any:
    """Return a `HiFiCAutoencoder` ready to code, kept for the process; its weights are only read.

    On a GPU, encoder and generator are there, and all that decides the entropy coder's tables stays
    on the CPU, as the package's own evaluation has it.
    """
    import torch

    with importable():
        from neuralcompression.models import HiFiCAutoencoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED + source.quality)
        made = HiFiCAutoencoder()
    if source.path is not None:
        from baselines.neural.checkpoint import read_weights

        state = read_weights(source.path)
        try:
            made.load_state_dict(state)
        except (RuntimeError, KeyError, AttributeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise Unavailable(f"{source.path} holds no MS-ILLM: {reason}") from error
    made.eval().requires_grad_(False)
    made.to(source.device)
    made.update_tensor_devices("compress")  # makes the tables, unless the file has them
    return made


def require_package() -> None:
    """Raise `Unavailable` where neuralcompression is absent, or fvcore, which it imports."""
    require_release("msillm", "neuralcompression", RELEASE, INSTALL)
    if find_spec("fvcore") is None:
        reason = Reason("package", "fvcore", INSTALL)
        raise Unavailable(f"msillm needs the Python package fvcore: run `{INSTALL}`", reason)


def _file_name(weights: str, quality: int) -> str:
    """Return the name under which a network is published.

    >>> _file_name("no-gan", 1)
    'noganms_target_0.035bpp.ckpt'
    """
    return f"{STEMS[weights]}_target_{TARGETS[quality]}bpp.ckpt"
