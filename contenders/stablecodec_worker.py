"""StableCodec (Zhang et al., ICCV 2025) by the code of its authors, over SD-Turbo."""

import os
import sys

sys.path.insert(0, "src")

import torch
from hyperpriors import divided, joined
from my_utils.testing_utils import parse_args_testing  # of the folder
from rdrbench_worker import Pixels, serve
from StableCodec import StableCodec
from torch.nn.functional import pad

MULTIPLE = 256  # of height and width; reflected at the right and below, as in compress.py
FILE = "checkpoints/stablecodec_ft%d.pkl"
RATES = (32, 24, 16, 12, 8, 6, 4, 3, 2)  # of the files' names
PARTS = ("codec", "vae", "unet")  # what a file has; of the last two, what was trained


class Stable:
    """One network; the parts that belong to a rate are exchanged when another is asked for."""

    sweep = [("ft", rate) for rate in RATES]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        first = next(FILE % rate for rate in RATES if os.path.isfile(FILE % rate))
        unused = ["--img_path", "", "--rec_path", "", "--bin_path", ""]
        words = ["--elic_path", "checkpoints/elic_official.pth", "--codec_path", first] + unused
        sd_turbo = "checkpoints/sd-turbo"
        options = parse_args_testing(["--sd_path", sd_turbo] + words)
        self.net, self.loaded = StableCodec(sd_path=sd_turbo, args=options).cuda().eval(), None

    def network(self, setting):
        """Return the network with the parts of a rate."""
        if setting != self.loaded:
            state = torch.load(FILE % setting[1], map_location="cpu")
            for part in PARTS:
                network = getattr(self.net, part)
                network.load_state_dict(dict(network.state_dict(), **state["state_dict_" + part]))
            self.net.codec.update(force=True)
            self.loaded = setting
        return self.net

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        below, right = (-side % MULTIPLE for side in (pixels.height, pixels.width))
        fits = below < pixels.height and right < pixels.width  # theirs fails on smaller pictures
        x = pixels.torch("cuda") * 2 - 1
        with torch.no_grad():
            x = pad(x, (0, right, 0, below), mode="reflect" if fits else "replicate")
            y, z = self.network(setting).compress(x)["strings"]
        return joined(y[0], z[0])

    def decode(self, data, setting, size):
        """Return the picture; the size of z follows from the picture's."""
        y, z = divided(data)
        shape = tuple((side + MULTIPLE - 1) // MULTIPLE for side in size)
        with torch.no_grad():
            x = self.network(setting).decompress([[y], [z]], shape, [1])
        return Pixels.from_torch(x[:, :, : size[0], : size[1]] / 2 + 0.5)


if __name__ == "__main__":
    serve(Stable)
