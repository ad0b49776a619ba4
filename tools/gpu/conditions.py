"""Conditions of all parts: the device, the images, the folder of what is written, the machine."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from benchmark.codec import Pixels
from benchmark.datasets.folder import open_dataset
from benchmark.datasets.image import read_image
from benchmark.errors import Unavailable
from benchmark.system.machine import commit, machine
from benchmark.system.settings import DEVICE

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "compressai", "pytorch-fid", "numpy", "constriction")
SMALL_PX = (256, 272)  # height, width of the one image of a small run: every metric has a value


@dataclass(frozen=True)
class Conditions:
    """Folder, device and size of a run of the parts; `small` tries the parts themselves."""

    out: Path
    device: str  # cuda, or cpu where the parts themselves are tried
    small: bool
    carried: Path | None = None  # packs of another machine, to decode here

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the device that is measured, and the CPU that it is compared with."""
        return tuple(dict.fromkeys((self.device, "cpu")))

    @cached_property
    def dataset(self) -> str:
        """Return Kodak's name where its images are, else that of the bundled sample.

        A small run has a folder of its own with one crop of the sample.
        """
        if self.small:
            path = self.out / "images" / "crop.png"
            if not path.exists():
                first = read_image(open_dataset("sample").images[0].path).pixels
                path.parent.mkdir(parents=True, exist_ok=True)
                height, width = SMALL_PX
                Image.fromarray(np.ascontiguousarray(first[:height, :width])).save(path)
            return str(path.parent)
        try:
            open_dataset("kodak")
        except Unavailable:
            return "sample"
        return "kodak"

    def images(self) -> Iterator[tuple[str, Pixels]]:
        """Yield the name and the pixels of each image."""
        for one in open_dataset(self.dataset).images:
            yield one.name, read_image(one.path).pixels

    def synchronise(self, device: str) -> None:
        """Wait until the device has done all that it was given."""
        if device == "cuda":
            import torch

            torch.cuda.synchronize()

    def described(self) -> dict[str, Any]:
        """Return what a record says of the machine, the versions and the run."""
        return {
            "device": self.device,
            "device_name": device_name(self.device),
            "driver": driver() if self.device == "cuda" else None,
            "machine": machine(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PACKAGES},
            "cuda": _cuda_version(),
            "commit": commit(),
            "small": self.small,
            "dataset": "a crop of the sample" if self.small else self.dataset,
            "date": datetime.now(UTC).date().isoformat(),
        }


def device_name(device: str) -> str:
    """Return the name of the GPU by torch; of the CPU, that of the processor."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return machine()


def driver() -> str | None:
    """Return the version of the GPU's driver by nvidia-smi, None where that is missing."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().partition("\n")[0] or None


def _cuda_version() -> str | None:
    import torch

    return torch.version.cuda


def on_device(device: str) -> AbstractContextManager[object]:
    """Have codecs that are made inside choose this device."""
    return patch.dict(os.environ, {DEVICE: device})
