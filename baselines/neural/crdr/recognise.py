"""Sizes of a CRDR network, told from the names and shapes of its tensors. No torch."""

from baselines.neural.architecture import Shapes
from baselines.neural.crdr.sizes import Sizes
from baselines.neural.shapes import channel_context, hyper_latent, residual_transforms

# Tensors that every network of CRDR has, whatever its sizes.
LANDMARKS = (
    "analysis.layers.0.weight",
    "analysis.attentions.0.gain",
    "synthesis.attentions.0.gain",
    "synthesis.embedding.layers.0.weight",
    "hyper_analysis.0.weight",
    "hyper_synthesis.mean.0.weight",
    "prior.quantiles",
)


def sizes_from_shapes(shapes: Shapes, known: Sizes | None = None) -> Sizes:
    """Return the sizes of the network whose tensors have these names and shapes.

    Where several sizes give the same tensors, those of `known` are taken if they are among them.
    Raises `KeyError` for a tensor that is missing, `ValueError` for shapes that no sizes give.
    """
    hyper = hyper_latent("hyper_synthesis.mean", shapes)
    return Sizes(
        **residual_transforms("analysis.layers", "synthesis.layers", shapes),
        **hyper,
        **channel_context(hyper["support"], shapes, known),
        condition=shapes["synthesis.embedding.layers.0.weight"][0],
        rate_levels=shapes["analysis.attentions.0.gain"][0],
        frequencies=shapes["synthesis.embedding.layers.0.weight"][1] // 2,
    )
