"""CCA (Han et al., NeurIPS 2024) by the code of its authors."""

import os
import struct

import torch
from models import LICAutoencoder  # of the folder
from rdrbench_worker import Pixels, serve
from torch.nn.functional import pad

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
PROPORTION = 1.7  # of the slices, the default of eval.py
MULTIPLE = 128  # of height and width; zeros on all sides, as in eval.py
LAMBDAS = ("0.3", "0.85", "1.8", "3.5")  # those that are published


def edges(height, width):
    """Return the zeros at the left, right, top and bottom of a picture."""
    across, down = -width % MULTIPLE, -height % MULTIPLE
    return (across // 2, across - across // 2, down // 2, down - down // 2)


class Cca:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        torch.backends.cudnn.enabled = False  # as theirs has it
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        random = self.model(None) if RANDOM else None
        self.models = {}
        for value in LAMBDAS:
            path = os.path.join("checkpoints", "cca_%s.pth.tar" % value)
            if RANDOM or os.path.isfile(path):
                self.models[float(value)] = random or self.model(path)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = LICAutoencoder(
            M=320,
            prop_slices=[group**PROPORTION for group in range(1, 6)],
            ae_dim=[192, 224, 256],
            em_dim=224,
            ae_layers=[4, 4, 4],
            em_layers=4,
            cca_training=False,
        ).to(self.device)
        if path:
            state = torch.load(path, map_location=self.device)["state_dict"]
            weights = {key.replace("module.", ""): state[key] for key in state}
            net.load_state_dict(weights, strict=False)  # theirs has more, for training
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
        shape = tuple((side + MULTIPLE - 1) // MULTIPLE * MULTIPLE // 64 for side in size)
        with torch.no_grad():
            out = self.models[setting[1]].decompress([[data[4:end]], [data[end:]]], shape)
        return Pixels.from_torch(pad(out["x_hat"], [-edge for edge in edges(*size)]))


if __name__ == "__main__":
    serve(Cca)
