"""The network of CRDR: one network for every rate and every realism weight.

::

    x ─ analysis(q) ─ y ───────────────────────── quantise ─ y_hat ─ synthesis(q, beta) ─> x_hat
                      └ hyper_analysis ─ z              └─── mu, sigma
                                         └ round ─ z_hat ─ hyper_synthesis ─ context ─┘

Iwai et al., "Controlling Rate, Distortion, and Realism" (WACV 2024). q is in [0, 4], beta in
[0, 5.12]. Beta acts in the decoder only, q in the two transforms only: the entropy model sees
neither, nor do the bits depend on beta.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from baselines.neural.blocks.control import Control, Level, control_of
from baselines.neural.crdr.realism import HIGHEST_BETA
from baselines.neural.crdr.sizes import Sizes
from baselines.neural.crdr.transforms import Analysis, Synthesis
from baselines.neural.entropy.hyperprior import HyperpriorNetwork
from baselines.neural.network import Estimate

FIRST_WEIGHTS = 0.02  # standard deviation, of the conditioning on beta
STRIDE = 64  # height and width of an image have to be multiples of it


class Controls(NamedTuple):
    """Rate q in [0, 4] and realism weight beta in [0, 5.12] of a batch."""

    rate: Level | Control
    realism: Level | Control = 0.0


class CRDRNetwork(HyperpriorNetwork):
    """The network; each step is a method, which the codec and the tests combine."""

    stride = STRIDE

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes: Sizes = sizes
        self.config = sizes
        self.analysis = Analysis(sizes)
        self.synthesis = Synthesis(sizes)
        self.add_entropy_model(sizes)
        self.quantised_bits = {"hyper_": 8, "context.": 8}
        for name in ("analysis", "synthesis"):
            for i, layer in enumerate(self.get_submodule(f"{name}.layers").children()):
                if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    self.quantised_bits[f"{name}.layers.{i}."] = 8

    def analyse(self, images: Tensor, q: Level | Control) -> Tensor:
        """Return y (N, M, H / 16, W / 16) of images (N, 3, H, W) in [-1, 1], multiples of 64.

        `q` is a number, (N,), or a map (N, 1, H / 64, W / 64). Raises `ValueError` for other
        shapes and for a level out of range.
        """
        if images.shape[2] % STRIDE or images.shape[3] % STRIDE:
            raise ValueError(f"{tuple(images.shape[2:])} are not multiples of {STRIDE}")
        latents: Tensor = self.analysis(images, self._rate(q, images))
        return latents

    def synthesise(self, latents: Tensor, q: Level | Control, beta: Level | Control) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of y as decoded.

        `q` and `beta` have the forms that `analyse` takes. Raises `ValueError` for others.
        """
        images: Tensor = self.synthesis(latents, *self.synthesis_controls(latents, q, beta))
        return images

    def synthesis_controls(
        self, latents: Tensor, q: Level | Control, beta: Level | Control
    ) -> tuple[Control, Control]:
        """Return what the synthesis of `latents` takes beside them, for rate and realism."""
        realism = beta if isinstance(beta, Control) else control_of(beta, HIGHEST_BETA, latents)
        return self._rate(q, latents), realism

    def controls_at(self, rate: Level | Control, realism: Level | Control) -> Controls:
        """Return the controls of `forward` at a rate q and a realism weight beta."""
        return Controls(rate, realism)

    def freezable(self) -> dict[str, Sequence[nn.Parameter]]:
        """Return the parts by name; `rate_control` and `realism_control` act on q and on beta."""
        parts = dict(super().freezable())
        parts["rate_control"] = parts["attentions"]
        parts["realism_control"] = [*parts["embedding"], *parts.get("project", ())]
        return parts

    def begin(self, parts: Collection[str]) -> None:
        """Draw the conditioning on beta as the authors do where they add it, after the rate stages.

        Weights from a normal distribution of standard deviation .02, biases 0. Until then, a fresh
        network does not depend on beta.
        """
        if "realism_control" in parts:
            embedding = [
                one for one in self.synthesis.embedding.layers if isinstance(one, nn.Linear)
            ]
            for layer in (*embedding, *self.synthesis.projections()):
                nn.init.normal_(layer.weight, std=FIRST_WEIGHTS)
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, controls: Controls, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1]; see `HyperpriorNetwork.code`."""
        q, beta = controls
        decoded, y_bits, z_bits = self.code(self.analyse(images, q).float(), noisy=noisy)
        return Estimate(self.synthesise(decoded, q, beta), y_bits, z_bits, decoded)

    def _rate(self, q: Level | Control, like: Tensor) -> Control:
        if isinstance(q, Control):
            return q
        return control_of(q, self.sizes.rate_levels - 1, like)
