"""A study of real streams of two codecs on two photographs."""

import numpy as np
import pytest
from PIL import Image

import benchmark
from benchmark.compare.experiment import Experiment
from benchmark.study.folder import write_study

CODECS = "jpeg,webp,jpeg2000"
QUALITIES = ",".join(map(str, range(10, 96, 5)))
POINTS = (f"jpeg.quality={QUALITIES}", f"webp.quality={QUALITIES}", "jpeg2000.ratio=30,20,15,12")
RATES = ("0.8", "1.2", "1.6", "2")  # bpp


@pytest.fixture(scope="package")
def measured(tmp_path_factory, coffee):
    folder = tmp_path_factory.mktemp("study")
    (folder / "photos").mkdir()
    for name, (left, top) in {"cup": (0, 0), "spoon": (330, 190)}.items():
        crop = np.ascontiguousarray(coffee[top : top + 200, left : left + 240])
        Image.fromarray(crop).save(folder / "photos" / f"{name}.png")
    options = {"metrics": "psnr,ms_ssim", "results": folder / "results", "jobs": 1}
    benchmark.run(CODECS, str(folder / "photos"), points=[*POINTS], **options)
    return folder


@pytest.fixture(scope="package")
def write(measured):
    def made(out, codecs=CODECS, **changed):
        usual = {"bpp": RATES, "raters": 3, "questions": 6, "crop": 96}
        experiment = Experiment(measured / "results", str(measured / "photos"), codecs)
        return write_study(out, experiment, **usual | changed)

    return made


@pytest.fixture(scope="package")
def study(tmp_path_factory, write):
    out = tmp_path_factory.mktemp("written") / "study"
    write(out)
    return out
