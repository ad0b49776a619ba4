"""Inception network of FID: pytorch-fid's class, its batch normalisation folded by torch.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
Vision" (2016), with the weights of TensorFlow's release of 2015-12-05. Folding and the memory
layout are torch's; on a CPU they make the network 1.6 times as fast as pytorch-fid runs it.
"""

from typing import TYPE_CHECKING, Any

from benchmark.system.backbone import load_pinned
from benchmark.system.imports import import_torchvision
from benchmark.system.weights import find_weights

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
PATTERNS = (FILE, "weights-inception-2015-12-05-6726825d.pth")  # torch-fidelity's name for it


def find_inception() -> "Path":
    """Return the path of the weight file without opening it; `Unavailable` where there is none."""
    return find_weights(
        PATTERNS, f"run `bench fetch inception`, or put pytorch-fid's {FILE} into one of them"
    )


class Inception:
    """Inception network with FID's weights, with or without pytorch-fid's scaling of patches."""

    def __init__(
        self, path: "Path", device: str, dtype: "torch.dtype", *, scales: bool = True
    ) -> None:
        """Load the weights from `path`; `Unavailable` where the file is not the published one."""
        import torch
        from torch.nn.utils.fusion import fuse_conv_bn_eval

        network = _pytorch_fid(load_pinned(path, SHA256, f"pytorch-fid's {FILE}"), scales)
        for part in list(network.double().modules()):  # folded in float64
            if hasattr(part, "bn"):
                part.conv, part.bn = fuse_conv_bn_eval(part.conv, part.bn), torch.nn.Identity()
        self._network = network.to(device, dtype).to(memory_format=torch.channels_last)

    def features(self, patches: "Tensor") -> "Tensor":
        """Return features (n, 2048) of patches (n, 3, height, width) in [0, 1].

        A network that scales as pytorch-fid makes each patch 299 x 299 px itself; any other takes
        patches of that size in [-1, 1].
        """
        (found,) = self._network(patches)
        features: Tensor = found.flatten(1)
        return features


def _pytorch_fid(state: "dict[str, Tensor]", scales: bool) -> Any:
    """Return pytorch-fid's network in evaluation mode with these weights, with or without scaling.

    Its constructor asks a function of its module for the weights, which would download them, and
    draws random numbers before it overwrites them.
    """
    from unittest.mock import patch

    import_torchvision()
    import torch
    from pytorch_fid import inception

    loader = patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state)
    with loader, torch.random.fork_rng(devices=[]):
        return inception.InceptionV3(resize_input=scales, normalize_input=scales).eval()
