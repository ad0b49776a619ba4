"""MambaIC (Zeng et al., CVPR 2025) by the code of its authors, which needs a GPU."""

import torch
from hyperpriors import cropped, frame, networks, packed, unpacked, weights
from models import MambaIC  # of the folder
from rdrbench_worker import serve
from torch.nn.functional import pad

MULTIPLE = 128  # of height and width; zeros on all sides, as in eval.py
LEAST = 256  # of both sides: their windows fail on 128
LAMBDAS = ("0.025",)  # the one that is published


class Mambaic:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.models = networks(LAMBDAS, "checkpoints/checkpoint%s.pth.tar", self.model)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = MambaIC(depths=[2, 2, 9, 2], N=128, M=320).to("cuda").eval()
        if path:
            net.load_state_dict(weights(path, "cuda"))
        net.update()
        return net

    def encode(self, pixels, setting):
        """Return the strings of z and, for each slice of y, of its anchors and the others."""
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE, LEAST)
        with torch.no_grad():
            y, [z] = self.models[setting[1]].compress(pad(pixels.torch("cuda"), zeros))["strings"]
        return packed([z] + [string for halves in y for [string] in halves])

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        zeros, shape = frame(size, MULTIPLE, LEAST)
        z, *y = unpacked(data)
        halves = [[[anchors], [others]] for anchors, others in zip(y[::2], y[1::2])]
        with torch.no_grad():
            out = self.models[setting[1]].decompress([halves, [z]], shape)
        return cropped(out["x_hat"], zeros)


if __name__ == "__main__":
    serve(Mambaic)
