"""The receiver's part: a base picture and its stream to the pixels that are drawn."""

import numpy as np
import torch
from torch import Tensor

from baselines.neural.diffusion.drawing import draw
from baselines.neural.diffusion.model import DiffusionNetwork
from baselines.neural.diffusion.noise import noise_key, normal_noise
from baselines.neural.inference import inference, padded, to_images, to_pixels
from benchmark.codec import Pixels


def receive(
    network: DiffusionNetwork,
    base: Pixels,
    stream: bytes,
    position: float,
    steps: int,
    start: float,
    seed: int,
) -> Pixels:
    """Return the pixels (height, width, 3) drawn behind `base`, of that shape.

    position: of the stream among the network's rate levels. steps, start: as of `draw`. The noise
    is that of the stream and `seed`.
    """
    height, width, _ = base.shape
    device = next(network.parameters()).device
    images = to_images(padded(base, network.stride), device)
    images = images.contiguous(memory_format=torch.channels_last)
    key, (_, channels, rows, columns) = noise_key(stream, seed), images.shape

    def noise(step: int) -> Tensor:
        drawn = normal_noise(key, step, (1, rows, columns, channels))
        return torch.from_numpy(np.moveaxis(drawn, 3, 1)).to(device)

    with inference():
        made = draw(network, images, network.facts(position), noise, steps, start)
        return to_pixels(made[:, :, :height, :width])
