"""STF and WACNN (Zou, Song, Zhang, CVPR 2022) by the code of their authors."""

import os
import struct

import torch
from compressai.zoo import load_state_dict, models  # of the folder, not of a package
from rdrbench_worker import Pixels, serve
from torch.nn.functional import pad

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
ARCHITECTURE = os.environ.get("STF_ARCHITECTURE", "cnn")  # cnn is WACNN; or stf
MULTIPLE = 64  # of height and width; zeros on all sides, as in their eval_model
LAMBDAS = ("0.0018", "0.0035", "0.0067", "0.013", "0.025", "0.0483")


def edges(height, width):
    """Return the zeros at the left, right, top and bottom of a picture."""
    across, down = -width % MULTIPLE, -height % MULTIPLE
    return (across // 2, across - across // 2, down // 2, down - down // 2)


class Stf:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        random = self.model(None) if RANDOM else None
        self.models = {}
        for value in LAMBDAS:
            path = os.path.join("checkpoints", "%s_%s.pth.tar" % (ARCHITECTURE, value))
            if RANDOM or os.path.isfile(path):
                self.models[float(value)] = random or self.model(path)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = models[ARCHITECTURE]()
        if path:
            state = torch.load(path, map_location="cpu")["state_dict"]
            net = models[ARCHITECTURE].from_state_dict(load_state_dict(state))
        net.eval().to(self.device).update(force=True)
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
        shape = tuple((side + MULTIPLE - 1) // MULTIPLE for side in size)
        with torch.no_grad():
            out = self.models[setting[1]].decompress([[data[4:end]], [data[end:]]], shape)
        return Pixels.from_torch(pad(out["x_hat"], [-edge for edge in edges(*size)]))


if __name__ == "__main__":
    serve(Stf)
