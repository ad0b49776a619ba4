"""LIC-TCM (Liu, Sun, Katto, CVPR 2023) by the code of its authors."""

import os
import struct

import torch
from models import TCM  # of the folder
from rdrbench_worker import Pixels, serve
from torch.nn.functional import pad

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
N = int(os.environ.get("TCM_N", "64"))  # 64 small, 96 middle, 128 large
MULTIPLE = 128  # of height and width; zeros on all sides, as in eval.py
LAMBDAS = ("0.0025", "0.0035", "0.0067", "0.013", "0.025", "0.05")


def padded(side):
    """Return a side with its zeros; their windows fail on 128."""
    return max(256, (side + MULTIPLE - 1) // MULTIPLE * MULTIPLE)


def edges(height, width):
    """Return the zeros at the left, right, top and bottom of a picture."""
    across, down = padded(width) - width, padded(height) - height
    return (across // 2, across - across // 2, down // 2, down - down // 2)


class Tcm:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        random = self.model(None) if RANDOM else None
        self.models = {}
        for value in LAMBDAS:
            path = os.path.join("checkpoints", "tcm_n%d_%s.pth.tar" % (N, value))
            if RANDOM or os.path.isfile(path):
                self.models[float(value)] = random or self.model(path)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = TCM([2, 2, 2, 2, 2, 2], [8, 16, 32, 32, 16, 8], 0.0, N=N, M=320).to(self.device)
        if path:
            state = torch.load(path, map_location=self.device)["state_dict"]
            net.load_state_dict({key.replace("module.", ""): state[key] for key in state})
        net.eval().update()
        return net

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        x = pad(pixels.torch(self.device), edges(pixels.height, pixels.width))
        with torch.no_grad():
            y, z = self.models[setting[1]].compress(x)["strings"]
        return struct.pack(">I", len(y[0])) + y[0] + z[0]

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        end = 4 + struct.unpack_from(">I", data)[0]
        shape = tuple(padded(side) // 64 for side in size)
        with torch.no_grad():
            out = self.models[setting[1]].decompress([[data[4:end]], [data[end:]]], shape)
        return Pixels.from_torch(pad(out["x_hat"], [-edge for edge in edges(*size)]))


if __name__ == "__main__":
    serve(Tcm)
