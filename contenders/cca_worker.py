"""CCA (Han et al., NeurIPS 2024) by the code of its authors."""

import torch
from hyperpriors import decoded, encoded, frame, networks, weights
from models import LICAutoencoder  # of the folder
from rdrbench_worker import serve

PROPORTION = 1.7  # of the slices, the default of eval.py
MULTIPLE = 128  # of height and width; zeros on all sides, as in eval.py
LAMBDAS = ("0.3", "0.85", "1.8", "3.5")  # those that are published


class Cca:
    """A model for each lambda whose checkpoint is there."""

    sweep = [("lambda", float(value)) for value in LAMBDAS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        torch.backends.cudnn.enabled = False  # as theirs has it
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.models = networks(LAMBDAS, "checkpoints/cca_%s.pth.tar", self.model)

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
            # theirs has more, for training
            net.load_state_dict(weights(path, self.device), strict=False)
        net.eval().update()
        return net

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE)
        return encoded(self.models[setting[1]], pixels.torch(self.device), zeros)

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        return decoded(self.models[setting[1]], data, *frame(size, MULTIPLE))


if __name__ == "__main__":
    serve(Cca)
