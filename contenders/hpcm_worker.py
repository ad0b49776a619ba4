"""LIC-HPCM (Li et al., ICCV 2025) by the code of its authors, with its compiled coder."""

import importlib
import math
import os

import torch
from hyperpriors import cropped, divided, frame, joined, networks
from rdrbench_worker import serve
from torch.nn.functional import pad

MODEL = os.environ.get("HPCM_MODEL", "HPCM_Base")  # or HPCM_Large
network = importlib.import_module("src.models." + MODEL).HPCM  # here, so that it is fingerprinted
importlib.import_module("src.entropy_models")  # ubransEncoder, compiled

MULTIPLE = 256  # of height and width; zeros on all sides, as in test.py
LAMBDAS = ("0.0018", "0.0035", "0.0067", "0.013", "0.025", "0.0483")


class Hpcm:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.models = networks(LAMBDAS, "checkpoints/%s_%%s.pth.tar" % MODEL, self.model)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = network().eval()
        if path:
            net.load_state_dict(torch.load(path, map_location="cpu"), strict=True)
        net.update(torch.exp(torch.linspace(math.log(0.12), math.log(64), 60)))
        return net.to(self.device)

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE)
        with torch.no_grad():
            out = self.models[setting[1]].compress(pad(pixels.torch(self.device), zeros))
        return joined(*out["strings"])

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        zeros, shape = frame(size, MULTIPLE)
        with torch.no_grad():
            out = self.models[setting[1]].decompress(list(divided(data)), shape)
        return cropped(out["x_hat"], zeros)


if __name__ == "__main__":
    serve(Hpcm)
