"""Every verb that needs pixels of stored rows, with every kind of codec that can provide them."""

import json
import shutil
import sys
from contextlib import chdir
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import benchmark
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.network_codec import BUNDLED
from benchmark import plugins
from benchmark.rows.edition import label_of
from benchmark.rows.packs.contents import dataset_contents
from benchmark.spec import CodecSpec
from benchmark.study.form import read_key
from support.bench.command import bench
from support.files.package import install
from support.quick import quick

MINE = '''
"""JPEG of the negative."""

from io import BytesIO

import numpy as np
from PIL import Image

from benchmark.codec import Setting


class Mine:
    sweep = tuple(Setting("level", level) for level in (30, 60, 80, 90, 95, 98))

    def encode(self, pixels, setting):
        Image.fromarray(255 - pixels).save(out := BytesIO(), "JPEG", quality=int(setting.value))
        return out.getvalue()

    def decode(self, data):
        return 255 - np.asarray(Image.open(BytesIO(data)).convert("RGB"))
'''
NETWORK = '''
"""A hyperprior with a checkpoint for each rate."""

import torch
from compressai.models import ScaleHyperprior

from baselines.torch_model import TorchModel


class Network(TorchModel):
    checkpoints = {1.0: "1.pth", 3.0: "3.pth"}

    def load(self, file):
        network = ScaleHyperprior.from_state_dict(torch.load(file))
        network.g_s[-1].bias.data += 0.02  # pixels of its own
        return network
'''
CHECKPOINTS = "1.pth", "3.pth"
IMAGES = {"cup": (0, 0), "spoon": (330, 190)}
LEVELS = (40, 70, 85, 93, 97)
PROGRAM = '''
"""The first argument's picture as a JPEG of a quality, or the picture of a JPEG."""

import sys

from PIL import Image

source, target, *quality = sys.argv[1:]
picture = Image.open(source).convert("RGB")
options = {"format": "JPEG", "quality": int(quality[0])} if quality else {"format": "PNG"}
picture.save(target, **options)
'''
RUN = f"{sys.executable} program.py"
KINDS = {  # the codec as typed, and its label
    "class": ("./mine.py:Mine", "mine.py:Mine"),
    "worker": ("worker:results/contenders/toy.toml", "toy"),
    "folder": ("folder:path=pics:name=Pics", "Pics"),
    "programs": (
        f"command:encode={RUN} {{in}} {{out}} {{q}}:decode={RUN} {{in}} {{out}}"
        ":values=70/85/93:name=Programs",
        "Programs",
    ),
    "repeat": ("repeat:base=jpeg:times=3", "repeat:base=jpeg:times=3"),
    "built-in": ("webp", "webp"),
    "torch model": ("./network.py:Network", "network.py:Network"),
    "zoo": (
        f"compressai:model=bmshj2018-hyperprior:checkpoint={','.join(CHECKPOINTS)}:name=Zoo", "Zoo"
    ),
    "package": ("negative", "negative"),
}  # fmt: skip
COMPRESSAI_KINDS = {"torch model", "zoo"}
SECOND_CODEC = "jpeg"  # in the figure or study of each kind
# Of SECOND_CODEC, so that it has a picture at any rate
QUALITIES = ",".join(map(str, range(20, 98, 2)))


class Case(NamedTuple):
    """A kind of codec with stored rows, and where a verb writes."""

    spec: str
    label: str
    rows: list[dict]  # of one dataset, of this codec
    out: Path

    @property
    def both_codecs(self) -> tuple[str, ...]:
        words = ("--codecs", f"{self.spec},{SECOND_CODEC}", "--dataset", "photos", "--results", "r")
        return (*words, "--out", str(self.out))

    @property
    def rate(self) -> str:
        rates = sorted(row["bpp"] for row in self.rows)
        return f"{rates[len(rates) // 2]:.4g}"


def page(case):
    bench("report", *case.both_codecs, "--page", "--format", "svg", "--page-images", "all", code=0)
    digests = {path.stem for path in case.out.rglob("pictures/*.webp")}
    return {row["decoded_sha256"] for row in case.rows} <= digests


def crops(case, figure="crops"):
    bench("figures", figure, *case.both_codecs, "--bpp", case.rate, "--metrics", "psnr_y", code=0)
    (table,) = case.out.rglob(f"{figure}.csv")
    return case.rows[0]["codec"] in table.read_text()


def maps(case):
    return crops(case, "maps")


def study(case):
    options = ("--bpp", case.rate, "--crop", "64", "--each", "4")
    bench("study", "new", *case.both_codecs, *options, code=0)
    return case.label in {stimulus.system for stimulus in read_key(case.out).stimuli}


def export_images(case):
    words = ("--dataset", "photos", "--codecs", case.spec, "--results", "r", "--to", case.out)
    bench("export", "images", *words, code=0)
    return len([*case.out.rglob("*.png")]) == len(case.rows)


def decoded(case):
    row, folder = case.rows[-1], next(Path("r").glob("photos-*"))
    setting = {row["setting_name"]: row["setting_value"]}
    pixels = benchmark.decoded(folder, case.spec, row["image"], **setting)
    return pixels.shape == (row["height_px"], row["width_px"], 3)


def rescore(case):
    words = ("--dataset", "photos", "--codecs", case.spec, "--results", "r", "--metrics", "ms_ssim")
    return f" {len(case.rows)} values " in bench("rescore", *words, code=0).stdout


def audit_decode(case):
    return case.label in bench("audit", "decode", "r", "--codecs", case.spec, code=0).stdout


def pack_export(case):
    bench("pack", "export", case.out / "p", "--codecs", case.spec, "--results", "r", code=0)
    bench("pack", "import", case.out / "p", "--results", case.out / "r", code=0)
    words = ("--dataset", "photos", "--codecs", case.spec, "--results", case.out / "r")
    bench("export", "images", *words, "--to", case.out, code=0)
    return len([*case.out.glob("*.png")]) == len(case.rows)


def audit_rows(case):
    words = ("r", "--codecs", case.spec, "--metrics", "psnr", "--json", "--out", case.out)
    (record,) = json.loads(bench("audit", "rows", *words, code=0).stdout)["records"]
    return record["pixels_equal"] == record["rows"] == len(case.rows)


VERBS = [page, crops, maps, study, export_images, decoded, rescore, audit_decode, pack_export]


@pytest.fixture(scope="module")
def measured(tmp_path_factory, coffee):
    """Folder with photographs, code and pictures of each kind, and their results, `r`."""
    folder = tmp_path_factory.mktemp("kinds")
    with chdir(folder):
        Path("photos").mkdir()
        Path("mine.py").write_text(MINE)
        Path("program.py").write_text(PROGRAM)
        for name, (x, y) in IMAGES.items():
            crop = np.ascontiguousarray(coffee[y : y + 200, x : x + 240])
            Image.fromarray(crop).save(f"photos/{name}.png")
        for level in LEVELS:
            Path(f"pics/p{level}").mkdir(parents=True)
            lines = ["image,bytes"]
            for name in IMAGES:
                Image.open(f"photos/{name}.png").save(jpeg := BytesIO(), "JPEG", quality=level)
                Image.open(jpeg).rotate(1).save(f"pics/p{level}/{name}.png")
                lines.append(f"{name},{len(jpeg.getvalue())}")
            Path(f"pics/p{level}/bytes.csv").write_text("\n".join(lines))
        Path("code").mkdir()
        bench("worker", "new", "toy", "--code", "code", code=0)
        site = Path("site").resolve()
        offers = "[rdrbench.codecs]\nnegative = negative_codec:Mine\n"
        other_pictures = MINE.replace("int(setting.value)", "int(setting.value) - 1")
        install(site, "negative_codec", {"__init__.py": other_pictures}, offers)
        sys.path.insert(0, str(site))
        plugins.installed.cache_clear()
        kinds = KINDS
        if find_spec("compressai"):
            import torch

            for file in CHECKPOINTS:
                trained = load_checkpoint(BUNDLED / f"hyperprior-{Path(file).stem}.safetensors.xz")
                torch.save(trained.network.codec.state_dict(), file)
            Path("network.py").write_text(NETWORK)
        else:
            kinds = {name: KINDS[name] for name in KINDS.keys() - COMPRESSAI_KINDS}
        specs = ",".join([SECOND_CODEC, *(spec for spec, _ in kinds.values())])
        words = ("--dataset", "photos", "--metrics", "psnr", "--results", "r", "--jobs", "1")
        bench("run", "--codecs", specs, *words, "--points", f"jpeg.quality={QUALITIES}", code=0)
    yield folder
    sys.path.remove(str(site))
    plugins.installed.cache_clear()


@pytest.fixture(scope="module")
def reader(measured, tmp_path_factory):
    """Folder with the photographs, and `r` with packs of an author whose folder is missing."""
    folder = tmp_path_factory.mktemp("reader")
    with chdir(measured):
        codecs = f"{KINDS['folder'][0]},{SECOND_CODEC}"
        bench("pack", "export", folder / "p.tar", "--codecs", codecs, "--results", "r", code=0)
        shutil.copytree("photos", folder / "photos")
    with chdir(folder):
        bench("pack", "import", "p.tar", "--results", "r", code=0)
    return folder


@pytest.fixture
def case(request, measured, tmp_path, monkeypatch):
    if request.param in COMPRESSAI_KINDS:
        pytest.importorskip("compressai", reason="needs the Python package compressai")
    monkeypatch.chdir(measured)
    return case_of(*KINDS[request.param], tmp_path / "o")


def case_of(spec, label, out):
    (folder,) = Path("r").glob("photos-*")
    all_rows = dataset_contents(Path("r"), folder.name, []).table.rows(named=True)
    rows = [row for row in all_rows if label_of(CodecSpec.parse_row(row)) == label]
    return Case(spec, label, rows, out)


QUICK_VERBS = decoded, export_images, study
# Networks of CompressAI take seconds to load in each process.
QUICK_CASES = [(kind, verb) for kind in KINDS for verb in QUICK_VERBS
               if verb is decoded or kind not in COMPRESSAI_KINDS]  # fmt: skip


@pytest.mark.parametrize("verb", quick(VERBS, *QUICK_VERBS))
def test_a_pack_of_pictures_needs_neither_folder_nor_codec(verb, reader, tmp_path, monkeypatch):
    monkeypatch.chdir(reader)
    label = KINDS["folder"][1]
    case = case_of(label, label, tmp_path / "o")
    assert len(case.rows) == len(LEVELS) * len(IMAGES)
    assert verb(case)


@pytest.mark.parametrize(("case", "verb"), quick(
    [(kind, verb) for kind in KINDS for verb in (*VERBS, audit_rows)], *QUICK_CASES
), indirect=["case"])  # fmt: skip
def test_a_verb_that_needs_pixels_gets_them_from_every_kind_of_codec(case, verb):
    assert verb(case)


def test_a_run_of_code_by_its_label_names_the_full_spec(measured, monkeypatch):
    monkeypatch.chdir(measured)
    label = KINDS["worker"][1]
    result = bench("run", "--codecs", label, "--dataset", "photos", "--results", "r", code=2)
    assert "worker:file=results/contenders/toy.toml" in result.stderr
