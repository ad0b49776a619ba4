"""Registry of codecs, metrics and datasets as text: listing them imports none."""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

from benchmark import plugins
from benchmark.errors import Reason, Unavailable, UnknownName

Better = Literal["higher", "lower"]


class Metric(NamedTuple):
    """Facts of a metric or feature space that rows and tables need; its class declares the same."""

    column: str  # of the table of measurements: "psnr_db"
    label: str  # axis label: "PSNR (dB)"; a feature space has none
    protocol: str  # id that changes whenever the same pixels would get another value
    target: str  # module and class
    better: Better = "higher"
    space: str = ""  # feature space that a distribution metric is reduced from


CODECS = {
    "ours": "baselines.crdr:CRDR",
    "raw": "baselines.raw:Raw",
    "jpeg": "baselines.jpeg:JPEG",
    "jpegli": "baselines.jpeg:Jpegli",
    "mozjpeg": "baselines.jpeg:MozJPEG",
    "webp": "baselines.raster:WebP",
    "jpeg2000": "baselines.raster:JPEG2000",
    "avif": "baselines.video:AVIF",
    "jpegxl": "baselines.raster:JPEGXL",
    "bpg": "baselines.bpg:BPG",
    "x265": "baselines.video:X265",
    "vvenc": "baselines.video:VVenC",
    "vtm": "baselines.vtm:VTM",
    "charm": "baselines.field:Charm",
    "elic": "baselines.field:Elic",
    "ivr": "baselines.field:IVR",
    "hific": "baselines.field:Hific",
    "multirealism": "baselines.field:MultiRealism",
    "dirac": "baselines.field:Dirac",
    "hfd": "baselines.field:Hfd",
    "pqmim": "baselines.field:PqMim",
    "msillm": "baselines.msillm:MSILLM",
    "compressai": "baselines.compressai.codec:CompressAI",
    "folder": "baselines.folder:Folder",
    "command": "baselines.command:Command",
    "worker": "baselines.worker.codec:Worker",
}
FACTS = "baselines.facts:DECLARED"  # of these codecs, without their code
# Short names, in tables and figures as well. Options may follow one, and win over its own.
HYPERPRIOR = "compressai:model=bmshj2018-hyperprior:metric=mse"
ALIASES = {
    "hyperprior": HYPERPRIOR,
    "hyperprior:weights=matched": f"{HYPERPRIOR}:weights=matched",
    "hyperprior:weights=matched-whole": f"{HYPERPRIOR}:weights=matched-whole",
}
METRICS = {
    "psnr": Metric("psnr_db", "PSNR (dB)", "psnr-rgb8/1", "benchmark.metrics.psnr:PSNR"),
    "psnr_y": Metric("psnr_y_db", "PSNR of luma (dB)", "psnr-luma709-rgb8/1",
        "benchmark.metrics.psnr:LumaPSNR"),
    "psnr_ycbcr": Metric("psnr_ycbcr_db", "PSNR of YCbCr, 6:1:1 (dB)",
        "psnr-ycbcr709-full8-444-611/1",
        "benchmark.metrics.psnr:WeightedPSNR"),
    "ms_ssim": Metric("ms_ssim", "MS-SSIM", "ms-ssim-rgb8/1",
        "benchmark.metrics.ms_ssim:MSSSIM"),
    "ssim": Metric("ssim", "SSIM", "ssim-rgb8/1", "benchmark.metrics.ms_ssim:SSIM"),
    "lpips": Metric("lpips_alex", "LPIPS (AlexNet)", "lpips-alex/0.1.4-2b566cc3",
        "benchmark.metrics.deep_features:LPIPSAlex", "lower"),
    "lpips_squeeze": Metric("lpips_squeeze", "LPIPS (SqueezeNet)", "lpips-squeeze/0.1.4-31a70309",
        "benchmark.metrics.deep_features:LPIPSSqueeze", "lower"),
    "lpips_vgg": Metric("lpips_vgg", "LPIPS (VGG-16)", "lpips-vgg/0.1.4-397923af",
        "benchmark.metrics.deep_features:LPIPSVGG", "lower"),
    "dists": Metric("dists", "DISTS", "dists/0.1-397923af-f5e65c96",
        "benchmark.metrics.deep_features:DISTS", "lower"),
    "ssimulacra2": Metric("ssimulacra2", "SSIMULACRA 2", "ssimulacra2/2.1",
        "benchmark.metrics.jpeg_xl:SSIMULACRA2"),
    "butteraugli": Metric("butteraugli", "Butteraugli (3-norm)",
        "butteraugli-3norm/libjxl-0.7-80nits",
        "benchmark.metrics.jpeg_xl:Butteraugli", "lower"),
    "vmaf": Metric("vmaf", "VMAF", "vmaf/0.6.1-luma709-limited8",
        "benchmark.metrics.jpeg_ai:VMAF"),
    "vif": Metric("vif", "VIF", "vif/piq-0.8.0-pixel-luma709",
        "benchmark.metrics.jpeg_ai:VIF"),
    "fsim": Metric("fsim", "FSIM", "fsim/piq-0.8.0-chromatic",
        "benchmark.metrics.jpeg_ai:FSIM"),
    "iw_ssim": Metric("iw_ssim", "IW-SSIM", "iw-ssim/piq-0.8.0-luma709",
        "benchmark.metrics.jpeg_ai:IWSSIM"),
    "nlpd": Metric("nlpd", "NLPD", "nlpd/pyiqa-0.1.16-luma709",
        "benchmark.metrics.jpeg_ai:NLPD", "lower"),
    "psnr_hvs_m": Metric("psnr_hvs_m_db", "PSNR-HVS-M (dB)", "psnr-hvs-m/0.3.0-luma709",
        "benchmark.metrics.jpeg_ai:PSNRHVSM"),
    "cvvdp": Metric("cvvdp_jod", "CVVDP (JOD)", "cvvdp/0.5.7-standard-4k-still",
        "benchmark.metrics.jpeg_ai:CVVDP"),
    "niqe": Metric("niqe", "NIQE", "niqe/1-fa2aa4d1",
        "benchmark.metrics.no_reference:NIQE", "lower"),
    "musiq": Metric("musiq", "MUSIQ", "musiq/pyiqa-0.1.16-koniq-e95806b9",
        "benchmark.metrics.no_reference:MUSIQ"),
    "clip_iqa": Metric("clip_iqa", "CLIP-IQA", "clip-iqa/pyiqa-0.1.16-rn50-afeb0e10",
        "benchmark.metrics.no_reference:CLIPIQA"),
    "maniqa": Metric("maniqa", "MANIQA", "maniqa/pyiqa-0.1.16-koniq-a207f8ab",
        "benchmark.metrics.no_reference:MANIQA"),
}  # fmt: skip
UNSTATED = "unstated"  # protocol of values in a user's own file, who vouches for them
# Measured unless others are asked for
USUAL_METRICS = ("psnr", "psnr_y", "ms_ssim", "lpips", "lpips_squeeze")
# Networks whose features distribution metrics are computed from
FEATURE_SPACES = {
    "inception256": Metric("inception256_patches", "", "inception256/pytorch-fid-0.3.0-6726825d",
        "benchmark.metrics.feature_spaces:Inception256"),
    "inception256_tf": Metric("inception256_tf_patches", "",
        "inception256-tf/torch-fidelity-0.4.0-6726825d",
        "benchmark.metrics.feature_spaces:InceptionTF256"),
    "alex256": Metric("alex256_patches", "", "alex256/1-2b566cc3",
        "benchmark.metrics.feature_spaces:Alex256"),
    "squeeze256": Metric("squeeze256_patches", "", "squeeze256/1-31a70309",
        "benchmark.metrics.feature_spaces:Squeeze256"),
}  # fmt: skip
# Metrics of all images of a dataset together, reduced from the features of one of the spaces
DISTRIBUTION_METRICS = {
    "fid256": Metric("fid256", "FID/256", "frechet/1",
        "benchmark.metrics.frechet:FID256", "lower", space="inception256"),
    "fid256_inf": Metric("fid256_inf", "FID∞/256", "frechet-infinity/1",
        "benchmark.metrics.frechet:FIDInfinity", "lower", space="inception256"),
    "fid256_tf": Metric("fid256_tf", "FID/256 (torch-fidelity)", "frechet/1",
        "benchmark.metrics.frechet:FID256TF", "lower", space="inception256_tf"),
    "kid256": Metric("kid256", "KID/256", "kernel-distance/1",
        "benchmark.metrics.pairwise:KID256", "lower", space="inception256"),
    "kid256_tf": Metric("kid256_tf", "KID/256 (torch-fidelity)", "kernel-distance/1",
        "benchmark.metrics.pairwise:KID256TF", "lower", space="inception256_tf"),
    "precision256": Metric("precision256", "Precision/256", "precision/1",
        "benchmark.metrics.pairwise:Precision256", space="inception256"),
    "recall256": Metric("recall256", "Recall/256", "recall/1",
        "benchmark.metrics.pairwise:Recall256", space="inception256"),
    "fd_alex": Metric("fd_alex", "FD (AlexNet)", "frechet/1",
        "benchmark.metrics.frechet:FDAlex", "lower", space="alex256"),
    "fd_squeeze": Metric("fd_squeeze", "FD (SqueezeNet)", "frechet/1",
        "benchmark.metrics.frechet:FDSqueeze", "lower", space="squeeze256"),
}  # fmt: skip
# More words for metrics, as `squeezed` has them; their names and columns are known as they are.
METRIC_WORDS = {
    "psnr": "psnrrgb rgbpsnr", "psnr_y": "psnrluma lumapsnr ypsnr",
    "psnr_ycbcr": "psnryuv yuvpsnr ycbcrpsnr", "ms_ssim": "msssimrgb multiscalessim",
    "ssim": "ssimrgb", "lpips": "lpipsalexnet", "lpips_squeeze": "lpipssqueezenet",
    "lpips_vgg": "lpipsvgg16", "ssimulacra2": "ssimulacra ssim2", "butteraugli": "butteraugli3norm",
    "cvvdp": "colorvideovdp jod", "psnr_hvs_m": "psnrhvs", "fid256": "fid frechetinceptiondistance",
    "fid256_inf": "fidinf fidinfinity", "fid256_tf": "fidtf", "kid256": "kid",
    "kid256_tf": "kidtf", "precision256": "precision", "recall256": "recall",
    "fd_alex": "fdalexnet", "fd_squeeze": "fdsqueezenet",
}  # fmt: skip
DATASETS = {
    "sample": "benchmark.datasets.sample:open_sample",
    "kodak": "benchmark.datasets.kodak:open_kodak",
    "clic2020": "benchmark.datasets.archive:open_clic2020",
    "clic2020:professional": "benchmark.datasets.archive:open_professional",
    "clic2020:mobile": "benchmark.datasets.archive:open_mobile",
    "clic2020-valid": "benchmark.datasets.archive:open_validation",
    "clic2021": "benchmark.datasets.archive:open_clic2021",
    "clic2022": "benchmark.datasets.archive:open_clic2022",
    "clic2022-valid": "benchmark.datasets.archive:open_clic2022_validation",
    "clic2024": "benchmark.datasets.archive:open_clic2024",
    "clic2024-valid": "benchmark.datasets.archive:open_clic2024_validation",
    "cid22": "benchmark.datasets.archive:open_cid22",
    "div2k": "benchmark.datasets.archive:open_div2k",
    "flickr2k": "benchmark.datasets.archive:open_flickr2k",
    "tecnick": "benchmark.datasets.archive:open_tecnick",
    "ustc-td": "benchmark.datasets.archive:open_ustc_td",
}


# Extra of the project that brings a package which the core does without.
EXTRAS = {
    "piq": "iqa", "pyiqa": "iqa", "psnr_hvsm": "iqa", "pycvvdp": "iqa",
    "torch": "neural", "constriction": "neural", "safetensors": "neural", "lpips": "neural",
    "pytorch_fid": "neural", "compressai": "compressai", "imageio_ffmpeg": "formats",
    "pyvips": "formats", "huggingface_hub": "hub", "choix": "study",
}  # fmt: skip


def metric_named(name: str) -> Metric:
    """Return the facts of an image metric, distribution metric or feature space.

    Only the file of a user's metric, `path.py:Class` or a plugin, is loaded.
    """
    for table in (METRICS, DISTRIBUTION_METRICS, FEATURE_SPACES):
        if name in table:
            return table[name]
    if not is_brought(name):
        raise unknown_metric(name, (*METRICS, *DISTRIBUTION_METRICS))
    kind = plugins.metric_class(name)
    return Metric(kind.column, kind.label, kind.protocol, name, kind.better)


def squeezed(text: str) -> str:
    """Return the small letters and digits of a text alone: "MS-SSIM (dB)" is "msssimdb"."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("∞", "inf"))


@cache
def _metric_words() -> dict[str, str]:
    """Return the names of metrics by every word that stands for one; names win over columns."""
    known = {**METRICS, **DISTRIBUTION_METRICS}
    words = {squeezed(word): name for name, more in METRIC_WORDS.items() for word in more.split()}
    words |= {squeezed(metric.column): name for name, metric in known.items()}
    return words | {squeezed(name): name for name in known}


def metric_called(word: str) -> str:
    """Return the name of the metric that a word stands for, `word` itself for an unknown one.

    >>> metric_called("fid"), metric_called("LPIPS-Alex"), metric_called("psnr_db")
    ('fid256', 'lpips', 'psnr')
    """
    known = word in METRICS or word in DISTRIBUTION_METRICS or is_brought(word)
    return word if known else _metric_words().get(squeezed(word), word)


def unknown_metric(word: str, known: Iterable[str], kind: str = "metric") -> UnknownName:
    """Return the error for a word that stands for no metric, with the likeliest of those known."""
    names, words = [*known], _metric_words()
    near = get_close_matches(squeezed(word), [w for w in words if words[w] in names], n=1)
    return UnknownName(kind, word, names, words[near[0]] if near else "")


def metric_class(name: str) -> type[Any]:
    """Import the class of an image metric, distribution metric or feature space by its name.

    An image metric may also be in a user's file, `path.py:Class`, or a plugin; its protocol id then
    ends with the first digits of the file's sha256.
    """
    if is_brought(name):
        return plugins.metric_class(name)
    return _imported(metric_named(name).target)  # type: ignore[no-any-return]


def scored_by_image(names: Iterable[str]) -> tuple[str, ...]:
    """Return what is computed per image for these metrics: itself, or a metric's feature space.

    >>> scored_by_image(["psnr", "fid256", "kid256"])
    ('psnr', 'inception256')
    """
    of_images = [
        DISTRIBUTION_METRICS[name].space if name in DISTRIBUTION_METRICS else name for name in names
    ]
    return tuple(dict.fromkeys(of_images))


def dataset_opener(name: str, kind: str = "dataset") -> Callable[..., Any]:
    """Return the function that opens the dataset of this name in a list of folders.

    kind: noun of the error for an unknown name.
    """
    opener: Callable[..., Any] = _named(kind, DATASETS, name)
    return opener


def hub_opener() -> Callable[[str], Any]:
    """Return the function that opens a dataset of the Hugging Face Hub, `hf:USER/NAME`."""
    opener: Callable[[str], Any] = _imported("benchmark.datasets.hub:open_hub")
    return opener


def dataset_module(name: str) -> ModuleType:
    """Return the module that opens a dataset: its profile, download and typical sizes, if any."""
    return import_module(DATASETS[name].partition(":")[0])


def means_folder(dataset: str) -> bool:
    """Return whether a dataset as `--dataset` has it is a path, and not one in `DATASETS`."""
    return dataset not in DATASETS and (Path(dataset).exists() or "/" in dataset)


def declared_facts() -> Mapping[str, Mapping[str, Any]]:
    """Return what codecs of the registry declare, by attribute and name, without their classes."""
    return _imported(FACTS)  # type: ignore[no-any-return]


def _named(kind: str, table: Mapping[str, str], name: str) -> Any:
    if name not in table:
        raise UnknownName(kind, name, table)
    return _imported(table[name])


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def require_packages(
    name: str, packages: Iterable[str], not_here: Mapping[str, str] | None = None
) -> None:
    """Raise `Unavailable`, on behalf of a codec or metric, for the first package that is absent.

    not_here: why a package cannot be installed on this machine, by its name.
    """
    for package in packages:
        if find_spec(package) is None:
            command = f"pip install 'rdrbench[{EXTRAS[package]}]'"
            remedy = f"run `{command}`"
            if not_here and package in not_here:
                command, remedy = "", not_here[package]
            raise Unavailable(
                f"{name} needs the Python package {package}: {remedy}",
                Reason("package", package, command),
            )


def require_release(name: str, package: str, release: str, command: str) -> None:
    """Raise `Unavailable`, on behalf of a codec or metric, for a package of another release.

    command: that installs the release. Nothing is imported.
    """
    from importlib.metadata import PackageNotFoundError, version

    here = "none"
    with suppress(PackageNotFoundError):
        here = version(package)
    if here != release:
        raise Unavailable(
            f"{name} needs the Python package {package} {release}, here is {here}: run `{command}`",
            Reason("package", package, command),
        )


def names_file(name: str) -> bool:
    """Return whether a name is of something in a Python file.

    >>> names_file("./mine.py:Mine"), names_file("jpeg")
    (True, False)
    """
    return name.partition(":")[0].endswith(".py")


def is_brought(name: str) -> bool:
    """Return whether a name is not the project's: of a Python file, or of an installed plugin."""
    own = (CODECS, ALIASES, METRICS, FEATURE_SPACES, DISTRIBUTION_METRICS, DATASETS)
    if names_file(name):
        return True
    return (
        not any(name in table for table in own) and "/" not in name and name in plugins.installed()
    )
