"""MUSIQ, CLIP-IQA and MANIQA: networks that rate an 8-bit RGB image, as pyiqa 0.1.16 runs them.

Ke et al., "MUSIQ: Multi-scale Image Quality Transformer" (2021); Wang, Chan, Loy, "Exploring CLIP
for Assessing the Look and Feel of Images" (2023), with pyiqa's five pairs of prompts; Yang et al.,
"MANIQA: Multi-dimension Attention Network for No-Reference Image Quality Assessment" (2022), 20
crops of 224 px at fixed places. MUSIQ and MANIQA are those trained on KonIQ-10k, pyiqa's default.

pyiqa is an optional dependency, whose licence forbids commercial use; its weights are pinned files.
"""

from pathlib import Path
from typing import Any, ClassVar

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.metric import ImageMetric, require_same_shape, require_side
from benchmark.registry import require_release
from benchmark.system.backbone import load_pinned, require_pinned
from benchmark.system.weights import find_fetched

VERSION = "0.1.16"
INSTALL = f"pip install pyiqa=={VERSION} 'setuptools<82'"


class LearnedRating(ImageMetric):
    """Rating of the decoded image alone by a network of pyiqa that a subclass names.

    float32 on every device; higher is better. A GPU may round otherwise than the CPU.
    """

    min_side_px = 32  # patches of MUSIQ, strides of the other two
    file: ClassVar[str]
    sha256: ClassVar[str]  # of the file, or how it begins
    published: ClassVar[str]  # its name in messages

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where pyiqa or the weights are missing or others."""
        path = self.require()
        self._device = device
        try:
            self._network = self.open(path, device)
        except ImportError as error:  # pyiqa needs forty packages, some of which are not there
            raise Unavailable(f"{self.label} needs all that pyiqa needs: {error}") from error

    @classmethod
    def require(cls) -> Path:
        """Return the weights' file; `Unavailable` where pyiqa or it is missing."""
        require_release(cls.label, "pyiqa", VERSION, INSTALL)
        return find_fetched((cls.file,), cls.column, "the file")

    def open(self, path: Path, device: str) -> Any:
        """Return pyiqa's network with the weights in `path`."""
        state = load_pinned(path, self.sha256, self.published)
        from unittest.mock import patch

        import timm
        from pyiqa import create_metric

        make = timm.create_model

        def without_weights(*names: Any, **options: Any) -> Any:
            """Make a network without weights of timm's, which are overwritten anyway."""
            return make(*names, **{**options, "pretrained": False})

        with patch.object(timm, "create_model", without_weights):
            metric = create_metric(self.column, device=device, pretrained=False)
        metric.net.load_state_dict({key.removeprefix("module."): state[key] for key in state})
        return metric

    def prepare(self, reference: Pixels) -> tuple[int, ...]:
        """Return the source's shape; `NotMeasurable` where a side is shorter than 32 px."""
        require_side(reference, self.min_side_px, self.label)
        return reference.shape

    def compare(self, prepared: tuple[int, ...], decoded: Pixels) -> float:
        """Return the rating of the decoded image; `ValueError` unless it has that shape."""
        import torch

        require_same_shape(prepared, decoded.shape)
        whole = torch.from_numpy(decoded.copy()).to(self._device)
        unit = whole.permute(2, 0, 1)[None].float() / 255
        try:
            with torch.inference_mode():
                return float(self._network(unit))
        except torch.OutOfMemoryError as error:
            raise NotMeasurable(f"{self.label} of this image needs more memory: {error}") from error


class MUSIQ(LearnedRating):
    """MUSIQ of the whole image at its own size and at two smaller ones, about 0 to 100."""

    column = "musiq"
    label = "MUSIQ"
    file = "musiq_koniq_ckpt-e95806b9.pth"
    sha256 = "e95806b9"  # of its published name; the rest is not known
    published = "pyiqa's MUSIQ, trained on KonIQ-10k"
    protocol = f"musiq/pyiqa-{VERSION}-koniq-{sha256[:8]}"


class CLIPIQA(LearnedRating):
    """CLIP-IQA with CLIP's ResNet-50, of the whole image, 0 to 1."""

    column = "clip_iqa"
    label = "CLIP-IQA"
    file = "RN50.pt"
    sha256 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
    published = "OpenAI's CLIP RN50.pt"
    protocol = f"clip-iqa/pyiqa-{VERSION}-rn50-{sha256[:8]}"

    def open(self, path: Path, device: str) -> Any:
        """Return CLIP-IQA with the network in `path`, an archive of OpenAI."""
        require_pinned(path, self.sha256, self.published)
        from pyiqa import create_metric

        return create_metric("clipiqa", device=device, backbone=str(path))


class MANIQA(LearnedRating):
    """MANIQA of 20 crops of the image, about 0 to 1; takes a minute per image on a CPU."""

    column = "maniqa"
    label = "MANIQA"
    file = "ckpt_koniq10k.pt"
    sha256 = "a207f8ab57322e6be38ff5c8d019301dc032b454bef21c3c9f9dbf7974eebff6"
    published = f"MANIQA's {file}"
    protocol = f"maniqa/pyiqa-{VERSION}-koniq-{sha256[:8]}"
