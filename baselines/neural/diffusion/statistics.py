"""Size of the residuals at each rate of the base, measured once before training."""

import torch
from torch import Tensor

from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.diffusion.config import DiffusionConfig
from baselines.neural.diffusion.model import DiffusionNetwork
from benchmark.codec import Setting
from benchmark.errors import UsageError

LEAST_SCALE = 1e-3  # a quarter of a grey level's error in rounding, on [-1, 1]


def open_base(config: DiffusionConfig) -> BaseCodec:
    """Return the base of a configuration; raises `UsageError` for a preset, which has none."""
    if not config.base:
        raise UsageError(
            "a diffusion decoder is trained for a base codec: bench train --suite generative "
            "--members dirac-elic, say, makes its configuration"
        )
    return BaseCodec(config.base)


def measure_levels(network: DiffusionNetwork, crops: Tensor) -> None:
    """Fill in the network's table of levels from photographs, `crops` (N, 3, H, W) in [-1, 1]."""
    config: DiffusionConfig = network.config
    base = open_base(config)
    flat = torch.zeros_like(crops[:1])
    pixels = crops.shape[2] * crops.shape[3]
    rows = []
    for value in config.settings:
        setting = Setting(config.setting, value)
        coded = base.code_crops(crops, setting)
        overhead = float(base.code_crops(flat, setting).bits) / 8
        residuals = crops - coded.images
        scale = max(float(residuals.square().mean().sqrt()), LEAST_SCALE)
        largest = _quantile(residuals.abs(), config.threshold_share)
        rate = (coded.bits / 8 - overhead).clamp(min=1).mul(8 / pixels).log2().mean()
        rows.append([scale, max(largest / scale, 1.0), float(rate), overhead])
    with torch.no_grad():
        network.level_table.copy_(torch.tensor(rows))


def _quantile(values: Tensor, share: float) -> float:
    """Return a quantile; torch's own takes no more than 16 million values."""
    flat = values.flatten()
    return float(flat.kthvalue(max(1, round(share * len(flat)))).values)
