"""LIC-TCM (Liu, Sun, Katto, CVPR 2023) by the code of its authors."""

import os

import torch
from hyperpriors import decoded, encoded, frame, networks, weights
from models import TCM  # of the folder
from rdrbench_worker import serve

N = int(os.environ.get("TCM_N", "64"))  # 64 small, 96 middle, 128 large
MULTIPLE = 128  # of height and width; zeros on all sides, as in eval.py
LEAST = 256  # of both sides: their windows fail on 128
LAMBDAS = ("0.0025", "0.0035", "0.0067", "0.013", "0.025", "0.05")


class Tcm:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.models = networks(LAMBDAS, "checkpoints/tcm_n%d_%%s.pth.tar" % N, self.model)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = TCM([2, 2, 2, 2, 2, 2], [8, 16, 32, 32, 16, 8], 0.0, N=N, M=320).to(self.device)
        if path:
            net.load_state_dict(weights(path, self.device))
        net.eval().update()
        return net

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE, LEAST)
        return encoded(self.models[setting[1]], pixels.torch(self.device), zeros)

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        return decoded(self.models[setting[1]], data, *frame(size, MULTIPLE, LEAST))


if __name__ == "__main__":
    serve(Tcm)
