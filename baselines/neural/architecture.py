"""The boundary of learned codecs: what trainer, checkpoint, container and coder ask of a method.

An architecture is a folder and a line in `ARCHITECTURES`. Nothing outside that folder knows its
networks, their parameters' names or its controls. Importing this module or an architecture imports
no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from benchmark.errors import UnknownName

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.bitstream.container import ControlBlock
    from baselines.neural.entropy.latent_network import LatentNetwork
    from baselines.neural.network import Network
    from benchmark.codec import Pixels

# Architecture names on cards and in recipes -> "module:class", as text: looking one up imports it.
ARCHITECTURES = {
    "crdr": "baselines.neural.crdr.architecture:CRDRArchitecture",
    "compressai": "baselines.compressai.architecture:CompressAIArchitecture",
    "charm": "baselines.neural.charm.architecture:CharmArchitecture",
    "elic": "baselines.neural.elic.architecture:ElicArchitecture",
    "ivr": "baselines.neural.ivr.architecture:IvrArchitecture",
    "hific": "baselines.neural.hific.architecture:HificArchitecture",
    "multirealism": "baselines.neural.multirealism.architecture:MultiRealismArchitecture",
    "pqmim": "baselines.neural.pqmim.architecture:PqMimArchitecture",
    "dirac": "baselines.neural.diffusion.architecture:DiracArchitecture",
    "hfd": "baselines.neural.diffusion.architecture:HfdArchitecture",
}

Config = TypeVar("Config")


class LatentCoder(Protocol):
    """Coder of a trained network on one device, between images, latents and bytes.

    Images are padded to multiples of `stride` pixels; a position of the latents is `latent_stride`
    pixels. `margin`, in pixels, is what transforms see around a tile; 0 to 4080, a multiple of 16.
    """

    stride: int  # divides 256, the smallest step of tiles
    latent_stride: int  # divides `stride`
    latent_channels: int
    margin: int

    def analyse(self, images: "Tensor", controls: Any) -> "Tensor":
        """Return the latents (1, C, h, w) of `images`, float32 (1, 3, H, W) in [-1, 1]."""
        ...

    def encode(self, latents: "Tensor") -> bytes:
        """Return the entropy-coded bytes of latents (1, C, h, w)."""
        ...

    def decode(self, data: bytes, rows: int, columns: int) -> "Tensor":
        """Return the latents (1, C, rows, columns) that a decoder has; raises `CorruptStream`."""
        ...

    def synthesise(self, latents: "Tensor", controls: Any) -> "Tensor":
        """Return the images (1, 3, H, W), about [-1, 1], of latents as `decode` returned them."""
        ...


@runtime_checkable
class SynthesisesExactly(Protocol):
    """A coder that can also synthesise images with the same bits on every machine."""

    def exactly(self) -> LatentCoder:
        """Return the same coder, whose images have these bits; latents and streams are the same."""
        ...


class Architecture(Generic[Config]):
    """Base class of compression methods: their configurations, networks, tables and coders.

    A subclass sets `name`, `presets` and `config_type`, and names its classes as "module:class".
    Unless it says otherwise, configurations are dataclasses, and networks have no controls and no
    integer tables. An instance holds no state.
    """

    name: str
    presets: Mapping[str, Config]  # named configurations, which recipes refer to
    config_type: ClassVar[type[Any]]
    network_type: ClassVar[str]  # made with a configuration; has a method `initialise`
    coder_type: ClassVar[str]  # made with a network, its tables and a device

    def config_from_json(self, record: Any) -> Config:
        """Return the configuration on a card; raises `ValueError` that names the wrong field."""
        config: Config = config_from_json(record, self.config_type)
        return config

    def config_to_json(self, config: Config) -> dict[str, Any]:
        """Return the json object of `config`, which `config_from_json` reads."""
        return asdict(config)  # type: ignore[call-overload,no-any-return]

    def rate_levels(self, config: Config) -> int:
        """Return the number of rate levels that one network serves."""
        return getattr(config, "rate_levels", 1)

    def control_block(self) -> "ControlBlock":
        """Return the form of controls in a stream's header; here, the empty block."""
        from baselines.neural.bitstream.container import NoControls

        return NoControls()

    def build(self, config: Config) -> "Network":
        """Return a network with random weights, on torch's default device."""
        network: Network = imported(self.network_type)(config)
        return network

    def initialise(self, network: Any, crops: "Tensor", lambdas: Sequence[float]) -> None:
        """Set start values from photographs, `crops` of shape (N, 3, H, W) in [-1, 1].

        `lambdas`, one for each rate level, weigh bpp, with 150 MSE of values in [0, 1] beside it.
        """
        network.initialise(crops, lambdas)

    def tables(self, network: Any, images: "Sequence[Pixels]") -> "dict[str, Tensor]":
        """Return the integer tensors, by name, that a coder needs beside the weights; here, none.

        Made once, on the CPU, for photographs like `images`, since two machines' exponentials need
        not agree in the last bit.
        """
        return {}

    def coder(
        self, network: Any, tables: "Mapping[str, Tensor]", device: "torch.device | str" = "cpu"
    ) -> LatentCoder:
        """Return the coder of a network with its tables; raises `ValueError`, `KeyError`."""
        coder: LatentCoder = imported(self.coder_type)(network, tables, device)
        return coder


class HyperpriorArchitecture(Architecture[Config]):
    """Base class of architectures whose networks are `LatentNetwork`."""

    coder_type = "baselines.neural.entropy.hyperprior_coder:TransformCoder"

    def tables(self, network: "LatentNetwork", images: "Sequence[Pixels]") -> "dict[str, Tensor]":
        """Return distributions, thresholds and fractional bits, these calibrated on `images`.

        Raises `ValueError` for a prior with parameters that are not finite.
        """
        from baselines.neural.entropy.hyperprior_coder import hyperprior_tables

        return hyperprior_tables(network, self.latents(network, images))

    def latents(self, network: "LatentNetwork", images: "Sequence[Pixels]") -> "Iterator[Tensor]":
        """Yield y (1, M, h, w) of each image, padded, at every rate level."""
        import torch

        from baselines.neural.inference import padded, to_images

        for pixels in images:
            planes = to_images(padded(pixels), torch.device("cpu"))
            for level in range(self.rate_levels(network.config)):
                yield network.analyse(planes, network.controls_at(float(level), 0.0))


def imported(target: str) -> Any:
    """Return the object that "module:name" names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def load_architecture(name: str) -> Architecture[Any]:
    """Return the architecture of that name; raises `UnknownName`."""
    if name not in ARCHITECTURES:
        raise UnknownName("architecture", name, ARCHITECTURES)
    architecture: Architecture[Any] = imported(ARCHITECTURES[name])()
    return architecture


def config_from_json(record: Any, kind: type[Config]) -> Config:
    """Return an object of the dataclass `kind` with the fields of a json object.

    Lists become tuples; nothing else is converted. Raises `ValueError` that names a field which is
    missing, unknown, or of another type.
    """
    if isinstance(record, dict):
        unknown = sorted(set(record) - {field.name for field in fields(kind)})  # type: ignore[arg-type]
        if unknown:
            raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    return msgspec.convert(record, kind)
