"""MS-ILLM: HiFiC's autoencoder trained against labels of its neighbourhood, for six rates.

    msillm
    msillm:weights=no-gan          the networks that it was trained from, without a discriminator
    msillm:weights=random

Muckley, El-Nouby, Ullrich, Jegou, Verbeek, "Improving Statistical Fidelity for Neural Image
Compression with Implicit Local Likelihood Models" (ICML 2023). Network and entropy coder are those
of its authors' package, neuralcompression, which codes with CompressAI's range coder; the sweep
holds the qualities whose weight files are present. Images are padded by reflection to multiples of
64 and decoded pictures rounded as the authors' evaluation does it, for images of any size.

What chooses the entropy coder's tables is computed in floating point, on the CPU in encoder and
decoder alike: a stream decodes with the same versions, number of threads and kind of processor, and
elsewhere as long as rounding chooses no other table. The decoder does not trust that: it encodes
what it decoded once more, and refuses a stream that does not come out again. That finds damage too,
except where it makes one symbol another that is coded with as many bits.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.compressai import container
from baselines.compressai.weights import caveat_of_missing
from baselines.msillm.weights import (
    RANDOM_SEED,
    STEMS,
    TARGETS,
    WEIGHTS,
    find_sources,
    network,
    published_files,
    require_package,
)
from benchmark.codec import CodecInfo, OneOf, Pixels, Setting, require_accepted
from benchmark.errors import BadOption, CorruptStream, UsageError
from benchmark.facts import Facts, KnownDifference, Typical
from benchmark.system.digest import files_sha256
from benchmark.system.settings import chosen_device
from benchmark.system.weights import PublishedFile

if TYPE_CHECKING:
    from torch import Tensor

REVISION = 1
MOST_SYMBOL = 1 << 24  # float32 has no odd number beyond; nor does CompressAI encode 2^27 and more
# The authors' evaluation counts the strings as Python pickles them: 121 to 124 bytes more, here 10.
# On Kodak that is .0023 bpp, 3 % of the rate of quality 2, whose curve rises by 2.5 dB where the
# rate is e times as large (MS-SSIM: by 2.9 dB).
PICKLE = "published rates count 114 bytes more for an image, of Python's pickle"


class MSILLM:
    """The six published networks, or those of them that are here.

    `weights` is "published", "no-gan" for the networks trained with MSE and LPIPS alone that the
    published ones began from, or "random" for seeded, untrained ones of the same architecture.
    """

    name = "msillm"
    facts = Facts(
        "MS-ILLM", "learned", "Trained for realism", "#000000", "o",
        trained_on=("psnr_db", "lpips_alex"), typical=(Typical("quality", ((1, 35), (6, 35))),),
        published=(("MS-ILLM", ""),),
        known_differences=(
            KnownDifference("psnr_db", PICKLE, 0.0, 0.1),
            KnownDifference("ms_ssim", PICKLE, 0.0, 0.1),
        ),
    )  # fmt: skip

    def __init__(self, *, weights: str = "published") -> None:
        if weights not in WEIGHTS:
            raise BadOption(f"weights={weights}: it is {', '.join(WEIGHTS[:-1])} or {WEIGHTS[-1]}")
        require_package()
        self._weights, self._device = weights, chosen_device()
        self._sources = find_sources(weights, self._device)
        self.sweep = tuple(Setting("quality", quality) for quality in self._sources)
        self.accepts = OneOf(self.sweep)

    @staticmethod
    def published_weights(options: Mapping[str, str]) -> list[PublishedFile]:
        """Return the published weight files for these options, for `bench fetch`."""
        weights = options.get("weights", "published")
        if weights not in STEMS or options.keys() - {"weights"}:
            raise UsageError(
                f"{dict(options)} names no published weights: fetch msillm or msillm:weights=no-gan"
            )
        return published_files(weights)

    def describe(self) -> CodecInfo:
        """Return versions, call, licences of code and weights, and the sha256 of the weights."""
        packages = ("neuralcompression", "compressai", "torch")
        versions = ", ".join(f"{package} {version(package)}" for package in packages)
        paths = [source.path for source in self._sources.values() if source.path is not None]
        return CodecInfo(
            version=versions,
            command=f"MS-ILLM (Muckley et al., ICML 2023), {self._weights} weights, quality "
            f"{{quality}}: compress(), and decompress() with what it decoded encoded again; "
            f"reflected around it to multiples of {container.STEP}",
            licence="MIT AND CC-BY-NC-4.0" if paths else "MIT",
            fingerprint=files_sha256(paths)
            if paths
            else sha256(f"{RANDOM_SEED} {versions}".encode()).hexdigest(),
            revision=REVISION,
            timed="one call in this process: padding, transforms, entropy coding and its check",
            device=self._device,
            caveat="random weights"
            if self._weights == "random"
            else caveat_of_missing(self._sources, TARGETS),
            chroma="4:4:4",
            tuned_for="perceptual quality",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream of an image; raises `ImageRefused` above `MAX_PIXELS`."""
        from baselines.neural.inference import inference

        container.require_codable(pixels)
        height, width, _ = pixels.shape
        require_accepted(self, setting)
        net = network(self._sources[int(setting.value)])
        with inference():
            coded = net.compress(self._padded(pixels), force_cpu=False)
        strings = (coded.hyper_latent_strings[0], coded.latent_strings[0])
        stream = container.ZooStream(int(setting.value), width, height, strings)
        return container.pack(container.long_enough(stream))

    def decode(self, data: bytes) -> Pixels:
        """Return the image, rounded to 8 bits; raises `CorruptStream` for any other bytes."""
        import torch

        from baselines.neural.inference import inference

        stream = container.unpack(data, num_strings=2)
        if stream.quality not in self._sources:
            raise CorruptStream(f"the stream is of quality {stream.quality}, which is not here")
        container.require_possible_size(stream, len(data))
        net = network(self._sources[stream.quality])
        with inference():
            picture = net.decoder(decoded_latents(net, stream).to(self._device))
            picture = picture[0, :, : stream.height, : stream.width].clamp(0, 1)
            levels = (picture * 255 + 0.5).to(torch.uint8)
            pixels: Pixels = levels.permute(1, 2, 0).contiguous().cpu().numpy()
        return pixels

    def _padded(self, pixels: Pixels) -> "Tensor":
        """Return the image (1, 3, H, W) in [0, 1], H and W multiples of `STEP`."""
        import torch

        # The package pads by torch, which reflects once only: not enough for a tiny image.
        around = [(0, -side % container.STEP) for side in pixels.shape[:2]]
        padded = np.pad(pixels, [*around, (0, 0)], mode="reflect")
        levels = torch.from_numpy(padded).to(self._device)
        return levels.permute(2, 0, 1)[None].float() / 255


def decoded_latents(net: Any, stream: container.ZooStream) -> "Tensor":
    """Return y (1, 220, H / 16, W / 16), as the generator takes it, of the padded size H x W.

    net: a `HiFiCAutoencoder` whose tables are up to date; these are the steps of its `decompress`
    up to the generator. A range decoder that has gone astray, by damage or by another machine's
    rounding of the scales, does not end in the state that every encoder begins in, so that what it
    decoded does not encode to the same bytes: raises `CorruptStream`.
    """
    z_string, y_string = stream.strings
    rows, columns = (-(-side // container.STEP) for side in (stream.height, stream.width))
    coder = net.hyper_bottleneck
    symbols = coder.channels * rows * columns
    hyper = coder.decompress([container.readable_beyond(z_string, symbols)], (rows, columns))
    medians = coder.quantiles[:, 0, 1].reshape(1, -1, 1, 1)
    _require_whole(hyper - medians, lambda: coder.compress(hyper), z_string)

    means, scales = net.hyper_synthesis_mean(hyper), net.hyper_synthesis_scale(hyper)
    gaussian = net.latent_bottleneck
    indexes = gaussian.build_indexes(scales)
    readable = container.readable_beyond(y_string, indexes.numel())
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
