"""MS-ILLM (Muckley et al., ICML 2023) by the code of its authors, its eight rates."""

import torch
from hyperpriors import divided, joined, networks
from neuralcompression import HyperpriorCompressedOutput  # of the folder
from neuralcompression.models import HiFiCAutoencoder
from rdrbench_worker import Pixels, serve

MULTIPLE = 64  # of height and width; reflected at the right and below by theirs
TARGETS = ("0.00218", "0.00438", "0.035", "0.07", "0.14", "0.3", "0.45", "0.9")


class MsIllm:
    """A model for each target rate, in bits per pixel, whose checkpoint is there."""

    sweep = [("target_bpp", float(value)) for value in TARGETS]  # lowest rate first
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.models = networks(TARGETS, "checkpoints/msillm_target_%sbpp.ckpt", self.model)

    def model(self, path):
        """Return a network with the weights of a file, or the same random ones each time."""
        torch.manual_seed(0)
        net = HiFiCAutoencoder().to(self.device)
        if path:
            net.load_state_dict(torch.load(path, map_location=self.device))
        net.eval().update_tensor_devices("compress")  # what chooses the tables, to the CPU
        return net

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        with torch.no_grad():
            out = self.models[setting[1]].compress(pixels.torch(self.device), force_cpu=False)
        return joined(out.latent_strings[0], out.hyper_latent_strings[0])

    def decode(self, data, setting, size):
        """Return the picture; theirs crops it."""
        y, z = divided(data)
        padded = tuple((side + MULTIPLE - 1) // MULTIPLE * MULTIPLE for side in size)
        strings = HyperpriorCompressedOutput(
            latent_strings=[y], hyper_latent_strings=[z], image_size=size, padded_size=padded
        )
        with torch.no_grad():
            return Pixels.from_torch(self.models[setting[1]].decompress(strings, force_cpu=False))


if __name__ == "__main__":
    serve(MsIllm)
