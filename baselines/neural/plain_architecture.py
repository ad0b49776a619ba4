"""Base class of most architectures of the boundary. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from baselines.neural.architecture import Config, config_from_json

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.bitstream.container import ControlBlock
    from benchmark.codec import Pixels


class PlainArchitecture(Generic[Config]):
    """Base class of architectures whose configurations are dataclasses.

    Unless a subclass says otherwise, its networks have one rate, no controls and no integer tables.
    It sets `name`, `presets`, `config_type` and `landmarks`.
    """

    name: str
    presets: Mapping[str, Config]
    config_type: ClassVar[type[Any]]  # a dataclass
    landmarks: tuple[str, ...]
    table_names: tuple[str, ...] = ()

    def config_from_json(self, record: Any) -> Config:
        """Return the configuration on a card; raises `ValueError` that names the wrong field."""
        found: Config = config_from_json(record, self.config_type)
        return found

    def config_to_json(self, config: Config) -> dict[str, Any]:
        """Return the json object of `config`: numbers and lists by field name."""
        return asdict(config)  # type: ignore[call-overload,no-any-return]

    def rate_levels(self, config: Config) -> int:
        """Return 1: every rate has a network of its own."""
        return 1

    def control_block(self) -> "ControlBlock":
        """Return the empty block: a network has one rate."""
        from baselines.neural.bitstream.container import NoControls

        return NoControls()

    def tables(self, network: Any, images: "Sequence[Pixels]") -> "dict[str, Tensor]":
        """Return no tables."""
        return {}
