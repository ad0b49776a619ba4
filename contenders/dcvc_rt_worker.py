"""DCVC-RT's intra codec (Jia et al., CVPR 2025) by the code of its authors, with its coder."""

import importlib
import os
from contextlib import nullcontext
from unittest.mock import MagicMock

import torch
from rdrbench_worker import Pixels, serve
from src.layers.cuda_inference import replicate_pad  # of the folder, DCVC-family/DCVC-RT
from src.models.image_model import DMCI
from src.utils.common import get_state_dict, set_torch_env
from src.utils.transforms import rgb2ycbcr, ycbcr2rgb

importlib.import_module("MLCodec_extensions_cpp")  # compiled

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
MULTIPLE = 16  # of height and width; edges repeated at the right and below, as in test_video.py
ZERO_BELOW = 0.12  # scales, whose symbols are not coded: --force_zero_thres of its README
TWO_CODERS_ABOVE = 1280 * 720  # pixels, as in test_video.py

if not torch.cuda.is_available():  # their compress codes beside the GPU's work
    torch.cuda.Event = torch.cuda.Stream = lambda *_, **__: MagicMock()
    torch.cuda.stream = lambda _: nullcontext()
    torch.cuda.synchronize = lambda device=None: None


class DcvcRt:
    """One model for all rates, 64 of them."""

    sweep = [("qp", qp) for qp in (0, 21, 42, 63)]  # lowest rate first; --rate_num 4
    decoder_needs = ("setting", "size")

    def __init__(self):
        set_torch_env()  # deterministic algorithms
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.net = DMCI()
        if not RANDOM:
            self.net.load_state_dict(get_state_dict("checkpoints/cvpr2025_image.pth.tar"))
        self.net.to(self.device).eval()
        self.net.update(ZERO_BELOW)
        if self.device == "cuda":
            self.net.half()
        self.dtype = next(self.net.parameters()).dtype

    def encode(self, pixels, setting):
        """Return their stream; which picture has two coders follows from its size."""
        height, width = pixels.height, pixels.width
        x = rgb2ycbcr(pixels.torch(self.device)).to(self.dtype)
        right, below = DMCI.get_padding_size(height, width, MULTIPLE)
        self.net.set_use_two_entropy_coders(height * width > TWO_CODERS_ABOVE)
        with torch.no_grad():
            out = self.net.compress(replicate_pad(x, below, right), int(setting[1]))
        return bytes(out["bit_stream"])

    def decode(self, data, setting, size):
        """Return the picture."""
        height, width = size
        two = int(height * width > TWO_CODERS_ABOVE)
        shape = {"height": height, "width": width, "ec_part": two}
        with torch.no_grad():
            out = self.net.decompress(data, shape, int(setting[1]))
        return Pixels.from_torch(ycbcr2rgb(out["x_hat"].float())[:, :, :height, :width])


if __name__ == "__main__":
    serve(DcvcRt)
