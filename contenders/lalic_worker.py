"""LALIC (Feng et al., CVPR 2025) by the code of its authors, which needs a GPU."""

import torch
from eval import load_checkpoint  # of the folder
from hyperpriors import cropped, frame, networks, packed, unpacked
from models import LALIC  # of the folder
from rdrbench_worker import serve
from torch.nn.functional import pad

MULTIPLE = 128  # of height and width; zeros on all sides, as in eval.py
QUALITIES = ("1", "2", "3", "4", "5", "6")  # lambda .0018, .0035, .0067, .013, .025, .0483


class Lalic:
    """A model for each quality whose checkpoint is there."""

    sweep = [("quality", float(value)) for value in QUALITIES]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.models = networks(QUALITIES, "checkpoints/lalic-mse-q%s.pth", self.model)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = (load_checkpoint(LALIC, path) if path else LALIC().eval()).to("cuda")
        net.update()
        return net

    def encode(self, pixels, setting):
        """Return two strings for each group of channels of y, and the one of z."""
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE)
        with torch.no_grad():
            out = self.models[setting[1]].compress(pad(pixels.torch("cuda"), zeros))
        return packed([string for [string] in out["strings"]])

    def decode(self, data, setting, size):
        """Return the picture; the sizes of y and z follow from the picture's."""
        net = self.models[setting[1]]
        zeros, (down, across) = frame(size, MULTIPLE)
        y = [(group, 4 * down, 4 * across) for group in net.groups]
        strings = [[string] for string in unpacked(data)]
        with torch.no_grad():
            out = net.decompress(strings, {"y": y, "hyper": (down, across)})
        return cropped(out["x_hat"], zeros)


if __name__ == "__main__":
    serve(Lalic)
