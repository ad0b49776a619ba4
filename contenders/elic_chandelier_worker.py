"""ELIC (He et al., CVPR 2022) as VincentChandelier implements it."""

import struct

import compressai.models.priors
import compressai.ops
import torch
from compressai.entropy_models import GaussianConditional

compressai.models.priors.GaussianConditional = GaussianConditional  # where older versions have it
compressai.ops.ste_round = getattr(compressai.ops, "ste_round", compressai.ops.quantize_ste)

from hyperpriors import cropped, frame, networks
from Network import TestModel  # of the folder
from rdrbench_worker import serve
from torch.nn.functional import pad

MULTIPLE = 64  # of height and width; zeros at the right and below, as in Inference.py
GROUPS = 5  # of channels, each in two strings
LAMBDAS = ("0.004", "0.008", "0.016", "0.032", "0.15", "0.45")


class ElicChandelier:
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
        net = TestModel()
        if path:
            state = torch.load(path, map_location="cpu")
            net = net.from_state_dict(state.get("state_dict", state))
        net.eval().to(self.device).update(force=True)
        return net

    def encode(self, pixels, setting):
        """Return the lengths of ten strings of y, these, and the string of z."""
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE, centred=False)
        with torch.no_grad():
            out = self.models[setting[1]].compress(pad(pixels.torch(self.device), zeros))
        groups, z = out["strings"]
        strings = [half[0] for group in groups for half in group]
        lengths = struct.pack(">%dI" % (2 * GROUPS), *map(len, strings))
        return lengths + b"".join(strings) + z[0]

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        lengths = struct.Struct(">%dI" % (2 * GROUPS))
        end, strings = lengths.size, []
        for length in lengths.unpack_from(data):
            strings.append([data[end : end + length]])
            end += length
        groups = [strings[2 * group : 2 * group + 2] for group in range(GROUPS)]
        zeros, shape = frame(size, MULTIPLE, centred=False)
        with torch.no_grad():
            out = self.models[setting[1]].decompress([groups, [data[end:]]], shape)
        return cropped(out["x_hat"], zeros)


if __name__ == "__main__":
    serve(ElicChandelier)
