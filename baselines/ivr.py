"""IVR: one network for all rates, whose channels are scaled by interpolated masks.

    ivr
    ivr:checkpoint=trained/ivr.safetensors

Sun, Tan, Sun, Sun, Feng, "Interpolation Variable Rate Image Compression" (ACM MM 2021). The rate is
a real number q, coded in steps of 1/16. torch is imported with the first image, not before.
"""

from baselines.neural.checkpoint.card import verified_card
from baselines.neural.checkpoint_codec import CheckpointCodec, described
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.facts import Facts, Typical


class IVR(CheckpointCodec):
    """The network of the file `ivr.safetensors`, or of `checkpoint`."""

    name = "ivr"
    trained_by = "bench train --suite field --members ivr"
    facts = Facts(
        "IVR", "learned", "Trained for distortion", "#999933", "<", trained_on=("psnr_db",),
        typical=(Typical("q", ((0, 1.1),)),), published=(("IVR", "with U-Net"),), budget=True,
        kmac=14.8,
    )  # fmt: skip

    def __init__(self, *, checkpoint: str = "") -> None:
        super().__init__(checkpoint=checkpoint)
        self._highest = self._card.config.rate_levels - 1
        self.sweep = tuple(Setting("q", q) for q in range(self._highest + 1))
        self.accepts = Between("q", 0, self._highest)

    def describe(self) -> CodecInfo:
        """Return the checkpoint as its card describes it, and the sha256 of its tensors."""
        command = "IVR (Sun et al., ACM MM 2021) at q={q}, entropy path in integers"
        return described(
            verified_card(self._path), command, self.licence, self.revision, self._device
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream."""
        require_accepted(self, setting)
        from baselines.neural.ivr.architecture import RATE_GRID

        return self._codec().encode(pixels, RATE_GRID.step(setting.value))
