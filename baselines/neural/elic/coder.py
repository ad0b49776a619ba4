"""The coder of ELIC: that of any hyperprior, with the space-channel context as its path."""

from typing import ClassVar

from baselines.neural.elic.path import ElicPath
from baselines.neural.entropy.fixed.integer_path import IntegerPath
from baselines.neural.entropy.hyperprior_coder import TransformCoder


class ElicCoder(TransformCoder):
    """Images to latents to bytes, and back; see `TransformCoder`."""

    path_type: ClassVar[type[IntegerPath]] = ElicPath
