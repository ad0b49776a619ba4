"""DCVC-UF's intra codec (Li et al., CVPR 2026) by the code of its authors, with its kernels."""

import os

import torch
from rdrbench_worker import Pixels, serve
from src.models.image_model import DMCI  # of the folder
from src.utils.common import get_state_dict, set_torch_env
from src.utils.transforms import rgb2ycbcr, ycbcr2rgb

RANDOM = bool(os.environ.get("BENCH_RANDOM_WEIGHTS"))
MULTIPLE = 16  # of height and width, as in test_video.py
ZERO_BELOW = 0.15  # scales, whose symbols are not coded: --skip_thres of its README


class DcvcUf:
    """One model for all rates, 64 of them."""

    sweep = [("qp", qp) for qp in (0, 21, 42, 63)]  # lowest rate first; --rate_num 4
    decoder_needs = ("setting", "size")

    def __init__(self):
        set_torch_env()  # deterministic algorithms
        self.net = DMCI().eval()
        if not RANDOM:
            self.net.load_state_dict(get_state_dict("checkpoints/cvpr2026_image.pth.tar"))
        self.net.update(ZERO_BELOW)
        self.net = self.net.half().cuda().to(memory_format=torch.channels_last)
        self._compressed(torch.zeros(1, 3, 64, 64, device="cuda"), 0)  # makes what decodes, too

    def _compressed(self, x, qp):
        right, below = DMCI.get_padding_size(x.shape[2], x.shape[3], MULTIPLE)
        x = (x.half() - 0.5).to(memory_format=torch.channels_last)
        with torch.no_grad():
            return self.net.compress(x, qp, below, right)

    def encode(self, pixels, setting):
        """Return the number of coders side by side, a byte, and their stream."""
        out = self._compressed(rgb2ycbcr(pixels.torch("cuda")), int(setting[1]))
        return bytes([out["ec_parallel"]]) + out["bit_stream"]

    def decode(self, data, setting, size):
        """Return the picture."""
        height, width = size
        shape = {"height": height, "width": width}
        with torch.no_grad():
            out = self.net.decompress(data[1:], shape, int(setting[1]), data[0])
        return Pixels.from_torch(ycbcr2rgb(out["x_hat"][:, :, :height, :width].float() + 0.5))


if __name__ == "__main__":
    serve(DcvcUf)
