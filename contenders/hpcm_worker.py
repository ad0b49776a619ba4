"""LIC-HPCM (Li et al., ICCV 2025) by the code of its authors, with its compiled coder."""

import importlib
import math
import os
import struct

import torch
from rdrbench_worker import Pixels, serve
from torch.nn.functional import pad

MODEL = os.environ.get("HPCM_MODEL", "HPCM_Base")  # or HPCM_Large
network = importlib.import_module("src.models." + MODEL).HPCM  # here, so that it is fingerprinted
importlib.import_module("src.entropy_models")  # ubransEncoder, compiled

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
MULTIPLE = 256  # of height and width; zeros on all sides, as in test.py
LAMBDAS = ("0.0018", "0.0035", "0.0067", "0.013", "0.025", "0.0483")


def edges(height, width):
    """Return the zeros at the left, right, top and bottom of a picture."""
    across, down = -width % MULTIPLE, -height % MULTIPLE
    return (across // 2, across - across // 2, down // 2, down - down // 2)


class Hpcm:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        random = self.model(None) if RANDOM else None
        self.models = {}
        for value in LAMBDAS:
            path = os.path.join("checkpoints", "%s_%s.pth.tar" % (MODEL, value))
            if RANDOM or os.path.isfile(path):
                self.models[float(value)] = random or self.model(path)

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
        x = pad(pixels.torch(self.device), edges(pixels.height, pixels.width))
        with torch.no_grad():
            y, z = self.models[setting[1]].compress(x)["strings"]
        return struct.pack(">I", len(y)) + y + z

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        end = 4 + struct.unpack_from(">I", data)[0]
        shape = tuple((side + MULTIPLE - 1) // MULTIPLE * MULTIPLE // 64 for side in size)
        with torch.no_grad():
            out = self.models[setting[1]].decompress([data[4:end], data[end:]], shape)
        return Pixels.from_torch(pad(out["x_hat"], [-edge for edge in edges(*size)]))


if __name__ == "__main__":
    serve(Hpcm)
