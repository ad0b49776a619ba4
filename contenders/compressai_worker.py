"""Networks of CompressAI's registry of variable rate, from an environment of its own."""

import os
import struct
import warnings

import torch
from compressai.registry import MODELS
from compressai.zoo.pretrained import load_pretrained
from hyperpriors import RANDOM, cropped, frame
from rdrbench_worker import serve
from torch.nn.functional import pad

NAME = os.environ.get("COMPRESSAI_MODEL", "mbt2018-mean-vbr")  # or another -vbr
VARIABLE = NAME.endswith("-vbr")  # a file for all rates, else one for each quality
QUALITIES = range(8) if VARIABLE else range(1, 7)
MULTIPLE = 64  # of height and width; zeros on all sides, as in CompressAI's eval_model


def packed(strings):
    """Return the strings of a batch of one, each behind its length."""
    return b"".join(struct.pack(">I", len(string)) + string for [string] in strings)


def unpacked(data):
    """Return the strings that `packed` put together."""
    strings, start = [], 0
    while start < len(data):
        end = start + 4 + struct.unpack_from(">I", data, start)[0]
        strings.append([data[start + 4 : end]])
        start = end
    return strings


class CompressAI:
    """A model for each quality whose checkpoint is there, or one for all."""

    sweep = [("quality", quality) for quality in QUALITIES]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        warnings.simplefilter("ignore")  # that CPUs suit the autoregressive ones
        autoregressive = NAME == "mbt2018-vbr"
        self.device = "cuda" if torch.cuda.is_available() and not autoregressive else "cpu"
        one = self.model("checkpoints/%s.pth.tar" % NAME) if VARIABLE or RANDOM else None
        self.models = {}
        for quality in QUALITIES:
            path = "checkpoints/%s_%d.pth.tar" % (NAME, quality)
            if one or os.path.isfile(path):
                self.models[quality] = one or self.model(path)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = MODELS[NAME]().eval()
        if not RANDOM:
            state = torch.load(path, map_location="cpu")
            net = MODELS[NAME].from_state_dict(load_pretrained(state.get("state_dict", state)))
        net.to(self.device).eval().update(force=True)
        return net

    def rate(self, setting):
        """Return the network of a setting, and how it is called."""
        quality = int(setting[1])
        return self.models[quality], {"s": quality} if VARIABLE else {}

    def encode(self, pixels, setting):
        """Return the strings with their lengths."""
        net, rate = self.rate(setting)
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE)
        x = pad(pixels.torch(self.device), zeros)
        with torch.no_grad():
            return packed(net.compress(x, **rate)["strings"])

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        net, rate = self.rate(setting)
        zeros, shape = frame(size, MULTIPLE)
        with torch.no_grad():
            out = net.decompress(unpacked(data), shape, **rate)
        return cropped(out["x_hat"], zeros)


if __name__ == "__main__":
    serve(CompressAI)
