"""EVC (Wang et al., ICLR 2023) by the code of its authors, with its compiled coder."""

import importlib
import os

import torch
from rdrbench_worker import Pixels, serve
from src.models import build_model  # of the folder, DCVC-family/EVC
from src.utils.stream_helper import get_padding_size, get_rounded_q, get_state_dict
from torch.nn.functional import pad

importlib.import_module("src.models.MLCodec_rans")  # compiled; here, so that it is fingerprinted

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
MODEL = os.environ.get("EVC_MODEL", "EVC_LL")  # with its file in checkpoints
FILE = "checkpoints/EVC_LL.pth.tar" if MODEL == "EVC_LL" else "checkpoints/%s_MD.pth.tar" % MODEL

if not torch.cuda.is_available():
    torch.cuda.synchronize = lambda: None  # their decompress calls it


class Evc:
    """One model whose checkpoint has four rates, as steps of quantization."""

    sweep = [("rate", index) for index in (3, 2, 1, 0)]  # of q_scale, the coarsest step first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(0)
        self.net = build_model(MODEL, ec_thread=False)
        steps = [0.5, 1.0, 2.0, 4.0]
        if not RANDOM:
            state = get_state_dict(FILE)
            steps = state["q_scale"].reshape(-1).tolist()
            self.net.load_state_dict(state, verbose=False)
        self.steps = [get_rounded_q(step)[0] for step in sorted(steps)]
        self.net.to(self.device).eval().update(force=True)

    def encode(self, pixels, setting):
        """Return their stream; zeros at the right and below, as in test_image.py."""
        x = pad(pixels.torch(self.device), get_padding_size(pixels.height, pixels.width))
        with torch.no_grad():
            return self.net.compress(x, self.steps[int(setting[1])])["bit_stream"]

    def decode(self, data, setting, size):
        """Return the picture."""
        with torch.no_grad():
            out = self.net.decompress(data, size[0], size[1], self.steps[int(setting[1])])
        return Pixels.from_torch(out["x_hat"][:, :, : size[0], : size[1]])


if __name__ == "__main__":
    serve(Evc)
