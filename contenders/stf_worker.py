"""STF and WACNN (Zou, Song, Zhang, CVPR 2022) by the code of their authors."""

import os

import torch
from compressai.zoo import load_state_dict, models  # of the folder, not of a package
from hyperpriors import decoded, encoded, frame, networks
from rdrbench_worker import serve

ARCHITECTURE = os.environ.get("STF_ARCHITECTURE", "cnn")  # cnn is WACNN; or stf
MULTIPLE = 64  # of height and width; zeros on all sides, as in their eval_model
LAMBDAS = ("0.0018", "0.0035", "0.0067", "0.013", "0.025", "0.0483")


class Stf:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.models = networks(LAMBDAS, "checkpoints/%s_%%s.pth.tar" % ARCHITECTURE, self.model)

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
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE)
        return encoded(self.models[setting[1]], pixels.torch(self.device), zeros)

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        return decoded(self.models[setting[1]], data, *frame(size, MULTIPLE))


if __name__ == "__main__":
    serve(Stf)
