"""Drawn weights of VGG-16 and of DISTS, as files of the published names and in memory."""

from pathlib import Path

import torch
import torchvision
from torch import nn

CHANNELS = (3, 64, 128, 256, 512, 512)
NETWORK_FILE, IMPORTANCES_FILE = "vgg16-397923af.pth", "dists_weights.pt"


class DrawnVGG:
    def __init__(self, folder: Path) -> None:
        generator = torch.Generator().manual_seed(11)
        self.folder = folder
        with torch.device("meta"):
            features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
        self.features: nn.Sequential = features.to_empty(device="cpu")
        for tensor in self.features.state_dict().values():
            spread = 0.1 if tensor.dim() == 1 else (2 / tensor[0].numel()) ** 0.5
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
        state = {f"features.{name}": weight for name, weight in self.features.state_dict().items()}
        torch.save({"classifier.0.bias": torch.ones(2), **state}, folder / NETWORK_FILE)
        self.importances = {
            name: torch.rand(1, sum(CHANNELS), 1, 1, generator=generator)
            for name in ("alpha", "beta")
        }
        torch.save(self.importances, folder / IMPORTANCES_FILE)
