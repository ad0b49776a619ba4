"""DiffEIC (Li et al., TCSVT 2024) by the code of its authors, over Stable Diffusion 2.1."""

import os

import torch
from hyperpriors import cropped, divided, frame, joined
from ldm.xformers_state import disable_xformers  # of the folder
from model.diffeic import DiffEIC  # here, so that it is fingerprinted
from model.spaced_sampler import SpacedSampler
from omegaconf import OmegaConf
from rdrbench_worker import serve
from torch.nn.functional import pad
from utils.common import load_state_dict

MULTIPLE = 64  # of height and width; zeros at the right and below, as in inference_partition.py
STEPS = 50  # of the sampler
SEED = 231  # of the noise that the decoder begins from
RATES = (16, 8, 4, 2, 1)  # folders checkpoints/1_2_RATE; the lowest rate first


class Eic:
    """One network; the parts that belong to a rate are exchanged when another is asked for."""

    sweep = [("rate", rate) for rate in RATES]
    decoder_needs = ("setting", "size")

    def __init__(self):
        self.device, self.loaded = "cuda" if torch.cuda.is_available() else "cpu", None
        if self.device == "cpu":
            disable_xformers()
        diffusion = os.environ.get("DIFFEIC_SD", "checkpoints/v2-1_512-ema-pruned.ckpt")
        options = OmegaConf.load("configs/model/diffeic.yaml").params
        options.sync_path = diffusion
        options.calculate_metrics = {}
        self.net = DiffEIC(**options)
        load_state_dict(self.net, torch.load(diffusion, map_location="cpu"), strict=False)
        self.net.freeze()
        self.net.to(self.device)

    def network(self, setting):
        """Return the network with the parts of a rate."""
        if setting != self.loaded:
            path = "checkpoints/1_2_%d/lc.ckpt" % setting[1]
            load_state_dict(self.net, torch.load(path, map_location="cpu"), strict=False)
            self.net.preprocess_model.update(force=True)
            self.loaded = setting
        return self.net

    def encode(self, pixels, setting):
        """Return the length of the string of y, that string and the one of z."""
        net, x = self.network(setting), pixels.torch(self.device)
        zeros, _ = frame((pixels.height, pixels.width), MULTIPLE, centred=False)
        with torch.no_grad():
            x = pad(x, zeros)
            latent = net.encode_first_stage(x * 2 - 1).mode() * net.scale_factor
            y, z = net.preprocess_model.compress(x, latent)["strings"]
        return joined(y[0], z[0])

    def decode(self, data, setting, size):
        """Return the picture, drawn from the same noise each time."""
        net, (y, z) = self.network(setting), divided(data)
        zeros, shape = frame(size, MULTIPLE, centred=False)
        torch.manual_seed(SEED)
        with torch.no_grad():
            hint = net.preprocess_model.decompress([[y], [z]], shape)
            known = {"c_latent": [hint], "c_crossattn": [net.get_learned_conditioning([""])]}
            noise = torch.randn((1, 4) + tuple(8 * side for side in shape), device=self.device)
            sampler = SpacedSampler(net, var_type="fixed_small")
            latent = sampler.sample(STEPS, noise.shape, known, x_T=noise)
            return cropped((net.decode_first_stage(latent) + 1) / 2, zeros)


if __name__ == "__main__":
    serve(Eic)
