"""PQ-MIM as an architecture of the boundary: sizes, network and coder. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.architecture import PlainArchitecture, Shapes
from baselines.neural.pqmim.sizes import NAMED, QUINCUNX, PqMimSizes
from baselines.neural.shapes import count, residual_transforms

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.pqmim.coder import PqMimCoder
    from baselines.neural.pqmim.model import PqMimNetwork

HEAD_WIDTH = 32  # of the transformer's heads, where nothing tells their number


class PqMimArchitecture(PlainArchitecture[PqMimSizes]):
    """The network of El-Nouby et al. (TMLR 2023), after the abstract; one for each rate.

    It has no integer tables: what its coder needs beside the weights is computed without rounded
    sums wherever it runs.
    """

    name = "pqmim"
    presets: Mapping[str, PqMimSizes] = NAMED
    landmarks = (
        "analysis.0.weight",
        "synthesis.0.weight",
        "quantiser.codebooks",
        "transformer.places",
    )
    config_type = PqMimSizes

    def config_from_shapes(self, shapes: Shapes, known: PqMimSizes | None = None) -> PqMimSizes:
        """Return the sizes of the network whose tensors have these names and shapes.

        No shape tells the number of heads and the order of decoding: without `known`, heads are 32
        channels wide and the order is the default.
        """
        transforms = residual_transforms("analysis", "synthesis", shapes)
        books, entries, code_width = shapes["quantiser.codebooks"]
        places, width = shapes["transformer.places"]
        if transforms.pop("latent") != books * code_width or transforms.pop("attention"):
            raise ValueError("its latent is not that of its codebooks")
        in_turn = known.in_turn if known else True  # nothing tells it of a single book
        return PqMimSizes(
            **transforms,
            books=books,
            entries=entries,
            code_width=code_width,
            window=round(places**0.5),
            width=width,
            layers=count("transformer.layers.{}.mix.weight", shapes),
            heads=known.heads if known else max(1, width // HEAD_WIDTH),
            hidden=shapes["transformer.layers.0.expand.weight"][0],
            order=known.order if known else QUINCUNX,
            in_turn=shapes["transformer.earlier"][0] > 0 if books > 1 else in_turn,
        )

    def build(self, config: PqMimSizes) -> "PqMimNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.pqmim.model import PqMimNetwork

        return PqMimNetwork(config)

    def initialise(
        self, network: "PqMimNetwork", crops: "Tensor", lambdas: Sequence[float]
    ) -> None:
        """Start as an orthogonal transform of `crops` (N, 3, H, W), with codebooks fitted to it."""
        from baselines.neural.pqmim.model import initialise

        initialise(network, crops, lambdas)

    def coder(
        self,
        network: "PqMimNetwork",
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> "PqMimCoder":
        """Return the coder of a network."""
        from baselines.neural.pqmim.coder import PqMimCoder

        return PqMimCoder(network, device)
