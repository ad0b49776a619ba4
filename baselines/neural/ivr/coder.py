"""The coder of IVR: that of any hyperprior, with Laplace distributions of rounded latents."""

from typing import Any, ClassVar

from torch import Tensor

from baselines.neural.entropy.fixed.integer_path import IntegerPath
from baselines.neural.entropy.hyperprior_coder import TransformCoder
from baselines.neural.ivr.path import IvrPath
from benchmark.errors import CorruptStream


class IvrCoder(TransformCoder):
    """Images to latents to bytes, and back; see `TransformCoder`."""

    path_type: ClassVar[type[IntegerPath]] = IvrPath

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images of y; raises `CorruptStream` for a level that the network lacks."""
        highest = self._network.sizes.rate_levels - 1
        if controls > highest:
            raise CorruptStream(f"the stream is of level {controls:g}, the highest is {highest}")
        return super().synthesise(latents, controls)
