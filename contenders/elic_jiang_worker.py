"""ELIC (He et al., CVPR 2022) as Wei Jiang implements it; no weights are published with it."""

import compressai.ops
import torch

if not hasattr(compressai.ops, "ste_round"):
    compressai.ops.ste_round = compressai.ops.quantize_ste  # its name in later versions

from config.config import model_config  # of the folder
from hyperpriors import decoded, encoded, frame, networks
from models import ELIC
from rdrbench_worker import serve

MULTIPLE = 64  # of height and width; zeros at the right and below, as in utils/testing.py
LAMBDAS = ("0.004", "0.008", "0.016", "0.032", "0.15", "0.45")  # of the paper: train them

if not torch.cuda.is_available():
    torch.cuda.synchronize = lambda: None  # their decompress calls it


class ElicJiang:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        torch.backends.cudnn.deterministic = True  # as theirs has it
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.models = networks(LAMBDAS, "checkpoints/elic_%s.pth.tar", self.model)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = ELIC(config=model_config()).to(self.device)
        if path:
            net.load_state_dict(torch.load(path, map_location=self.device)["state_dict"])
        net.eval().update(force=True)
        return net

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE, centred=False)
        return encoded(self.models[setting[1]], pixels.torch(self.device), zeros)

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        return decoded(self.models[setting[1]], data, *frame(size, MULTIPLE, centred=False))


if __name__ == "__main__":
    serve(ElicJiang)
