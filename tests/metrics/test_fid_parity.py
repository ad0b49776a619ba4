"""FID/256 from photographs to number, against pytorch-fid on files of the same patches."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmark.metrics.feature_spaces import Inception256, cut_patches
from benchmark.metrics.frechet import FID256
from support.networks.inception_files import as_files, inception_case


def as_jpeg(pixels, quality):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Matrix is singular")  # both of pytorch-fid
def test_fid_of_photographs_is_pytorch_fids_of_files_of_their_patches(
    request, coffee, tmp_path, monkeypatch
):
    from pytorch_fid.fid_score import calculate_frechet_distance

    case = inception_case(request, monkeypatch)
    sources = [coffee, coffee[::-1].copy(), coffee[:, ::-1].copy()]
    decoded = [as_jpeg(pixels, 10) for pixels in sources]
    space = Inception256()
    found = FID256().reduce(
        *([space.features(one) for one in images] for images in (sources, decoded))
    )

    moments = []
    for name, images in (("sources", sources), ("decoded", decoded)):
        folder = tmp_path / name
        folder.mkdir()
        features = case.peer(as_files([p for one in images for p in cut_patches(one)], folder))
        moments += [features.mean(axis=0), np.cov(features, rowvar=False)]
    theirs = calculate_frechet_distance(*moments)
    assert found.value == pytest.approx(theirs, rel=1e-3)
    assert found.value > 0.001 * np.trace(moments[1])
