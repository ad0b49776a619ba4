"""Photographs of a training run as the base shows them: coded whole, once a level, and kept.

A crop of such a picture is what a decoder sees, while a crop coded by itself has borders that are
inside the photograph. And a step needs no base then, which takes half of its time otherwise.
"""

import io
from pathlib import Path

import numpy as np
import torch

from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.inference import padded, to_images, to_pixels
from baselines.neural.training.photographs import Photographs
from benchmark.codec import Pixels, Setting
from benchmark.system.atomic import write_file

FOLDER = "base"  # in the run's folder
MOST_BYTES = 16 << 30  # of pixels of all levels; a run with more codes its crops by themselves


class ShownPhotographs:
    """Photographs at one setting of a base, by number, as `draw_crops` reads them.

    A photograph is coded where it is needed first, and written to a file of `folder`.
    """

    def __init__(
        self,
        photographs: Photographs,
        base: BaseCodec,
        setting: Setting,
        folder: Path,
        device: torch.device,
    ) -> None:
        self._photographs, self._folder = photographs, folder
        self._base, self._setting, self._device = base, setting, device

    def __len__(self) -> int:
        return len(self._photographs)

    def decoded(self, index: int) -> Pixels:
        """Return what the base shows of a photograph, uint8 (height, width, 3)."""
        path = self._folder / f"{self._setting.value:g}-{index}.npy"
        try:
            kept: Pixels = np.load(path, mmap_mode="r")
        except FileNotFoundError:
            kept = self._coded(self._photographs.decoded(index))
            content = io.BytesIO()
            np.save(content, kept)
            write_file(path, content.getbuffer())
        return kept

    def _coded(self, pixels: Pixels) -> Pixels:
        image = to_images(padded(pixels), self._device)
        shown = to_pixels(self._base.code_crops(image, self._setting).images)
        return shown[: pixels.shape[0], : pixels.shape[1]]
